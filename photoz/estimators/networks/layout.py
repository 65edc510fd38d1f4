"""What a network reads and gives, apart from its weights: `InputLayout`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch

from photoz.errors import EstimatorError
from photoz.estimators.networks.network import Head, HybridNetwork, MaskedNetwork
from photoz.settings.config import Config
from photoz.training.settings import Training

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
    unimaged : tuple of str
        Bands of which the survey has no images, whether or not the network reads images: what is likely to be missing
        together.
    """

    bands: tuple[str, ...]
    image_bands: tuple[str, ...]
    cutout_size: int
    pixel_scale: float
    head: Head | None = field(default_factory=Head)
    unimaged: tuple[str, ...] = ()

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
        """Tell for each band whether the survey has no images of it."""
        return [band in self.unimaged for band in self.bands]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` returned; other keys are passed over."""
        head = None if values["head"] is None else Head(**values["head"])
        bands, image_bands = tuple(values["bands"]), tuple(values["image_bands"])
        unimaged = tuple(values["unimaged"])
        return cls(bands, image_bands, values["cutout_size"], values["pixel_scale"], head, unimaged)


class ReadsLayout:
    """What an estimator with a layout says of its inputs."""

    layout: InputLayout

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose magnitudes it reads."""
        return self.layout.bands

    @property
    def image_bands(self) -> tuple[str, ...]:
        """Bands whose images it reads."""
        return self.layout.image_bands

    @property
    def cutout_size(self) -> int:
        """[pixel] side of the cutouts; 0 for photometry alone."""
        return self.layout.cutout_size

    @property
    def pixel_scale(self) -> float:
        """[arcsec / pixel] of the images it was trained on."""
        return self.layout.pixel_scale


def make_layout(config: Config, estimator: str) -> InputLayout:
    """Return what the network of that name reads of the survey in the settings, and gives.

    Raises
    ------
    EstimatorError
        There is no network of that name.
    """
    survey = config.survey
    if estimator not in NETWORKS:
        raise EstimatorError(f"no network is named {estimator!r}: training.estimator is one of {NETWORKS}")
    images = estimator != "photometry"
    return InputLayout(
        bands=survey.bands,
        image_bands=survey.image_bands if images else (),
        cutout_size=config.training.cutout_size if images else 0,
        pixel_scale=survey.pixel_scale,
        head=None if estimator == PAPER else make_head(config.training),
        unimaged=tuple(band for band in survey.bands if band not in survey.image_bands),
    )


def make_head(settings: Training) -> Head:
    """Return the head that the settings ask for."""
    parts = {"mixture": settings.components, "binned": settings.bins, "point": 0}[settings.head]
    return Head(settings.head, settings.members, parts)
