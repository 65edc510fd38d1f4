"""Figures of merit, each a function along the last axis, and the list of all that are reported.

The conventions of the field differ, so each figure has its own name here: see `STATISTICS`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
# Four digits, as the papers have it, so that figures can be compared with theirs to the last one.
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian in units of its median absolute deviation (1 / 0.67449)."""
IQR_TO_SIGMA = 1.349
"""Interquartile range of a Gaussian in units of its standard deviation."""


def compute_dz(z_phot: npt.ArrayLike, z_spec: npt.ArrayLike) -> FloatArray:
    """Compute the normalised redshift difference dz = (z_phot - z_spec) / (1 + z_spec).

    Parameters
    ----------
    z_phot, z_spec : array_like, shape (..., N)
        Photometric and spectroscopic redshifts; NaN in either gives NaN.

    Returns
    -------
    ndarray of float64, shape (..., N)

    References
    ----------
    Bilicki et al. 2018, A&A 616, A69, section 4.

    Examples
    --------
    >>> compute_dz([0.21, 0.10], [0.10, 0.10]).round(3).tolist()
    [0.1, 0.0]
    """
    spec = np.asarray(z_spec, dtype=np.float64)
    difference: FloatArray = (np.asarray(z_phot, dtype=np.float64) - spec) / (1.0 + spec)
    return difference


def compute_smad(values: npt.ArrayLike) -> FloatArray:
    """Compute the scaled median absolute deviation 1.4826 median(abs(x - median(x))) along the last axis.

    It equals the standard deviation for a Gaussian, and outliers hardly move it. Also called NMAD or sigma_MAD.

    Parameters
    ----------
    values : array_like, shape (..., N)
        N at least 1; NaN gives NaN.

    Returns
    -------
    ndarray of float64, shape (...)

    References
    ----------
    Bilicki et al. 2018, A&A 616, A69, section 4; Hoaglin, Mosteller & Tukey 1983.

    Examples
    --------
    >>> round(float(compute_smad([-2.0, -1.0, 0.0, 1.0, 100.0])), 4)
    1.4826
    """
    array = np.asarray(values, dtype=np.float64)
    # About the median, not about 0 as in some papers: a bias must not count as scatter.
    deviation = np.abs(array - np.median(array, axis=-1, keepdims=True))
    smad: FloatArray = MAD_TO_SIGMA * np.median(deviation, axis=-1)
    return smad


def compute_sigma_iqr(values: npt.ArrayLike) -> FloatArray:
    """Compute the scatter from the interquartile range, (Q75 - Q25) / 1.349, along the last axis.

    Parameters
    ----------
    values
        As in `compute_smad`.

    Returns
    -------
    ndarray of float64, shape (...)

    References
    ----------
    The point metrics of RAIL (LSST DESC); LSST Science Book (arXiv 0912.0201), section 3.8.

    Examples
    --------
    >>> round(float(compute_sigma_iqr([0.0, 1.0, 2.0, 3.0, 4.0])), 4)
    1.4826
    """
    low, high = np.percentile(np.asarray(values, dtype=np.float64), [25.0, 75.0], axis=-1)
    sigma: FloatArray = (high - low) / IQR_TO_SIGMA
    return sigma


def compute_outlier_fraction(dz: npt.ArrayLike, threshold: npt.ArrayLike) -> FloatArray:
    """Compute the fraction of galaxies with abs(dz) above a threshold, along the last axis.

    Parameters
    ----------
    dz : array_like, shape (..., N)
        Normalised differences, none of them NaN.
    threshold : float or array_like of shape (...)
        Papers on image networks cut at 0.05 (Pasquet et al. 2019, A&A 621, A26), those on templates at 0.15
        (Ilbert et al. 2006, A&A 457, 841).

    Returns
    -------
    ndarray of float64, shape (...)

    Examples
    --------
    >>> float(compute_outlier_fraction([0.0, 0.04, -0.06, 0.2], 0.05))
    0.5
    """
    # Strictly above, and about 0, so that a biased estimator has more outliers. The new axis lets each bootstrap sample
    # have its own threshold.
    above = np.abs(np.asarray(dz, dtype=np.float64)) > np.asarray(threshold, dtype=np.float64)[..., np.newaxis]
    fraction: FloatArray = above.mean(axis=-1)
    return fraction


