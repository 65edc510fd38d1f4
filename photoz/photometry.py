"""From fluxes to magnitudes and to the features of a network: missing bands filled, values standardised.

Pure functions on arrays. A magnitude can be missing for two reasons. *Not detected*: the band was observed, and its
flux is negative or within the noise. *Not observed*: nothing is known, and the flux is NaN. The magnitude is NaN in
both cases, and filled alike from the neighbouring bands, as in the sources below; `Magnitudes` keeps the two apart for
estimators that want to know.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.errors import TrainingError

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

MAGGY = 3631e9
"""[nJy] flux of AB magnitude 0, 3631 Jy (Oke & Gunn 1983, ApJ 266, 713)."""
AB_ZEROPOINT = 2.5 * math.log10(MAGGY)
"""[mag(AB)] of a flux of 1 nJy: 31.4."""
POGSON = 2.5 / math.log(10)
"""[mag] per relative change of a flux."""
LEAST_SIGNAL_TO_NOISE = 1.0
"""A positive flux below so many times its error counts as not detected: its magnitude's error is above 1.09 mag, and
the logarithm of what may as well be 0 means nothing."""


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """Magnitudes of N galaxies in F bands, and what their absence says.

    Parameters
    ----------
    magnitudes_NF, errors_NF : ndarray of float, shape (N, F)
        [mag(AB)] and [mag]; the magnitude is NaN where nothing was detected or observed, the error there too and where
        it is not known. An error is never 0 or less.
    not_detected_NF : ndarray of bool, shape (N, F)
        True where the band was observed and nothing detected: the galaxy is fainter than what could be measured. A
        magnitude that is NaN elsewhere was not observed.
    """

    magnitudes_NF: Floats
    errors_NF: Floats
    not_detected_NF: npt.NDArray[np.bool_]


def derive_magnitudes(fluxes_NF: Floats, errors_NF: Floats) -> Magnitudes:
    """Derive magnitudes from fluxes: the one place where that is done.

    Parameters
    ----------
    fluxes_NF, errors_NF : ndarray of float, shape (N, F) or any other
        [nJy] AB. A flux that is not finite was not observed; an error that is not finite, 0 or less is not known.

    Returns
    -------
    Magnitudes
        -2.5 log10 of the flux over 3631 Jy, and 2.5 / ln 10 times the relative error; float32 of float32, else float64.
        Not detected is a finite flux that is no detection (`find_detected`).

    Examples
    --------
    Of 3631 nJy, of a flux within the noise, and of none:

    >>> found = derive_magnitudes(np.array([[3631.0, 10.0, np.nan]]), np.array([[36.31, 20.0, 1.0]]))
    >>> found.magnitudes_NF, found.errors_NF.round(4)
    (array([[22.5,  nan,  nan]]), array([[0.0109,    nan,    nan]]))
    >>> found.not_detected_NF
    array([[False,  True, False]])
    """
    dtype = np.result_type(fluxes_NF, errors_NF, np.float32)
    # In float64 and rounded once: a flux in float32 holds its magnitude better than float32 holds magnitudes.
    fluxes, errors = (np.asarray(values, dtype=np.float64) for values in clean_fluxes(fluxes_NF, errors_NF))
    detected_NF = find_detected(fluxes, errors)
    fluxes_or_nan = np.where(detected_NF, fluxes, np.nan)
    return Magnitudes(
        (AB_ZEROPOINT - 2.5 * np.log10(fluxes_or_nan)).astype(dtype),
        (POGSON * errors / fluxes_or_nan).astype(dtype),
        np.isfinite(fluxes) & ~detected_NF,
    )


def find_detected(fluxes: Floats, errors: Floats) -> npt.NDArray[np.bool_]:
    """Tell which fluxes are detections: above 0, and at least `LEAST_SIGNAL_TO_NOISE` times an error that is known.

    >>> find_detected(np.array([2.0, 0.5, 0.5, -2.0, np.nan]), np.array([1.0, 1.0, np.nan, 1.0, 1.0])).tolist()
    [True, False, True, False, False]
    """
    # A comparison with NaN, an error that is not known, is false: any positive flux is a detection then.
    return np.asarray((fluxes > 0) & ~(fluxes < LEAST_SIGNAL_TO_NOISE * errors))


def compute_fluxes_from_magnitudes(magnitudes: Floats, errors: Floats) -> tuple[Array, Array]:
    """Turn magnitudes and their errors into fluxes and flux errors, float64 [nJy]; NaN stays NaN.

    Parameters
    ----------
    magnitudes, errors : ndarray of float
        [mag(AB)] and [mag], of one shape.

    Examples
    --------
    >>> flux, error = compute_fluxes_from_magnitudes(np.array([22.5, np.nan]), np.array([0.1, 0.1]))
    >>> flux.round(6), (error / flux).round(4)
    (array([3631.,   nan]), array([0.0921,    nan]))
    """
    fluxes = MAGGY * 10 ** (-0.4 * np.asarray(magnitudes, dtype=np.float64))
    return fluxes, fluxes * np.asarray(errors, dtype=np.float64) / POGSON


def clean_fluxes(fluxes: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Return fluxes and errors with NaN in place of what is none: values that are not finite, errors of 0 or less.

    Both are copies that cannot be written to, so that what is derived from them and kept stays true.

    Examples
    --------
    >>> clean_fluxes(np.array([-3.0, np.inf]), np.array([0.0, 2.0]))
    (array([-3., nan]), array([nan,  2.]))
    """
    clean = np.where(np.isfinite(fluxes), fluxes, np.nan), np.where(np.isfinite(errors) & (errors > 0), errors, np.nan)
    for values in clean:
        values.flags.writeable = False
    return clean


