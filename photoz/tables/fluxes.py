"""From what stands in a band's columns to fluxes and their errors [nJy]: luptitudes, units, errors of three kinds.

Pure functions on arrays. What of it is measured, `photoz.measured` decides.

References
----------
.. [1] Lupton, Gunn & Szalay 1999, AJ 118, 1406: asinh magnitudes
"""

import math
from dataclasses import dataclass, field

import numpy as np

from photoz.measured import Mask
from photoz.photometry import MAGGY, POGSON, Array

NJY_PER_UNIT = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9, "nanomaggy": MAGGY * 1e-9, "maggy": MAGGY}
"""[nJy] of one of each unit of flux."""


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

    >>> from photoz.photometry import compute_fluxes_from_magnitudes
    >>> flux, error = convert_luptitudes(np.array([25.0, 20.0]), np.array([0.1, 0.1]), 1e-10)
    >>> flux.round(3) + 0.0, compute_fluxes_from_magnitudes(np.array([20.0]), np.array([0.1]))[0].round(3)
    (array([    0.   , 36306.369]), array([36310.]))
    """
    maggies_N = 2 * softening * np.sinh(-magnitudes / POGSON - math.log(softening))
    slopes_N = np.sqrt(maggies_N**2 + 4 * softening**2) / POGSON
    return MAGGY * maggies_N, MAGGY * slopes_N * errors


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
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
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
