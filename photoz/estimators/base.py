"""What every estimator is: the Protocol, its inputs and its outputs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Protocol, Self

import fsspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from photoz.errors import EstimatorError
from photoz.pdf.recalibration import Recalibration
from photoz.schema import LEVELS
from photoz.settings.config import Config

MANIFEST = "manifest.json"

_ARRAYS = ("weights.safetensors", "arrays.safetensors")  # of the networks, and of those fitted to magnitudes

# Estimator name in a manifest -> where its class lives. Modules are imported when asked for, since some need torch.
_CLASSES = {
    "hybrid": "photoz.estimators.networks.hybrid:HybridEstimator",
    "photometry": "photoz.estimators.networks.hybrid:HybridEstimator",
    "hybrid-paper": "photoz.estimators.networks.paper:PaperEstimator",
    "annz": "photoz.estimators.photometric.annz:AnnzEstimator",
    "boosted": "photoz.estimators.photometric.boosted:BoostedEstimator",
    "cnn1d": "photoz.estimators.photometric.cnn1d:Cnn1dEstimator",
    "fcnn": "photoz.estimators.photometric.fcnn:FcnnEstimator",
    "gat": "photoz.estimators.photometric.gat:GatEstimator",
    "knn": "photoz.estimators.photometric.knn:KnnEstimator",
    "mlp": "photoz.estimators.mlp.estimator:MlpEstimator",
    "template": "photoz.estimators.photometric.template:TemplateEstimator",
}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What an estimator sees of N galaxies.

    Parameters
    ----------
    magnitudes_NF, errors_NF : ndarray of float32, shape (N, F)
        [mag(AB)], in the order of the estimator's ``bands``; NaN where there is none.
    cutouts_NBYX : ndarray of float32, shape (N, B, Y, X), or None
        [flux, zero point of the survey], bands in the order of the estimator's ``image_bands``; pixels outside the
        image are NaN. None for an estimator that reads no image.
    flags_N : ndarray of int32, shape (N,)
        Bits of `photoz.schema.Flag` known before the estimate.
    not_detected_NF : ndarray of bool, shape (N, F), or None
        True where a band was observed and nothing was detected: its magnitude is NaN, and the galaxy is fainter than
        what could be measured. A NaN elsewhere was not observed. None: not known, taken for not observed.
    """

    magnitudes_NF: npt.NDArray[np.float32]
    errors_NF: npt.NDArray[np.float32]
    cutouts_NBYX: npt.NDArray[np.float32] | None
    flags_N: npt.NDArray[np.int32]
    not_detected_NF: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.magnitudes_NF)

    def take(self, rows: slice) -> Self:
        """Return the inputs of some of the galaxies."""
        cutouts_NBYX = None if self.cutouts_NBYX is None else self.cutouts_NBYX[rows]
        return replace(
            self,
            magnitudes_NF=self.magnitudes_NF[rows],
            errors_NF=self.errors_NF[rows],
            cutouts_NBYX=cutouts_NBYX,
            flags_N=self.flags_N[rows],
            not_detected_NF=None if self.not_detected_NF is None else self.not_detected_NF[rows],
        )


@dataclass(frozen=True, eq=False)
class Pdfs:
    """Calibrated p(z) of N galaxies, and what says how far to trust it.

    Parameters
    ----------
    quantiles_NQ : ndarray of float32, shape (N, Q)
        Redshifts below which the shares `photoz.schema.LEVELS` of the probability lie, not falling along a row; rows
        of NaN where there is no estimate.
    z_std_model_N : ndarray of float32, shape (N,)
        Standard deviation of z_phot between the members of the estimator; NaN where there are no members.
    distance_N : ndarray of float32, shape (N,)
        Distance from the training sample in units of the distance at which ``OUTSIDE_TRAINING`` is set; NaN where it
        was not measured.
    """

    quantiles_NQ: npt.NDArray[np.float32]
    z_std_model_N: npt.NDArray[np.float32]
    distance_N: npt.NDArray[np.float32]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the densities of all galaxies of the parts."""
        return cls(
            np.concatenate([part.quantiles_NQ for part in parts]),
            np.concatenate([part.z_std_model_N for part in parts]),
            np.concatenate([part.distance_N for part in parts]),
        )

    @classmethod
    def missing(cls, count: int) -> Self:
        """Return the densities of galaxies that have none."""
        nan = np.full(count, np.nan, dtype=np.float32)
        return cls(np.full((count, len(LEVELS)), np.nan, dtype=np.float32), nan, nan.copy())


@dataclass(frozen=True, eq=False)
class Estimates:
    """Redshifts of N galaxies.

    Parameters
    ----------
    z_phot_N : ndarray of float32, shape (N,)
        Photometric redshift; NaN where there is none.
    flags_N : ndarray of int32, shape (N,)
        Bits of `photoz.schema.Flag`: those of the inputs and those the estimate added.
    pdf : Pdfs or None
        p(z), from an estimator that ``gives_pdf``.
    """

    z_phot_N: npt.NDArray[np.float32]
    flags_N: npt.NDArray[np.int32]
    pdf: Pdfs | None = None

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the estimates of all galaxies of the parts; all give p(z), or none does."""
        pdfs = [part.pdf for part in parts if part.pdf is not None]
        return cls(
            np.concatenate([part.z_phot_N for part in parts]),
            np.concatenate([part.flags_N for part in parts]),
            Pdfs.concatenate(pdfs) if pdfs else None,
        )

    @classmethod
    def fail(cls, flags_N: npt.NDArray[np.int32], *, with_pdf: bool) -> Self:
        """Return estimates of galaxies that could not be estimated."""
        count = len(flags_N)
        return cls(np.full(count, np.nan, np.float32), flags_N, Pdfs.missing(count) if with_pdf else None)