def fit_band_differences(magnitudes_NF: Floats) -> Array:
    """Compute the mean magnitude difference between neighbouring bands.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)] bands in order of wavelength; NaN where there is none.

    Returns
    -------
    ndarray of float64, shape (F - 1,)
        [mag] mean of band i + 1 minus band i over the rows that have both; NaN where no row has both.

    Examples
    --------
    >>> fit_band_differences(np.array([[20.0, 19.0, 18.5], [21.0, 20.5, np.nan]]))
    array([-0.75, -0.5 ])
    """
    sums = MagnitudeSums.empty(magnitudes_NF.shape[1]).add(magnitudes_NF)
    return sums.differences()


def fill_missing_magnitudes(magnitudes_NF: Floats, differences: Array) -> Array:
    """Fill missing magnitudes from the nearest measured bands on both sides.

    Each side gives a value: its nearest measured magnitude, carried to the missing band by the mean differences in
    between. Where both sides give one, the mean of the two is taken.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)] NaN (or any value that is not finite) where there is none.
    differences : ndarray of float64, shape (F - 1,)
        [mag] from `fit_band_differences`.

    Returns
    -------
    ndarray of float64, shape (N, F)
        [mag(AB)] a row without any magnitude stays NaN.

    References
    ----------
    The rule of the classroom project that this one started from, a comparison of estimators on galaxy photometry: the
    mean magnitude difference to the neighbouring bands, from both sides where possible, averaged. Neighbours that are
    missing too are skipped here by adding up the differences.

    Examples
    --------
    >>> fill_missing_magnitudes(np.array([[20.0, np.nan, 18.0]]), np.array([-1.0, -0.5]))
    array([[20.  , 18.75, 18.  ]])
    """
    # Infinities count as missing: one would carry over to all bands beside it.
    values_NF = np.where(np.isfinite(magnitudes_NF), magnitudes_NF, np.nan).astype(np.float64)
    # The mean magnitude of each band relative to the first. Taken off, a galaxy of mean colours has one level in all
    # bands, so that carrying a magnitude over missing bands adds up the differences by itself.
    offsets_F = np.concatenate([[0.0], np.cumsum(differences)])
    level_NF = values_NF - offsets_F
    left_NF = _carry_forward(level_NF)
    right_NF = _carry_forward(level_NF[:, ::-1])[:, ::-1]
    # Where one side has nothing the other counts alone, and the mean of two equal values leaves it as it is.
    left_NF, right_NF = (
        np.where(np.isnan(left_NF), right_NF, left_NF),
        np.where(np.isnan(right_NF), left_NF, right_NF),
    )
    # Measured magnitudes are returned untouched: off and on again, the offsets would round them.
    return np.where(np.isnan(values_NF), (left_NF + right_NF) / 2 + offsets_F, values_NF)


def _carry_forward(values_NF: Array) -> Array:
    """Replace each NaN by the last value before it in its row."""
    # A NaN with nothing before it points at column 0, which then is NaN itself, so that it stays one.
    columns_NF = np.where(np.isnan(values_NF), 0, np.arange(values_NF.shape[1]))
    last_NF = np.maximum.accumulate(columns_NF, axis=1)
    return np.take_along_axis(values_NF, last_NF, axis=1)


