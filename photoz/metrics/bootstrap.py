"""All figures of a set of redshifts, of its bins and of the difference of two, with bootstrap errors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from photoz.binning import assign_bins
from photoz.errors import EvaluationError
from photoz.metrics.statistics import STATISTICS, FloatArray

_BLOCK = 1_000_000  # resampled values held at a time


class Measurement(NamedTuple):
    """A figure and its one-sigma bootstrap error; NaN where there is none."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Metrics:
    """How well a set of redshifts is estimated.

    Parameters
    ----------
    rows : int
        Galaxies with a spectroscopic redshift.
    count : int
        Those of them with a finite ``z_phot``, on which every figure rests.
    values : mapping of str to Measurement
        One for each name in `STATISTICS`; also reached as ``metrics["smad"]``.
    """

    rows: int
    count: int
    values: Mapping[str, Measurement]

    @property
    def completeness(self) -> float:
        """Fraction of the rows with a finite z_phot; NaN without rows."""
        return self.count / self.rows if self.rows else math.nan

    def __getitem__(self, name: str) -> Measurement:
        return self.values[name]


@dataclass(frozen=True, eq=False)
class Bin:
    """The metrics of the rows with ``low <= value < high`` (the last bin holds its upper edge too).

    ``centre`` is the median of the values within, NaN for an empty bin.
    """

    low: float
    high: float
    centre: float
    metrics: Metrics


def compute_metrics(z_phot: npt.ArrayLike, z_spec: npt.ArrayLike, *, resamples: int = 200, seed: int = 1) -> Metrics:
    """Compute every figure of `STATISTICS` with its bootstrap error.

    Parameters
    ----------
    z_phot : array_like, shape (N,)
        Photometric redshifts; rows that are not finite count against the completeness alone.
    z_spec : array_like, shape (N,)
        Spectroscopic redshifts; rows that are not finite are left out altogether.
    resamples : int
        Bootstrap samples, drawn with replacement; 0 gives errors of NaN.
    seed : int
        Of the bootstrap; the same seed gives the same errors.

    Returns
    -------
    Metrics
        Figures are NaN when no row is left, errors when fewer than two are.

    Raises
    ------
    EvaluationError
        The two have different lengths.

    References
    ----------
    Bootstrap errors: Efron 1979, Annals of Statistics 7, 1.

    Examples
    --------
    >>> metrics = compute_metrics([0.1, 0.2, 0.31, float("nan")], [0.1, 0.2, 0.30, 0.4])
    >>> metrics.count, metrics.completeness, round(metrics["mean_difference"].value, 4)
    (3, 0.75, 0.0033)
    """
    phot, spec = _align(z_phot, z_spec)
    known = np.isfinite(spec)
    # A galaxy whose estimate failed is in the catalogue with NaN, and counts as incompleteness.
    used = known & np.isfinite(phot)
    values = _measure(phot[used], spec[used], resamples, seed)
    return Metrics(rows=int(known.sum()), count=int(used.sum()), values=values)


def compute_binned(
    z_phot: npt.ArrayLike,
    z_spec: npt.ArrayLike,
    values: npt.ArrayLike,
    edges: npt.ArrayLike,
    *,
    resamples: int = 200,
    seed: int = 1,
) -> list[Bin]:
    """Compute the metrics in bins of a third quantity.

    Parameters
    ----------
    z_phot, z_spec : array_like, shape (N,)
        As in `compute_metrics`.
    values : array_like, shape (N,)
        What to bin in (a magnitude, a colour, a redshift); a NaN lies in no bin.
    edges : array_like, shape (M + 1,)
        Increasing; a value outside lies in no bin, the last edge belongs to the last bin.
    resamples, seed : int
        As in `compute_metrics`.

    Returns
    -------
    list of Bin
        M of them, empty ones included.

    Raises
    ------
    EvaluationError
        The lengths differ, or the edges do not increase.

    Examples
    --------
    >>> bins = compute_binned([0.1, 0.2, 0.3], [0.1, 0.2, 0.2], [17.0, 18.0, 20.0], [16.0, 19.0, 20.0])
    >>> [(bin.low, bin.high, bin.metrics.count) for bin in bins]
    [(16.0, 19.0, 2), (19.0, 20.0, 1)]
    """
    phot, spec = _align(z_phot, z_spec)
    quantity, _ = _align(values, spec)
    index = assign_bins(quantity, edges)
    limits = np.asarray(edges, dtype=np.float64)
    bins = []
    for i in range(len(limits) - 1):
        inside = index == i
        # The same seed in each bin, so that a bin's error does not depend on which others there are. Empty bins stay:
        # catalogues compared must have the same.
        metrics = compute_metrics(phot[inside], spec[inside], resamples=resamples, seed=seed)
        centre = float(np.median(quantity[inside])) if inside.any() else math.nan
        bins.append(Bin(low=float(limits[i]), high=float(limits[i + 1]), centre=centre, metrics=metrics))
    return bins


