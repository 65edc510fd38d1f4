"""What a network reads and gives, apart from its weights: `InputLayout`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from photoz.config import Config, Training
from photoz.errors import EstimatorError
from photoz.estimators.network import Head, HybridNetwork, MaskedNetwork

PAPER = "hybrid-paper"
NETWORKS = ("hybrid", "photometry", PAPER)
"""Names of the estimators that are networks which Ray Train trains."""


@dataclass(frozen=True)
class InputLayout:
    """What a network reads: bands, image bands, size and scale of the cutouts; and what it gives.

    Parameters
    ----------
    bands, image_bands : tuple of str
        ``image_bands`` is empty for photometry alone.
    cutout_size : int
        [pixel] side of a cutout; 0 for photometry alone.
    pixel_scale : float
        [arcsec / pixel] of the images it was trained on.
    head : Head or None
        None: the paper's network, which gives a point and takes no masks.
    """

    bands: tuple[str, ...]
    image_bands: tuple[str, ...]
    cutout_size: int
    pixel_scale: float
    head: Head | None = field(default_factory=Head)

    def make_network(self) -> HybridNetwork | MaskedNetwork:
        """Build the network with fresh weights, channels last in memory."""
        size: dict[str, int] = {"image_bands": len(self.image_bands), "cutout_size": self.cutout_size}
        network = (
            HybridNetwork(len(self.bands), **size)
            if self.head is None
            else MaskedNetwork(len(self.bands), head=self.head, **size)
        )
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def find_unimaged(self) -> list[bool]:
        """Tell for each band whether it has no image."""
        return [bool(self.image_bands) and band not in self.image_bands for band in self.bands]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` returned; other keys are passed over."""
        head = None if values["head"] is None else Head(**values["head"])
        bands, image_bands = tuple(values["bands"]), tuple(values["image_bands"])
        return cls(bands, image_bands, values["cutout_size"], values["pixel_scale"], head)


def make_layout(config: Config, estimator: str) -> InputLayout:
    """Return what the network of that name reads of the survey in the settings, and gives.

    Raises
    ------
    EstimatorError
        There is no network of that name.
    """
    survey, size = config.survey, config.training.cutout_size
    if estimator == "photometry":
        return InputLayout(survey.bands, (), 0, survey.pixel_scale, make_head(config.training))
    if estimator == "hybrid":
        return InputLayout(survey.bands, survey.image_bands, size, survey.pixel_scale, make_head(config.training))
    if estimator == PAPER:
        return InputLayout(survey.bands, survey.image_bands, size, survey.pixel_scale, None)
    raise EstimatorError(f"no network is named {estimator!r}: training.estimator is one of {NETWORKS}")


def make_head(settings: Training) -> Head:
    """Return the head that the settings ask for."""
    parts = {"mixture": settings.components, "binned": settings.bins, "point": 0}[settings.head]
    return Head(settings.head, settings.members, parts)
