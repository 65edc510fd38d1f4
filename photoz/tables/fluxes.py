"""From what stands in a band's columns to fluxes and their errors [nJy]: magnitudes of three kinds, units, sentinels.

Pure functions on arrays. What is measured is decided here: values outside the limits below are none, and are counted.

References
----------
.. [1] Oke & Gunn 1983, ApJ 266, 713: an AB magnitude of 0 is 3631 Jy
.. [2] Lupton, Gunn & Szalay 1999, AJ 118, 1406: asinh magnitudes
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MAGGY = 3631e9
"""[nJy] flux of AB magnitude 0."""
POGSON = 2.5 / math.log(10)
"""[mag] per relative change of a flux."""
NJY_PER_UNIT = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9, "nanomaggy": MAGGY * 1e-9, "maggy": MAGGY}
"""[nJy] of one of each unit of flux."""
MAGNITUDES = (5.0, 40.0)
"""[mag(AB)] Galaxies whose redshift is to be estimated are fainter than 5, and no image is as deep as 40."""
LARGEST_ERROR = 10.0
"""[mag] An error of as much or more is none: that of a flux of a tenth of its error is 11."""
LARGEST_EXTINCTION = 20.0
"""[mag] Of A_b and of E(B-V); behind the plane of the Galaxy it is more, and nothing is seen there."""
_MOST_FLUX = MAGGY * 10 ** (-0.4 * MAGNITUDES[0])


@dataclass(frozen=True, eq=False)
class Fluxes:
    """A band of N sources.

    Parameters
    ----------
    flux_N, error_N : ndarray of float64
        [nJy] AB. The flux is NaN where the band was not observed, 0 where a sentinel says that nothing was detected;
        negative ones are data. The error is NaN where it is not known and where there is no flux, never 0 or less.
    counts : dict of str to int
        Rows by what was found: "not_detected" by a sentinel, "not_observed", "implausible" values, "bad_error" (0 or
        less, or implausible), "bad_extinction".
    """

    flux_N: Array
    error_N: Array
    counts: dict[str, int] = field(default_factory=dict)


def make_fluxes(fluxes: Array, errors: Array) -> tuple[Array, Array]:
    """Return fluxes and errors with NaN where there is none: no finite flux, no finite error above 0."""
    flux_N = np.where(np.isfinite(fluxes), fluxes, np.nan)
    known_N = np.isfinite(flux_N) & np.isfinite(errors) & (errors > 0)
    return flux_N, np.where(known_N, errors, np.nan)


def convert_magnitudes(magnitudes: Array, errors: Array) -> tuple[Array, Array]:
    """Turn magnitudes and their errors into fluxes and flux errors [nJy]; NaN stays NaN.

    Parameters
    ----------
    magnitudes, errors : ndarray of float64
        [mag(AB)] and [mag].

    Examples
    --------
    >>> flux, error = convert_magnitudes(np.array([22.5, np.nan]), np.array([0.1, 0.1]))
    >>> flux.round(6), (error / flux).round(4)
    (array([3631.,   nan]), array([0.0921,    nan]))
    """
    flux_N = MAGGY * 10 ** (-0.4 * magnitudes)
    return flux_N, flux_N * errors / POGSON


def convert_luptitudes(magnitudes: Array, errors: Array, softening: float) -> tuple[Array, Array]:
    """Turn asinh magnitudes and their errors into fluxes and flux errors [nJy]; NaN stays NaN.

    Parameters
    ----------
    magnitudes, errors : ndarray of float64
        [mag] on the AB system.
    softening : float
        b, a fraction of a maggy: the flux at which the scale turns from logarithmic to linear.

    Notes
    -----
    m = -(2.5 / ln 10) [asinh(f / 2b) + ln b], and so f = 2b sinh(-m ln 10 / 2.5 - ln b) and
    df = (ln 10 / 2.5) dm sqrt(f^2 + 4 b^2), f in maggies.

    Examples
    --------
    The luptitude of no flux is -2.5 log10 b:

    >>> flux, error = convert_luptitudes(np.array([25.0, 20.0]), np.array([0.1, 0.1]), 1e-10)
    >>> flux.round(3) + 0.0, convert_magnitudes(np.array([20.0]), np.array([0.1]))[0].round(3)
    (array([    0.   , 36306.369]), array([36310.]))
    """
    maggies_N = 2 * softening * np.sinh(-magnitudes / POGSON - math.log(softening))
    slopes_N = np.sqrt(maggies_N**2 + 4 * softening**2) / POGSON
    return MAGGY * maggies_N, MAGGY * slopes_N * errors


def find_sentinels(values_N: Array, sentinels: Sequence[float], *, magnitudes: bool) -> Mask:
    """Tell which values are a sentinel.

    Parameters
    ----------
    values_N : ndarray of float64, shape (N,)
    sentinels : sequence of float
    magnitudes : bool
        Of magnitudes, one outside `MAGNITUDES` is meant by all values within 0.5 of it, where none is measured: some
        surveys write 99.0 and 98.9999. Of all else, to the last digits of a float32.

    Examples
    --------
    >>> find_sentinels(np.array([99.2, 20.0, -99.0, np.nan]), [99.0, -99.0], magnitudes=True).tolist()
    [True, False, True, False]
    """
    found: Mask = np.zeros(len(values_N), bool)
    for sentinel in sentinels:
        wide = magnitudes and not MAGNITUDES[0] <= sentinel <= MAGNITUDES[1]
        tolerance = 0.5 if wide else 1e-6 * abs(sentinel)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            found |= (np.abs(values_N - sentinel) <= tolerance) | (values_N == sentinel)
    return found


def compute_errors(values_N: Array, stated_N: Array, kind: str) -> tuple[Array, Mask, Mask]:
    """Turn what a table states of a band's errors into errors, in the unit of the values.

    Parameters
    ----------
    values_N, stated_N : ndarray of float64, shape (N,)
        NaN where nothing is stated.
    kind : "error", "ivar" or "snr"

    Returns
    -------
    errors_N : ndarray of float64
        NaN where what is stated is none.
    bad_N : ndarray of bool
        Where an error is stated and is none: 0 or less.
    blank_N : ndarray of bool
        Where an inverse variance of 0 says that the band was not observed.

    Examples
    --------
    >>> compute_errors(np.array([8.0, 8.0, 8.0]), np.array([4.0, 0.0, -1.0]), "ivar")[0]
    array([0.5, nan, nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "ivar":
            errors_N = np.where(stated_N > 0, 1 / np.sqrt(stated_N), np.nan)
        elif kind == "snr":
            # A negative flux has a negative signal to noise.
            errors_N = values_N / stated_N
        else:
            errors_N = stated_N
        known_N = np.isfinite(errors_N) & (errors_N > 0)
    blank_N = (stated_N == 0) if kind == "ivar" else np.zeros(len(stated_N), bool)
    return np.where(known_N, errors_N, np.nan), ~known_N & ~np.isnan(stated_N) & ~blank_N, blank_N


def is_plausible_flux(flux_N: Array) -> Mask:
    """Tell which fluxes [nJy] may be a galaxy's: none beyond the brightest of `MAGNITUDES`, or as far below 0."""
    return np.asarray(np.abs(flux_N) <= _MOST_FLUX)


def is_plausible_magnitude(magnitudes_N: Array) -> Mask:
    """Tell which magnitudes lie within `MAGNITUDES`; NaN does not."""
    return np.asarray((magnitudes_N >= MAGNITUDES[0]) & (magnitudes_N <= MAGNITUDES[1]))
