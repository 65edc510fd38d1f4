"""Accuracy of photometric redshifts against spectroscopic ones: pure functions on arrays.

A row without a finite ``z_phot`` counts against the completeness and in no other figure.
"""

from photoz.metrics.bootstrap import (
    Bin,
    Measurement,
    Metrics,
    compute_binned,
    compute_metrics,
    compute_paired_difference,
)
from photoz.metrics.statistics import (
    IQR_TO_SIGMA,
    MAD_TO_SIGMA,
    STATISTICS,
    FloatArray,
    Statistic,
    compute_dz,
    compute_outlier_fraction,
    compute_r2,
    compute_rail_outlier_cut,
    compute_sigma_iqr,
    compute_smad,
)

__all__ = [
    "IQR_TO_SIGMA",
    "MAD_TO_SIGMA",
    "STATISTICS",
    "Bin",
    "FloatArray",
    "Measurement",
    "Metrics",
    "Statistic",
    "compute_binned",
    "compute_dz",
    "compute_metrics",
    "compute_outlier_fraction",
    "compute_paired_difference",
    "compute_r2",
    "compute_rail_outlier_cut",
    "compute_sigma_iqr",
    "compute_smad",
]
