"""Whether the redshifts follow the observing conditions, and what a cut in the distance from the training sample gains.

A tile has one seeing and one depth, so everything is compared tile by tile: the mean z_phot of all its galaxies, and
the mean normalised difference of its test galaxies.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.catalogue.hats import list_partitions, read_partition
from photoz.evaluate.conditions import Conditions, read_conditions
from photoz.evaluate.evaluation import CatalogueAccuracy
from photoz.evaluate.galaxies import Galaxies
from photoz.metrics import FloatArray, Metrics, compute_dz, compute_metrics
from photoz.schema import find_algorithm
from photoz.settings.config import Config

KEPT = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the test galaxies that are kept, those nearest to the training sample first."""
LEAST_TILES = 4
"""Fewer tiles say nothing about a trend."""


@dataclass(frozen=True)
class Sums:
    """Number, sum and sum of squares of a quantity in one tile."""

    count: int = 0
    total: float = 0.0
    square: float = 0.0

    def add(self, values: FloatArray) -> "Sums":
        """Return the sums with more values; those that are not finite are left out."""
        values = values[np.isfinite(values)]
        return Sums(self.count + len(values), self.total + float(values.sum()), self.square + float((values**2).sum()))


@dataclass(frozen=True, eq=False)
class TileMeans:
    """Means of a quantity by tile, each array of shape (T,): galaxies, mean and its error; NaN where there are none."""

    count: FloatArray
    mean: FloatArray
    error: FloatArray

    @classmethod
    def from_sums(cls, tiles: Sequence[Sums]) -> "TileMeans":
        """Compute the means of tiles and their errors."""
        count = np.array([sums.count for sums in tiles], dtype=np.float64)
        total, square = np.array([sums.total for sums in tiles]), np.array([sums.square for sums in tiles])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            # Rounding may leave a variance below 0 where all values are the same. The factor makes it that of N - 1.
            variance = np.maximum(square / count - mean**2, 0) * count / (count - 1)
            return cls(count, mean, np.where(count > 1, np.sqrt(variance / count), np.nan))


@dataclass(frozen=True)
class Trend:
    """How a tile's mean goes with a condition: slope and error [per unit of it], and the tiles it rests on."""

    slope: float
    error: float
    tiles: int

    @property
    def significance(self) -> float:
        """Slope over its error; NaN where there is none."""
        return self.slope / self.error if self.error > 0 else math.nan


@dataclass(frozen=True, eq=False)
class TileScan:
    """What a pass over a catalogue says of its T tiles and of the test galaxies.

    Parameters
    ----------
    tiles : list of str
    redshift : TileMeans
        Of z_phot, all galaxies.
    difference : TileMeans
        Of dz, test galaxies.
    distance : ndarray of float64
        From the training sample, of each test galaxy; NaN where it was not measured.
    """

    tiles: list[str]
    redshift: TileMeans
    difference: TileMeans
    distance: FloatArray


@dataclass(frozen=True, eq=False)
class DistanceCut:
    """What a cut in the distance from the training sample leaves of the test galaxies.

    Parameters
    ----------
    kept : float
        Share of the galaxies whose distance is known.
    largest : float
        Distance of the farthest galaxy kept; beyond 1 the flag ``OUTSIDE_TRAINING`` is set.
    metrics : Metrics
        Of the galaxies kept.
    """

    kept: float
    largest: float
    metrics: Metrics


@dataclass(frozen=True, eq=False)
class Systematics:
    """Trends with the conditions, and accuracy against the cut in distance.

    Parameters
    ----------
    scan : TileScan
    conditions : Conditions
        Of the scan's tiles.
    trends : mapping of str to (Trend, Trend)
        By condition that varies between tiles: of z_phot and of dz.
    uniformity : (float, int)
        Chi square of the tiles' mean dz about their common mean, and degrees of freedom.
    cuts : sequence of DistanceCut
        Those that keep most first; empty where no distance was measured.
    """

    scan: TileScan
    conditions: Conditions
    trends: Mapping[str, tuple[Trend, Trend]]
    uniformity: tuple[float, int]
    cuts: Sequence[DistanceCut]


