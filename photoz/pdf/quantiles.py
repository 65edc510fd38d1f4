"""p(z) as quantiles (redshifts below which fixed shares of the probability lie), and the 16 bits they are kept in."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from photoz.pdf.curves import STEP, Curves
from photoz.schema import LEVELS, PDF_COLUMNS

# The largest uint16, a redshift of 6.5535; what lies there is clipped to one step below.
MISSING = 65_535
_CHUNK = 1024  # galaxies at once: most of their curves' figures stay in the cache
_OUTERMOST = ndtri(LEVELS[0])
_TAIL_MEAN = np.exp(-(_OUTERMOST**2) / 2) / np.sqrt(2 * np.pi) / LEVELS[0] + _OUTERMOST
"""How far beyond the outermost quantile the mean of a tail lies, in units of the curve's own width there."""
# i1 and i2 are the two i-band passes of KiDS DR5; Z and Y are VIKING's, z and y those of optical surveys.
_WAVELENGTH_ORDER = ("u", "g", "r", "i", "i1", "i2", "z", "Z", "y", "Y", "J", "H", "K", "Ks")

Floats = npt.NDArray[np.floating]
Wide = npt.NDArray[np.float64]


def encode_quantiles(quantiles_NQ: Floats) -> npt.NDArray[np.uint16]:
    """Turn quantiles into whole steps of 1e-4 in redshift; NaN becomes 65535, what lies outside is clipped.

    Examples
    --------
    >>> encode_quantiles(np.array([[0.1, 0.20004, np.nan]])).tolist()
    [[1000, 2000, 65535]]
    """
    codes_NQ = np.clip(np.round(np.asarray(quantiles_NQ, dtype=np.float64) / STEP), 0, MISSING - 1)
    return np.where(np.isfinite(codes_NQ), codes_NQ, MISSING).astype(np.uint16)


