"""What every estimator is: the Protocol, its inputs and its outputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from photoz.errors import EstimatorError
from photoz.photometry import Magnitudes, clean_fluxes, derive_magnitudes, find_detected
from photoz.schema import LEVELS
from photoz.survey.settings import Survey

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What an estimator sees of N galaxies.

    Parameters
    ----------
    fluxes_NF, errors_NF : ndarray of float32, shape (N, F)
        [nJy] AB, in the order of the estimator's ``bands``. A flux that is NaN was not observed; one that is 0 or
        negative is data. An error is NaN where it is not known. Whatever is given, what is not finite becomes NaN, and
        so does an error of 0 or less: no estimator sees one.
    cutouts_NBYX : ndarray of float32, shape (N, B, Y, X), or None
        [flux, zero point of the survey], bands in the order of the estimator's ``image_bands``; pixels outside the
        image are NaN. None for an estimator that reads no image.
    flags_N : ndarray of int32, shape (N,)
        Bits of `photoz.schema.Flag` known before the estimate.
    """

    fluxes_NF: npt.NDArray[np.floating]
    errors_NF: npt.NDArray[np.floating]
    cutouts_NBYX: npt.NDArray[np.float32] | None
    flags_N: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        fluxes_NF, errors_NF = clean_fluxes(self.fluxes_NF, self.errors_NF)
        object.__setattr__(self, "fluxes_NF", fluxes_NF)  # as dataclasses do for frozen ones
        object.__setattr__(self, "errors_NF", errors_NF)

    def __len__(self) -> int:
        return len(self.fluxes_NF)

    @cached_property
    def magnitudes(self) -> Magnitudes:
        """What the fluxes are in magnitudes, derived when it is first asked for."""
        return derive_magnitudes(self.fluxes_NF, self.errors_NF)

    @cached_property
    def detected_N(self) -> npt.NDArray[np.bool_]:
        """Whether a galaxy was detected in any band, shape (N,)."""
        return np.asarray(find_detected(self.fluxes_NF, self.errors_NF).any(axis=1))

    def take(self, rows: slice | npt.NDArray[Any]) -> Self:
        """Return the inputs of some of the galaxies."""
        # Of a slice, cutouts are views: a batch of 256 galaxies in four bands has 5 MB of them.
        cutouts_NBYX = None if self.cutouts_NBYX is None else self.cutouts_NBYX[rows]
        return replace(
            self,
            fluxes_NF=self.fluxes_NF[rows],
            errors_NF=self.errors_NF[rows],
            cutouts_NBYX=cutouts_NBYX,
            flags_N=self.flags_N[rows],
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
        # A copy for the second column, since rows are filled in place later.
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
        # An estimator gives p(z) for all of its batches or for none; with both kinds, rows of p(z) would not be those
        # of z_phot.
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
    """A trained estimator: plain arrays in, redshifts out, a folder on disk; one that differs is a copy."""

    trained: ClassVar[Literal["fitted", "spread"]]
    """How it comes by its weights: *fitted* to arrays of fluxes by one task
    (`photoz.estimators.photometric.base.PhotometricEstimator`), or a network whose training is *spread* over workers
    (`photoz.estimators.networks.base.NetworkEstimator`)."""

    @property
    def name(self) -> str:
        """Of the method, as in the manifest."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands whose fluxes it reads."""

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

    def prepare(self, precision: Precision) -> Self:
        """Return an estimator that runs faster in this process, its products in a precision where it has a choice."""

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts; a row that cannot be estimated comes out NaN with a flag, never as an exception."""

    def save(self, location: str) -> None:
        """Write the estimator as a folder: ``manifest.json`` and weights, no pickle."""

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote; raises `EstimatorError` when it is not that."""


def check_bands(estimator: Estimator, survey: Survey) -> None:
    """Check that a survey has what an estimator reads.

    An estimator may need some of the survey's bands only; their order is the estimator's own.

    Raises
    ------
    EstimatorError
        The survey lacks a band or an image band, or its pixel scale [arcsec] is not that of the training images (where
        the estimator has a ``pixel_scale``).
    """
    needs = (("bands", estimator.bands, survey.bands), ("image bands", estimator.image_bands, survey.image_bands))
    for what, own, there in needs:
        # By name, not by number or order: the survey may have more bands, in another order.
        missing = [band for band in own if band not in there]
        if missing:
            raise EstimatorError(
                f"the {estimator.name} estimator was trained for {what} {own!r}, the survey {survey.name} has "
                f"{there!r} and lacks {missing}: train one for this survey, or correct the section [survey]"
            )
    # Only networks have one. A cutout is counted in pixels: at another scale the same galaxy has another size in it.
    scale = getattr(estimator, "pixel_scale", survey.pixel_scale)
    if estimator.image_bands and scale != survey.pixel_scale:
        raise EstimatorError(
            f"the {estimator.name} estimator was trained on pixels of {scale} arcsec, the survey {survey.name} has "
            f"{survey.pixel_scale} arcsec: train one for this survey, or correct survey.pixel_scale"
        )


def split_rows(count: int, size: int) -> Iterator[slice]:
    """Yield runs of at most ``size`` of ``count`` rows."""
    # None for a count of 0, so that what is put together from the parts needs a case for no rows.
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