def measure_systematics(config: Config, result: CatalogueAccuracy, galaxies: Galaxies) -> Systematics:
    """Read a catalogue once more, a partition at a time, and its tiles' attributes, and fit the trends.

    Parameters
    ----------
    config : Config
    result : CatalogueAccuracy
        Of the catalogue.
    galaxies : Galaxies
        The test galaxies that it was measured on.

    Returns
    -------
    Systematics

    Raises
    ------
    CatalogueError
        A partition is missing or damaged.
    """
    scan = scan_tiles(result.location, galaxies, result.scan.z_phot)
    conditions = read_conditions(scan.tiles, config.locations, config.survey, config.evaluation)
    trends = {
        name: (fit_trend(values, scan.redshift), fit_trend(values, scan.difference))
        for name, values in conditions.values.items()
        # A slope against a condition that is the same in all tiles would divide by 0; the page names such conditions.
        if varies(values)
    }
    options = {"resamples": config.evaluation.resamples, "seed": config.run.seed}
    cuts = measure_cuts(scan.distance, result.scan.z_phot, galaxies.z_spec, **options)
    return Systematics(scan, conditions, trends, compute_chi_square(scan.difference), cuts)


def scan_tiles(location: str, galaxies: Galaxies, z_phot: FloatArray) -> TileScan:
    """Sum z_phot and dz by tile.

    Parameters
    ----------
    location : str
        Photo-z catalogue (HATS).
    galaxies : Galaxies
    z_phot : ndarray of float64, shape (T,)
        The test galaxies' redshifts, as one pass over the catalogue found them.

    Returns
    -------
    TileScan
        Tiles sorted by name. A test galaxy counts where it comes first.
    """
    redshift: dict[str, Sums] = {}
    difference: dict[str, Sums] = {}
    distance = np.full(len(galaxies), np.nan)
    dz = compute_dz(z_phot, galaxies.z_spec)
    seen = np.zeros(len(galaxies), dtype=bool)
    partitions = list_partitions(location)
    algorithm = find_algorithm(read_partition(location, partitions[0]).column_names) if partitions else ""
    # Only catalogues with p(z) have the column; others are measured without the cut.
    measured = f"{algorithm}_training_distance" if algorithm else ""
    for partition in partitions:
        table = read_partition(location, partition, columns=["object_id", "tile", "z_phot", *filter(None, [measured])])
        # Rows come again in two ways: within a partition, of which `match` gives the first, and in a later one.
        found, places = galaxies.match(table["object_id"])
        found, places = found[~seen[found]], places[~seen[found]]
        seen[found] = True
        index = np.full(len(table), -1)
        index[places] = found
        z = table["z_phot"].to_numpy().astype(np.float64)
        if measured:
            distance[found] = table[measured].to_numpy()[places]
        for name, rows in _group(table["tile"]):
            redshift[name] = redshift.get(name, Sums()).add(z[rows])
            difference[name] = difference.get(name, Sums()).add(dz[index[rows][index[rows] >= 0]])
    # By name, as which of a tile's partitions comes first depends on the partitioning; and KiDS's names are positions,
    # by which the report's first figure shows a drift over the survey.
    names = sorted(redshift)
    return TileScan(
        names,
        TileMeans.from_sums([redshift[name] for name in names]),
        TileMeans.from_sums([difference[name] for name in names]),
        distance,
    )


def varies(condition_T: FloatArray) -> bool:
    """Tell whether a condition differs between the tiles that say it."""
    known = condition_T[np.isfinite(condition_T)]
    # Relative, since a constant that went through text and arithmetic may differ in its last bits between tiles.
    return bool(known.size and np.ptp(known) > 1e-9 * np.abs(known).max())


