"""p(z) as quantiles (redshifts below which fixed shares of the probability lie), and the 16 bits they are kept in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photoz.schema import LEVELS

STEP = 1e-4
"""Of a stored redshift: a fifteenth of the best scatter known (Pasquet et al. 2019: below 0.01), up to z = 6.5."""
MISSING = 65_535

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Summary:
    """Figures of N densities, each float32 of shape (N,); NaN where there is no density.

    ``err68_low`` to ``err95_high`` are limits (redshifts) of the central 68 and 95 % intervals; ``odds`` is the
    probability within ``window`` (1 + z_phot) of z_phot.
    """

    median: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    mode: npt.NDArray[np.float32]
    err68_low: npt.NDArray[np.float32]
    err68_high: npt.NDArray[np.float32]
    err95_low: npt.NDArray[np.float32]
    err95_high: npt.NDArray[np.float32]
    odds: npt.NDArray[np.float32]


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


def summarize_quantiles(quantiles_NQ: Floats, z_phot_N: Floats, *, window: float = 0.06) -> Summary:
    """Compute the figures of densities given by their quantiles at `LEVELS`.

    Parameters
    ----------
    quantiles_NQ : ndarray of float, shape (N, Q)
        Redshifts, not falling along a row; NaN rows give NaN.
    z_phot_N : ndarray of float, shape (N,)
        Point estimates, about which ``odds`` is computed.
    window : float
        Half-width of the ``odds`` interval, in 1 + z.

    Notes
    -----
    The cumulative density is taken as linear between quantiles.
    """
    z_NQ = np.asarray(quantiles_NQ, dtype=np.float64)
    levels = np.asarray(LEVELS)
    shares = np.diff(levels)
    centres_NQ = 0.5 * (z_NQ[:, 1:] + z_NQ[:, :-1])
    density_NQ = shares / np.maximum(np.diff(z_NQ, axis=1), STEP)
    rows = np.arange(len(z_NQ))
    mode_N = centres_NQ[rows, np.nan_to_num(density_NQ, nan=-1.0).argmax(axis=1)]
    reach_N = window * (1 + np.asarray(z_phot_N, dtype=np.float64))
    odds_N = interpolate_cdf(z_NQ, z_phot_N + reach_N) - interpolate_cdf(z_NQ, z_phot_N - reach_N)

    def at(level: float) -> npt.NDArray[np.float64]:
        return z_NQ[:, LEVELS.index(level)]

    mean_N = (centres_NQ * shares).sum(axis=1) / shares.sum()
    values = (at(0.5), mean_N, mode_N, at(0.16), at(0.84), at(0.025), at(0.975), odds_N)
    return Summary(*(value.astype(np.float32) for value in values))


def interpolate_cdf(quantiles_NQ: Floats, z_N: Floats) -> npt.NDArray[np.float64]:
    """Compute the probability below one redshift of each galaxy, shape (N,): 0 or 1 beyond the outermost quantiles.

    NaN where a density or redshift is.
    """
    z_NQ, at_N = np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(z_N, dtype=np.float64)
    levels, rows = np.asarray(LEVELS), np.arange(len(z_NQ))
    upper = np.clip((z_NQ <= at_N[:, None]).sum(axis=1), 1, len(levels) - 1)
    low, high = z_NQ[rows, upper - 1], z_NQ[rows, upper]
    share = (at_N - low) / np.maximum(high - low, STEP)
    cdf_N = levels[upper - 1] + np.clip(share, 0.0, 1.0) * (levels[upper] - levels[upper - 1])
    cdf_N = np.where(at_N < z_NQ[:, 0], 0.0, np.where(at_N > z_NQ[:, -1], 1.0, cdf_N))
    return np.where(np.isnan(z_NQ[:, 0]) | np.isnan(at_N), np.nan, cdf_N)
