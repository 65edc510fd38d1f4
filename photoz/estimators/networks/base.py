"""What the networks of images and magnitudes share, whose training is spread over workers: `NetworkEstimator`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from photoz.errors import EstimatorError
from photoz.estimators.base import Estimates, Inputs, Precision
from photoz.estimators.folder import MANIFEST, WEIGHTS, Arrays, read_arrays, read_manifest, write_folder
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head
from photoz.estimators.networks.objectives import Objective
from photoz.estimators.networks.preparation import Preparation
from photoz.estimators.tensors import PREFIX, choose_device, put_weights, take_weights
from photoz.survey.settings import Survey
from photoz.training.settings import Network, Training

# Asked for at loading, so that an old manifest is refused by name and not by a KeyError somewhere within.
_KEYS = ("bands", "image_bands", "cutout_size", "pixel_scale", "head", "unimaged", "scaling")


@dataclass(frozen=True, eq=False)
class NetworkEstimator(ABC):
    """Base of the networks. What is particular to one, in training too, its class says and nothing else asks.

    A class fills in `make_network`, `make_objective` and `estimate`, and whatever of the rest it does otherwise.

    Parameters
    ----------
    layout : InputLayout
        Bands and cutouts that the network reads, and what it gives.
    preparation : Preparation
        Of what it is given, fitted to the training galaxies.
    network : torch.nn.Module
        Trained; it is put in evaluation mode.
    record : mapping
        Anything that ``json`` writes, kept in the manifest: seed, hash of the training set, history.
    device : torch.device
        Where to run; the GPU where there is one.
    """

    layout: InputLayout
    preparation: Any
    network: nn.Module
    record: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=choose_device)

    trained: ClassVar[Literal["fitted", "spread"]] = "spread"
    name: ClassVar[str]
    """Of the method, as in the manifest."""
    reads_images: ClassVar[bool] = True
    PREPARATION: ClassVar[type[Preparation]]
    """How its inputs are prepared, in training and in estimating."""
    FORMAT_VERSION: ClassVar[int] = 2
    """Of the saved folder; a network counts it up when what it keeps there changes."""

    def __post_init__(self) -> None:
        # In evaluation mode, else dropout and batch statistics would make each estimate depend on chance and on its
        # batch.
        self.network.to(self.device).eval()

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose fluxes it reads."""
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

    @property
    def gives_pdf(self) -> bool:
        """No, unless a network says otherwise: redshifts alone."""
        return False

    def without_pdf(self) -> Self:
        """Return an estimator of the same redshifts that gives no p(z); this one, unless a network says otherwise."""
        return self

    def prepare(self, precision: Precision) -> Self:
        """Return an estimator that runs faster; this one, unless a network says otherwise."""
        return self

    @classmethod
    def resolve_settings(cls, settings: Training) -> Training:
        """Return the settings that its training has: those that were given, unless a network has its own."""
        return settings

    @classmethod
    def make_head(cls, settings: Network) -> Head | None:
        """Return what the settings have the network give; None: a point, as a network without masks gives it."""
        return None

    @classmethod
    def make_layout(cls, survey: Survey, settings: Training) -> InputLayout:
        """Return what the network reads of a survey, and gives."""
        return InputLayout(
            bands=survey.bands,
            image_bands=survey.image_bands if cls.reads_images else (),
            cutout_size=settings.cutout_size if cls.reads_images else 0,
            pixel_scale=survey.pixel_scale,
            head=cls.make_head(settings.network),
            # Of the survey, for the network without images too: VIKING's bands are missing together whoever reads them.
            unimaged=tuple(
                band for band in survey.bands if band not in survey.image_bands or band in survey.partial_bands
            ),
        )

    @classmethod
    @abstractmethod
    def make_network(cls, layout: InputLayout, target_scale: tuple[float, float] = (0.0, 1.0)) -> nn.Module:
        """Build the network with fresh weights; the scale is mean and spread of the training galaxies' ln(1 + z)."""

    @classmethod
    @abstractmethod
    def make_objective(cls, layout: InputLayout, settings: Training) -> Objective:
        """Return what the network is trained for."""

    def calibrate(
        self,
        galaxies: Iterable[tuple[Inputs, npt.NDArray[np.floating]]],
        fluxes: Iterable[tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]],
        *,
        seed: int,
    ) -> Self:
        """Return the estimator with what is fitted once its network is trained; nothing, unless a network says so.

        Parameters
        ----------
        galaxies : iterable of (Inputs, ndarray of shape (N,))
            Inputs and redshifts of galaxies that the network has not seen.
        fluxes : iterable of (ndarray of float, shape (N, F); the same)
            [nJy] fluxes and errors of the training galaxies, NaN where there is none.
        seed : int
        """
        return self

    @abstractmethod
    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies; see `photoz.estimators.base.Estimator`."""

    def to_arrays(self) -> Arrays:
        """Return what is saved beside the weights."""
        return {}

    def with_arrays(self, arrays: Arrays) -> Self:
        """Return the estimator with what the arrays of `to_arrays` hold."""
        return self

    def save(self, location: str) -> None:
        """Write ``weights.safetensors`` and, last, ``manifest.json`` into a folder (a path or any fsspec URL)."""
        manifest = {
            "format_version": self.FORMAT_VERSION,
            "estimator": self.name,
            # Spread out and not as a section: `bands` and `image_bands` stand where every other estimator's manifest
            # has them.
            **self.layout.to_dict(),
            "scaling": self.preparation.to_dict(),
            "target": "ln(1 + z)",
            "versions": {package: version(package) for package in ("photoz", "torch", "numpy")},
            "record": dict(self.record),
        }
        write_folder(location, manifest, arrays={WEIGHTS: {**take_weights(self.network), **self.to_arrays()}})

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EstimatorError
            There is no estimator, its format is another version's, or its weights do not fit its manifest.
        """
        manifest: Any = read_manifest(location)
        _check_manifest(manifest, location, cls.name, cls.FORMAT_VERSION)
        layout, preparation = InputLayout.from_dict(manifest), cls.PREPARATION.from_dict(manifest["scaling"])
        try:
            arrays = read_arrays(location, WEIGHTS)
        except FileNotFoundError as error:
            raise EstimatorError(f"{location}/{WEIGHTS} is missing: train the estimator again") from error
        # The scale of the targets is a buffer of the network, and comes back with its weights.
        network = put_weights(cls.make_network(layout), arrays)
        others = {key: value for key, value in arrays.items() if not key.startswith(PREFIX)}
        # The record only says where it comes from: an estimator works without one.
        return cls(layout, preparation, network, manifest.get("record", {})).with_arrays(others)