def decode_quantiles(codes_NQ: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """Turn stored quantiles into redshifts, shape (N, Q); NaN where there are none."""
    return np.where(codes_NQ == MISSING, np.nan, codes_NQ * STEP)


def combine_quantiles(quantiles_NQ: Floats, terms: Mapping[float, float]) -> npt.NDArray[np.float32]:
    """Sum quantiles at some of `LEVELS`, each times its factor, shape (N,).

    >>> combine_quantiles(np.arange(27.0)[None], {0.75: 1.0, 0.25: -1.0}).tolist()
    [10.0]
    """
    z_NQ = np.asarray(quantiles_NQ, dtype=np.float64)
    sum_N = sum(factor * z_NQ[:, LEVELS.index(level)] for level, factor in terms.items())
    return np.asarray(sum_N, dtype=np.float32)


def summarize_quantiles(quantiles_NQ: Floats, z_phot_N: Floats) -> dict[str, npt.NDArray[np.float32]]:
    """Compute the figures of densities given by their quantiles at `LEVELS`.

    Parameters
    ----------
    quantiles_NQ : ndarray of float, shape (N, Q)
        Redshifts, not falling along a row; NaN rows give NaN.
    z_phot_N : ndarray of float, shape (N,)
        Point estimates, about which ``odds`` is computed.

    Returns
    -------
    dict of str to ndarray of float32, shape (N,)
        By the names of `photoz.schema.PDF_COLUMNS`, in their order, without what only the estimator can say.
    """
    z_NQ = np.asarray(quantiles_NQ, dtype=np.float64)
    z_phot = np.asarray(z_phot_N, dtype=np.float64)
    chunks = [slice(first, first + _CHUNK) for first in range(0, len(z_NQ), _CHUNK)]
    parts = [_compute_of_curve(z_NQ[rows], z_phot[rows]) for rows in chunks]
    summary = {}
    for name, column in PDF_COLUMNS.items():
        if column.source == "quantiles":
            summary[name] = combine_quantiles(z_NQ, column.terms)
        elif column.source == "curve":
            summary[name] = np.concatenate([np.empty(0), *(part[name] for part in parts)]).astype(np.float32)
    return summary


def _compute_of_curve(z_NQ: Wide, z_phot_N: Wide) -> dict[str, Wide]:
    """Compute the columns of `COMPUTED` in whole steps, which take fewer bytes on disk."""
    curves = Curves.through(z_NQ)
    return {name: np.round(compute(z_NQ, curves, z_phot_N) / STEP) * STEP for name, compute in COMPUTED.items()}


def _compute_mean(z_NQ: Wide, curves: Curves, z_phot_N: Wide) -> Wide:
    """Mean of the curve, its tails those of a Gaussian and none of them below 0."""
    del z_phot_N
    # At the ends the slope is one over the width of the Gaussian that the tail is of.
    tails_N2 = _TAIL_MEAN / curves.slopes_NQ[:, [0, -1]]
    # The probability between two quantiles is known, and its mean taken as their middle.
    inner_N = (0.5 * (z_NQ[:, 1:] + z_NQ[:, :-1]) * np.diff(LEVELS)).sum(axis=1)
    low_N, high_N = np.maximum(z_NQ[:, 0] - tails_N2[:, 0], 0.0), z_NQ[:, -1] + tails_N2[:, 1]
    mean_N: Wide = inner_N + LEVELS[0] * (low_N + high_N)
    return mean_N


def _compute_odds(z_NQ: Wide, curves: Curves, z_phot_N: Wide, *, window: float = 0.06) -> Wide:
    """Probability within ``window`` (1 + z_phot) of z_phot."""
    del z_NQ
    z_phot_N1 = z_phot_N[:, None]
    reach_N1 = window * (1 + z_phot_N1)
    below_N2 = curves.evaluate(np.concatenate([z_phot_N1 - reach_N1, z_phot_N1 + reach_N1], axis=1))[0]
    return np.where(np.isnan(z_phot_N), np.nan, below_N2[:, 1] - below_N2[:, 0])


def _compute_mode(z_NQ: Wide, curves: Curves, z_phot_N: Wide) -> Wide:
    """Middle of the narrowest stretch that holds a tenth of the probability.

    The curve's highest point would move by what the quantiles were rounded to.
    """
    del curves, z_phot_N
    return _find_mode(z_NQ)


COMPUTED: dict[str, Callable[[Wide, Curves, Wide], Wide]] = {
    "z_mean": _compute_mean,
    "z_mode": _compute_mode,
    "odds": _compute_odds,
}
"""How the columns of the source "curve" are computed, shape (N,): of quantiles, the curves through them and z_phot."""


def _find_mode(z_NQ: Floats, *, share: float = 0.1) -> npt.NDArray[np.float64]:
    """Find the middle of the narrowest stretch with this share of the probability, shape (N,)."""
    levels = np.asarray(LEVELS)
    starts = np.linspace(levels[0], levels[-1] - share, 91)
    left, right = (_interpolate_levels(z_NQ, wanted) for wanted in (starts, starts + share))
    # A minimum over NaN is NaN, which no stretch equals: there would be no place to take.
    width_NS = np.nan_to_num(right - left, nan=np.inf)
    # Where rounding makes several the narrowest, the middle one, or the mean of two. They rise along a row.
    narrowest_NS = width_NS <= width_NS.min(axis=1, keepdims=True) + 0.5 * STEP
    place_NS = np.cumsum(narrowest_NS, axis=1, dtype=np.int16)
    first_N, last_N = ((place_NS >= (place_NS[:, -1:] + more) // 2).argmax(axis=1) for more in (1, 2))
    middle_NS, rows = 0.5 * (left + right), np.arange(len(z_NQ))
    mode_N: npt.NDArray[np.float64] = 0.5 * (middle_NS[rows, first_N] + middle_NS[rows, last_N])
    return mode_N


def _interpolate_levels(z_NQ: Floats, levels_S: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Interpolate the quantiles linearly in the level, shape (N, S)."""
    levels = np.asarray(LEVELS)
    # Levels are the same for all galaxies, so that one search serves them all.
    upper_S = np.clip(np.searchsorted(levels, levels_S), 1, len(levels) - 1)
    share_S = (levels_S - levels[upper_S - 1]) / (levels[upper_S] - levels[upper_S - 1])
    inner: npt.NDArray[np.float64] = z_NQ[:, upper_S - 1] * (1 - share_S) + z_NQ[:, upper_S] * share_S
    return inner


def compute_pdfs(quantiles_NQ: npt.ArrayLike, z_grid: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute densities on a grid from stored quantiles.

    Parameters
    ----------
    quantiles_NQ : array_like of float, shape (N, Q)
        Redshifts at `photoz.schema.LEVELS`, not falling along a row.
    z_grid : array_like of float, shape (Z,)

    Returns
    -------
    ndarray of float64, shape (N, Z)
        p(z) per unit redshift, beyond the outermost quantiles with the tails of a Gaussian, 0 below z = 0; NaN rows
        where the quantiles are NaN. A row's integral is 1 if the grid spans p(z) in steps well below its width.

    Examples
    --------
    >>> from scipy.stats import norm
    >>> quantiles = norm.ppf(LEVELS, 0.3, 0.02)[None]
    >>> compute_pdfs(quantiles, [0.30, 0.34]).round(2).tolist()  # 19.95 and 2.70 are those of the Gaussian
    [[19.95, 2.7]]
    """
    z_NQ, grid = np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(z_grid, dtype=np.float64)
    pdf_NZ = np.empty((len(z_NQ), len(grid)))
    for first in range(0, len(z_NQ), _CHUNK):
        curves = Curves.through(z_NQ[first : first + _CHUNK])
        pdf_NZ[first : first + _CHUNK] = curves.evaluate(np.broadcast_to(grid, (len(curves.z_NQ), len(grid))))[1]
    return pdf_NZ


def move_quantiles(quantiles_NQ: npt.ArrayLike, levels_NQ: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the quantiles at other levels than `LEVELS`, e.g. those that `Recalibration.unmap_levels` gives.

    Parameters
    ----------
    quantiles_NQ : array_like of float, shape (N, Q)
        Redshifts at `LEVELS`, not falling along a row; NaN rows give NaN.
    levels_NQ : array_like of float, shape (N, Q)
        Within 0 to 1, not falling along a row.

    Returns
    -------
    ndarray of float64, shape (N, Q)
        Linear in the normal deviate of the level between and beyond the quantiles, none below 0.

    Examples
    --------
    >>> from scipy.stats import norm
    >>> moved = move_quantiles(norm.ppf(LEVELS, 0.3, 0.02)[None], np.full((1, len(LEVELS)), norm.cdf(1.5)))
    >>> moved[0, 0].round(6).item()
    0.33
    """
    z_NQ, levels = np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(levels_NQ, dtype=np.float64)
    # Clipped: level 0 or 1 has an infinite deviate, and its quantile would be infinite too.
    deviates_Q, wanted_NQ = ndtri(LEVELS), ndtri(np.clip(levels, 1e-6, 1 - 1e-6))
    upper_NQ = np.clip(np.searchsorted(deviates_Q, wanted_NQ), 1, len(deviates_Q) - 1)
    share_NQ = (wanted_NQ - deviates_Q[upper_NQ - 1]) / (deviates_Q[upper_NQ] - deviates_Q[upper_NQ - 1])
    low_NQ, high_NQ = np.take_along_axis(z_NQ, upper_NQ - 1, 1), np.take_along_axis(z_NQ, upper_NQ, 1)
    # The share is not held to 0..1: beyond the quantiles the line goes on, as a Gaussian's tails do.
    moved_NQ: npt.NDArray[np.float64] = np.maximum(low_NQ + share_NQ * (high_NQ - low_NQ), 0.0)
    return moved_NQ


def make_coordinates(magnitudes_NF: Floats, bands: Sequence[str]) -> npt.NDArray[np.float64]:
    """Make the magnitude and the colour along which p(z) is recalibrated.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)], NaN where there is none.
    bands : sequence of str
        Their names.

    Returns
    -------
    ndarray of float64, shape (N, 2)
        [mag] The r magnitude, or that of the nearest band in wavelength that there is; and the difference of it to the
        next bluer band (g - r), or to the next redder one where r is the bluest. NaN where a band is missing.

    Examples
    --------
    >>> make_coordinates(np.array([[22.0, 20.5, 19.5]]), ("u", "g", "r")).tolist()
    [[19.5, 1.0]]
    """
    rank = {name: place for place, name in enumerate(_WAVELENGTH_ORDER)}
    # By wavelength, since a survey may list its bands otherwise; names that are not known come last, in their own
    # order.
    order = sorted(range(len(bands)), key=lambda i: rank.get(bands[i], len(rank) + i))
    nearest = min(range(len(order)), key=lambda i: abs(rank.get(bands[order[i]], len(rank)) - rank["r"]))
    # Bluer minus redder, as g - r is.
    pair = order[max(nearest - 1, 0) :][:2] if nearest else order[:2]
    magnitudes = np.asarray(magnitudes_NF, dtype=np.float64)
    magnitude_N = magnitudes[:, order[nearest]]
    colour_N = magnitudes[:, pair[0]] - magnitudes[:, pair[1]] if len(pair) == 2 else np.full(len(magnitudes), np.nan)
    return np.stack([magnitude_N, colour_N], axis=1)