def compute_rail_outlier_cut(dz: npt.ArrayLike) -> FloatArray:
    """Compute RAIL's outlier threshold max(0.06, 3 sigma_IQR) along the last axis.

    Parameters
    ----------
    dz : array_like, shape (..., N)
        Normalised differences, none of them NaN.

    Returns
    -------
    ndarray of float64, shape (...)

    References
    ----------
    The point metrics of RAIL (LSST DESC); LSST Science Book (arXiv 0912.0201), section 3.8.

    Examples
    --------
    >>> float(compute_rail_outlier_cut([-0.01, 0.0, 0.01]))
    0.06
    """
    # The floor keeps a very narrow core from making outliers of galaxies that nobody would call so.
    return np.maximum(0.06, 3.0 * compute_sigma_iqr(dz))


def compute_r2(z_phot: npt.ArrayLike, z_spec: npt.ArrayLike) -> FloatArray:
    """Compute the coefficient of determination R2 = 1 - sum (z_phot - z_spec)^2 / sum (z_spec - mean z_spec)^2.

    Parameters
    ----------
    z_phot, z_spec : array_like, shape (..., N)
        Redshifts, none of them NaN.

    Returns
    -------
    ndarray of float64, shape (...)
        1 for perfect estimates, 0 for the sample's mean; NaN where every z_spec is the same.

    Examples
    --------
    >>> float(compute_r2([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]))
    1.0
    """
    spec = np.asarray(z_spec, dtype=np.float64)
    residual = np.sum((np.asarray(z_phot, dtype=np.float64) - spec) ** 2, axis=-1)
    total = np.sum((spec - spec.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    spread = np.ptp(spec, axis=-1) > 0  # rounding leaves a total of 1e-33 where all are the same
    r2: FloatArray = 1.0 - residual / np.where(spread, total, math.nan)
    return r2


class Statistic(NamedTuple):
    """A figure of merit: what the report calls it, and how it is computed along the last axis of (z_phot, z_spec)."""

    symbol: str
    description: str
    compute: Callable[[FloatArray, FloatArray], FloatArray]


def _of_dz(function: Callable[[FloatArray], FloatArray]) -> Callable[[FloatArray, FloatArray], FloatArray]:
    # Every figure takes the redshifts themselves, since R2, MSE and MAE are of z_phot - z_spec and not of dz.
    return lambda z_phot, z_spec: function(compute_dz(z_phot, z_spec))


def _mean(values: FloatArray) -> FloatArray:
    return np.asarray(values.mean(axis=-1))


def _median(values: FloatArray) -> FloatArray:
    return np.asarray(np.median(values, axis=-1))


def _std(values: FloatArray) -> FloatArray:
    return np.asarray(values.std(axis=-1))


# The names are keys of metrics.json and columns of metrics.csv: another name breaks whoever reads those.
STATISTICS: dict[str, Statistic] = {
    "mean_difference": Statistic("⟨δz⟩", "mean of z_phot − z_spec", lambda p, s: _mean(p - s)),
    # Two biases under two names, since papers give the mean and RAIL the median.
    "bias_mean": Statistic("⟨Δz⟩", "mean of Δz = (z_phot − z_spec)/(1 + z_spec)", _of_dz(_mean)),
    "bias_median": Statistic("med Δz", "median of Δz; what RAIL calls the bias", _of_dz(_median)),
    "std": Statistic("σ(Δz)", "standard deviation of Δz", _of_dz(_std)),
    "smad": Statistic("SMAD(Δz)", "1.4826 × median |Δz − median Δz|", _of_dz(compute_smad)),
    "sigma_iqr": Statistic("σ_IQR(Δz)", "interquartile range of Δz / 1.349 (RAIL)", _of_dz(compute_sigma_iqr)),
    # Each cut has its own name, since a share of outliers means nothing without it.
    "outlier_fraction_005": Statistic(
        "|Δz| > 0.05", "fraction of galaxies", _of_dz(lambda dz: compute_outlier_fraction(dz, 0.05))
    ),
    "outlier_fraction_015": Statistic(
        "|Δz| > 0.15", "fraction of galaxies", _of_dz(lambda dz: compute_outlier_fraction(dz, 0.15))
    ),
    "outlier_fraction_rail": Statistic(
        "|Δz| > max(0.06, 3σ_IQR)",
        "fraction of galaxies (RAIL)",
        _of_dz(lambda dz: compute_outlier_fraction(dz, compute_rail_outlier_cut(dz))),
    ),
    "r2": Statistic("R²", "1 − Σ(z_phot − z_spec)² / Σ(z_spec − ⟨z_spec⟩)²", compute_r2),
    "mse": Statistic("MSE", "mean of (z_phot − z_spec)²", lambda p, s: _mean((p - s) ** 2)),
    "mae": Statistic("MAE", "mean of |z_phot − z_spec|", lambda p, s: _mean(np.abs(p - s))),
}
"""Every figure that `compute_metrics` gives, by name."""