def check_shapes(inputs: Inputs, layout: InputLayout) -> None:
    """Refuse arrays of other shapes than a layout asks for.

    Raises
    ------
    EstimatorError
        They are.
    """
    for what, values in (("fluxes", inputs.fluxes_NF), ("errors", inputs.errors_NF)):
        if values.shape != (len(inputs), len(layout.bands)):
            raise EstimatorError(
                f"{what} of shape {values.shape} were given; this estimator reads {list(layout.bands)}"
            )
    if not layout.image_bands:
        return
    # Sides too: cutouts of 31 to 36 pixels all give 6 x 6 x 256 features, so that the network would run on another
    # scale's without an error.
    due = (len(layout.image_bands), layout.cutout_size, layout.cutout_size)
    given = None if inputs.cutouts_NBYX is None else inputs.cutouts_NBYX.shape[1:]
    if given != due:
        raise EstimatorError(
            f"cutouts of shape {given} were given; this estimator reads {due} pixels of {list(layout.image_bands)}"
        )


def _check_manifest(manifest: Mapping[str, object], location: str, name: str, version: int) -> None:
    found = manifest.get("format_version")
    if found != version:
        raise EstimatorError(
            f"{location!r} is in format version {found!r}, this photoz reads {version} of {name!r}: train the "
            f"estimator again, or use the photoz that wrote it ({manifest.get('versions')})"
        )
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise EstimatorError(f"{location}/{MANIFEST} lacks {missing}: train the estimator again")