class Estimator(Protocol):
    """A trained estimator: plain arrays in, redshifts out, a folder on disk."""

    @property
    def name(self) -> str:
        """Of the method, as in the manifest."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose magnitudes it reads."""

    @property
    def image_bands(self) -> tuple[str, ...]:
        """Bands whose images it reads; empty for photometry alone."""

    @property
    def cutout_size(self) -> int:
        """[pixel] side of the cutouts; 0 for photometry alone."""

    @property
    def gives_pdf(self) -> bool:
        """Whether its estimates hold p(z)."""

    def without_pdf(self) -> Self:
        """Return an estimator of the same redshifts that gives no p(z), and takes less time."""

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts; a row that cannot be estimated comes out NaN with a flag, never as an exception."""

    def save(self, location: str) -> None:
        """Write the estimator as a folder: ``manifest.json`` and weights, no pickle."""

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote; raises `EstimatorError` when it is not that."""


def read_manifest(location: str) -> dict[str, object]:
    """Read the manifest of an estimator folder.

    Raises
    ------
    EstimatorError
        There is none, or it is not JSON.
    """
    try:
        with fsspec.open(f"{location}/{MANIFEST}", "rb") as file:
            manifest: dict[str, object] = json.loads(file.read())
    except FileNotFoundError as error:
        raise EstimatorError(f"no trained estimator at {location!r}: run jobs/train_dr4.py first") from error
    except ValueError as error:
        raise EstimatorError(f"{location}/{MANIFEST} is not JSON: {error}; train the estimator again") from error
    return manifest


def load_estimator(location: str) -> Estimator:
    """Load whichever estimator a folder holds.

    Parameters
    ----------
    location : str
        Folder, a path or any URL that fsspec opens.

    Raises
    ------
    EstimatorError
        There is no estimator, or its manifest names one that this version does not know.
    """
    name = read_manifest(location).get("estimator")
    if name not in _CLASSES:
        raise EstimatorError(f"{location!r} holds an estimator named {name!r}; known are {sorted(_CLASSES)}")
    return load_class(str(name)).load(location)


def load_recalibration(location: str) -> Recalibration | None:
    """Load how the p(z) of the estimator in a folder is recalibrated, without the estimator.

    Parameters
    ----------
    location : str
        Folder, a path or any URL that fsspec opens.

    Returns
    -------
    Recalibration or None
        None for an estimator that has none.

    Raises
    ------
    EstimatorError
        There is no estimator, or its arrays are damaged.
    """
    read_manifest(location)
    for name in _ARRAYS:
        try:
            with fsspec.open(f"{location}/{name}", "rb") as file:
                arrays = load_arrays(file.read())
        except FileNotFoundError:
            continue
        except SafetensorError as error:
            raise EstimatorError(f"{location}/{name} is damaged: {error}; train the estimator again") from error
        if any(key.startswith("recalibration_") for key in arrays):
            return Recalibration.from_arrays(arrays)
    return None


def check_bands(estimator: Estimator, config: Config) -> None:
    """Check that the survey in the settings has what an estimator reads.

    An estimator may need some of the survey's bands only; their order is the estimator's own.

    Raises
    ------
    EstimatorError
        The survey lacks a band or an image band, or its pixel scale [arcsec] is not that of the training images (where
        the estimator has a ``pixel_scale``).
    """
    survey = config.survey
    needs = (("bands", estimator.bands, survey.bands), ("image bands", estimator.image_bands, survey.image_bands))
    for what, own, there in needs:
        missing = [band for band in own if band not in there]
        if missing:
            raise EstimatorError(
                f"the {estimator.name} estimator was trained for {what} {own!r}, the survey {survey.name} has "
                f"{there!r} and lacks {missing}: train one for this survey, or correct the section [survey]"
            )
    scale = getattr(estimator, "pixel_scale", survey.pixel_scale)
    if estimator.image_bands and scale != survey.pixel_scale:
        raise EstimatorError(
            f"the {estimator.name} estimator was trained on pixels of {scale} arcsec, the survey {survey.name} has "
            f"{survey.pixel_scale} arcsec: train one for this survey, or correct survey.pixel_scale"
        )


def list_photometric() -> list[str]:
    """List the estimators that are fitted to arrays of magnitudes (`photoz.estimators.photometric.base`), by name."""
    networks = ("hybrid", "photometry", "hybrid-paper")
    return sorted(name for name in _CLASSES if name not in networks)


def load_class(name: str) -> type[Estimator]:
    """Import the class of the estimators of that name.

    Raises
    ------
    EstimatorError
        There is none of that name.
    """
    if name not in _CLASSES:
        raise EstimatorError(f"no estimator is named {name!r}; known are {sorted(_CLASSES)}")
    module, _, attribute = _CLASSES[name].partition(":")
    kind: type[Estimator] = getattr(import_module(module), attribute)
    return kind