def compute_paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, z_spec: npt.ArrayLike, *, resamples: int = 200, seed: int = 1
) -> dict[str, Measurement]:
    """Compute how much the figures of two estimators differ on the galaxies that both estimated.

    Both are resampled together, so what the galaxies themselves contribute cancels: the error is smaller than that of
    either figure, and is the one that tells whether an improvement is real.

    Parameters
    ----------
    first, second, z_spec : array_like, shape (N,)
        Redshifts by either estimator, and the spectroscopic ones; rows with a NaN in any are left out.
    resamples, seed : int
        As in `compute_metrics`.

    Returns
    -------
    dict of str to Measurement
        Figure of ``first`` minus figure of ``second``, for each name in `STATISTICS`.

    Raises
    ------
    EvaluationError
        The lengths differ.

    Examples
    --------
    >>> spec = [0.1, 0.2, 0.3, 0.4]
    >>> better = compute_paired_difference(spec, [0.1, 0.2, 0.3, 0.5], spec)
    >>> round(better["mae"].value, 3)
    -0.025
    """
    spec = np.asarray(z_spec, dtype=np.float64)
    # Both against the same redshifts, so that one mask below holds for all three.
    (one, _), (two, _) = _align(first, spec), _align(second, spec)
    used = np.isfinite(one) & np.isfinite(two) & np.isfinite(spec)
    one, two, spec = one[used], two[used], spec[used]
    # The same seed and number of galaxies draw the same galaxies for both, which is what makes the samples pairs.
    samples = [_resample(z_phot, spec, resamples, seed) for z_phot in (one, two)]
    centre = [_compute_all(z_phot, spec) for z_phot in (one, two)]
    return {
        name: Measurement(float(centre[0][name] - centre[1][name]), _spread(samples[0][name] - samples[1][name]))
        for name in STATISTICS
    }


def _align(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    # numpy would broadcast (N,) against (N, 1) to N x N differences, and give a figure.
    if one.shape != two.shape or one.ndim != 1:
        raise EvaluationError(f"shapes {one.shape} and {two.shape} differ or are not (N,): give one value a galaxy")
    return one, two


def _measure(z_phot: FloatArray, z_spec: FloatArray, resamples: int, seed: int) -> dict[str, Measurement]:
    values, samples = _compute_all(z_phot, z_spec), _resample(z_phot, z_spec, resamples, seed)
    return {name: Measurement(float(values[name]), _spread(samples[name])) for name in STATISTICS}


def _compute_all(z_phot: FloatArray, z_spec: FloatArray) -> dict[str, FloatArray]:
    # NaN at once: each mean and median of nothing would warn.
    if z_phot.shape[-1] == 0:
        return {name: np.full(z_phot.shape[:-1], math.nan) for name in STATISTICS}
    return {name: statistic.compute(z_phot, z_spec) for name, statistic in STATISTICS.items()}


def _resample(z_phot: FloatArray, z_spec: FloatArray, resamples: int, seed: int) -> dict[str, FloatArray]:
    """Every statistic of each bootstrap sample, a block of samples at a time so that memory stays bounded."""
    count = z_phot.size
    # A spread needs two samples, and samples of a single galaxy are all the same.
    if count < 2 or resamples < 2:
        return {name: np.empty(0) for name in STATISTICS}
    generator = np.random.default_rng(seed)
    # One stream of numbers through all blocks: their size is a matter of memory and changes no error.
    blocks = []
    # 8 MB an array of a block: all samples of a million galaxies at once would be 200 times that.
    for start in range(0, resamples, max(1, _BLOCK // count)):
        shape = (min(max(1, _BLOCK // count), resamples - start), count)
        chosen = generator.integers(0, count, shape)
        blocks.append(_compute_all(z_phot[chosen], z_spec[chosen]))
    return {name: np.concatenate([block[name] for block in blocks]) for name in STATISTICS}


def _spread(samples: FloatArray) -> float:
    # Some samples may have no figure, as R2 where a small one draws the same galaxy throughout.
    finite = samples[np.isfinite(samples)]
    return float(finite.std(ddof=1)) if finite.size > 1 else math.nan