def fit_trend(condition_T: FloatArray, means: TileMeans) -> Trend:
    """Fit a straight line to the tiles' means, weighted by their galaxies.

    Parameters
    ----------
    condition_T : ndarray of float64, shape (T,)
    means : TileMeans

    Returns
    -------
    Trend
        Its error is the jackknife's over tiles, which holds the clustering of galaxies beside their number. NaN with
        fewer than 4 tiles, or where the condition does not vary.

    References
    ----------
    Norberg et al. 2009, MNRAS 396, 19: the jackknife over sub-volumes.
    """
    used = np.isfinite(condition_T) & np.isfinite(means.mean) & (means.count > 0)
    x, y, weight = condition_T[used], means.mean[used], means.count[used]
    if len(x) < LEAST_TILES or not varies(x):
        return Trend(math.nan, math.nan, len(x))
    # Centred, or the normal equations would lose digits: seeing and depth are far from 0.
    x = x - np.average(x, weights=weight)
    terms = np.stack([weight, weight * x, weight * y, weight * x * x, weight * x * y])
    total = terms.sum(axis=1)
    # The sums less one tile's own are those without it, so the jackknife needs no second fit.
    without = _solve_slope(total[:, None] - terms)
    # The jackknife's factor: its samples share all tiles but one, and so differ far less than independent ones.
    error = math.sqrt((len(x) - 1) / len(x) * float(((without - without.mean()) ** 2).sum()))
    return Trend(float(_solve_slope(total)), error, len(x))


def compute_chi_square(means: TileMeans) -> tuple[float, int]:
    """Compute chi square of the tiles' means about their common mean, and its degrees of freedom (tiles less one)."""
    # A tile with one test galaxy has no error, and no weight.
    used = np.isfinite(means.error) & (means.error > 0)
    # The mean of one tile is the common mean.
    if used.sum() < 2:
        return math.nan, 0
    weight = means.error[used] ** -2
    common = np.average(means.mean[used], weights=weight)
    return float((weight * (means.mean[used] - common) ** 2).sum()), int(used.sum()) - 1


def measure_cuts(
    distance: FloatArray, z_phot: FloatArray, z_spec: FloatArray, *, resamples: int, seed: int
) -> list[DistanceCut]:
    """Measure the accuracy of the test galaxies nearest to the training sample: several shares, and up to 1.

    Parameters
    ----------
    distance, z_phot, z_spec : ndarray of float64, shape (T,)
        Galaxies with NaN in the first two are left out.
    resamples, seed : int
        As in `photoz.metrics.compute_metrics`.

    Returns
    -------
    list of DistanceCut
        Those that keep most first; empty where no galaxy has a distance.
    """
    known = np.isfinite(distance) & np.isfinite(z_phot)
    if not known.any():
        return []
    distance, z_phot, z_spec = distance[known], z_phot[known], z_spec[known]
    inside = float((distance <= 1).mean())  # without the flag OUTSIDE_TRAINING
    limits = [(share, float(np.quantile(distance, share))) for share in KEPT]
    # The cut that a user can make by the flag, among those by share; not where it would keep all or none.
    limits = sorted({*limits, (inside, 1.0)} if 0 < inside < 1 else limits, reverse=True)
    cuts = []
    for share, limit in limits:
        near = distance <= limit
        metrics = compute_metrics(z_phot[near], z_spec[near], resamples=resamples, seed=seed)
        cuts.append(DistanceCut(share, limit, metrics))
    return cuts


def _group(column: pa.ChunkedArray) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Row numbers by tile."""
    names, place = np.unique(column.to_numpy().astype(str), return_inverse=True)
    order = np.argsort(place, kind="stable")
    return list(zip(names.tolist(), np.split(order, np.cumsum(np.bincount(place))[:-1]), strict=True))


def _solve_slope(terms: FloatArray) -> FloatArray:
    weight, x, y, xx, xy = terms
    slope: FloatArray = (weight * xy - x * y) / (weight * xx - x * x)
    return slope