@dataclass(frozen=True, eq=False)
class MagnitudeSums:
    """Sums over galaxies from which a `MagnitudeScaling` follows; those of two parts of a set add up.

    So that a training set can be read in batches: counts, means and sums of squared deviations of each band (combined
    by Chan, Golub & LeVeque 1983, The American Statistician 37, 242), and counts and sums of neighbours' differences.
    """

    count_F: Array
    mean_F: Array
    squares_F: Array
    pairs: Array
    difference_sums: Array

    @classmethod
    def empty(cls, bands: int) -> Self:
        """Return the sums over no galaxy."""
        # One array in several places is safe here: sums are never changed in place.
        zeros = np.zeros(bands)
        return cls(zeros, zeros, zeros, zeros[1:], zeros[1:])

    def add(self, magnitudes_NF: Floats) -> Self:
        """Return the sums with more galaxies; values that are not finite count as missing."""
        # Sums of millions of float32 magnitudes would lose the digits that their differences are in.
        values_NF = np.asarray(magnitudes_NF, dtype=np.float64)
        known_NF = np.isfinite(values_NF)
        count_F = known_NF.sum(axis=0).astype(np.float64)
        mean_F = np.where(known_NF, values_NF, 0.0).sum(axis=0) / np.maximum(count_F, 1)
        # About this batch's own mean: squares of whole magnitudes minus the square of their mean cancel in nearly all
        # digits.
        squares_F = np.where(known_NF, (values_NF - mean_F) ** 2, 0.0).sum(axis=0)
        both = known_NF[:, 1:] & known_NF[:, :-1]
        # Each side masked before it is subtracted, since inf - inf would warn and give NaN.
        steps = np.where(both, values_NF[:, 1:], 0.0) - np.where(both, values_NF[:, :-1], 0.0)
        return self.merge(
            type(self)(count_F, mean_F, squares_F, both.sum(axis=0).astype(np.float64), steps.sum(axis=0))
        )

    def merge(self, other: Self) -> Self:
        """Return the sums over the galaxies of both."""
        count_F = self.count_F + other.count_F
        # A band that neither part has: 0 / 1 in place of 0 / 0, and its mean stays 0.
        weight_F = other.count_F / np.maximum(count_F, 1)
        shift_F = other.mean_F - self.mean_F
        squares_F = self.squares_F + other.squares_F + shift_F**2 * self.count_F * weight_F
        return type(self)(
            count_F,
            self.mean_F + shift_F * weight_F,
            squares_F,
            self.pairs + other.pairs,
            self.difference_sums + other.difference_sums,
        )

    def differences(self) -> Array:
        """Return the mean differences of neighbouring bands [mag]; NaN where no galaxy has both."""
        return np.where(self.pairs > 0, self.difference_sums / np.maximum(self.pairs, 1), np.nan)


@dataclass(frozen=True, eq=False)
class MagnitudeScaling:
    """How magnitudes become features: what fills a missing band, and mean and spread of each band.

    Parameters
    ----------
    mean_F, std_F : ndarray of float64, shape (F,)
        [mag] over the measured magnitudes of the training galaxies; the spread is the population's (1/N).
    differences : ndarray of float64, shape (F - 1,)
        [mag] mean differences of neighbouring bands.
    """

    mean_F: Array
    std_F: Array
    differences: Array

    @classmethod
    def fit(cls, sums: MagnitudeSums, bands: Sequence[str]) -> Self:
        """Derive the scaling from sums over the training galaxies.

        Raises
        ------
        TrainingError
            A band, or a pair of neighbours, has no magnitude in the whole training set.
        """
        empty = [band for band, count in zip(bands, sums.count_F, strict=True) if not count]
        # Bands that no galaxy has together have no mean difference, and NaN would spread to every fill across them.
        empty += [f"{bands[i]} with {bands[i + 1]}" for i, count in enumerate(sums.pairs) if not count]
        if empty:
            raise TrainingError(
                f"no training galaxy has a magnitude in {', '.join(empty)}: leave the band out of survey.bands, or "
                "train on galaxies that have it"
            )
        std_F = np.sqrt(sums.squares_F / sums.count_F)
        # A band in which all magnitudes are equal would become NaN when it is scaled.
        return cls(sums.mean_F, np.where(std_F > 0, std_F, 1.0), sums.differences())

    def apply(self, magnitudes_NF: Floats) -> npt.NDArray[np.float32]:
        """Return the features: filled and standardised magnitudes, float32; NaN in a row that has no magnitude."""
        filled_NF = self.fill(magnitudes_NF)
        # Scaled in float64 and rounded once.
        return ((filled_NF - self.mean_F) / self.std_F).astype(np.float32)

    def fill(self, magnitudes_NF: Floats) -> Array:
        """Return the magnitudes with missing ones filled (`fill_missing_magnitudes`)."""
        return fill_missing_magnitudes(magnitudes_NF, self.differences)

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain lists, for a manifest."""
        return {
            # These names are in saved manifests, and `annz` and the small networks name arrays by them.
            "mean": self.mean_F.tolist(),
            "std": self.std_F.tolist(),
            "band_differences": self.differences.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]]) -> Self:
        """Rebuild what `to_dict` returned."""
        return cls(*(np.array(values[key], dtype=np.float64) for key in ("mean", "std", "band_differences")))
