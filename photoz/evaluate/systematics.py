"""Whether the redshifts follow the observing conditions, and what a cut in the distance from the training sample gains.

A tile has one seeing and one depth, so everything is compared tile by tile: the mean z_phot of all its galaxies, and
the mean normalised difference of its test galaxies.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from photoz.catalogue.hats import list_partitions, read_partition
from photoz.evaluate.evaluation import Evaluation, Result
from photoz.evaluate.metrics import FloatArray, Metrics, compute_dz, compute_metrics
from photoz.evaluate.scan import Galaxies
from photoz.ingest.staging import read_extinction
from photoz.schema import find_algorithm
from photoz.settings.config import Config
from photoz.tiles import read_attributes

logger = logging.getLogger(__name__)

KEPT = (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of the test galaxies that are kept, those nearest to the training sample first."""
LEAST_TILES = 4
"""Fewer tiles say nothing about a trend."""
_APERTURE = math.pi  # square arcsec: a diameter of 2 arcsec, as the survey quotes its depth


@dataclass(frozen=True, eq=False)
class TileMeans:
    """Means of a quantity by tile, each array of shape (T,): galaxies, mean and its error; NaN where there are none."""

    count: FloatArray
    mean: FloatArray
    error: FloatArray

    @classmethod
    def from_sums(cls, count: FloatArray, total: FloatArray, square: FloatArray) -> "TileMeans":
        """Compute means and their errors from sums of the values and of their squares."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
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
class Systematics:
    """Trends with the conditions, and accuracy against the cut in distance.

    Parameters
    ----------
    scan : TileScan
    conditions : mapping of str to ndarray of float64, shape (T,)
        By name with unit, as ``seeing in r [arcsec]``; NaN where a tile does not say.
    trends : mapping of str to (Trend, Trend)
        By condition that varies between tiles: of z_phot and of dz.
    uniformity : (float, int)
        Chi square of the tiles' mean dz about their common mean, and degrees of freedom.
    cuts : sequence of (float, float, Metrics)
        Share kept, largest distance kept, and accuracy; empty where no distance was measured.
    absent : sequence of str
        What the files do not say, in words.
    """

    scan: TileScan
    conditions: Mapping[str, FloatArray]
    trends: Mapping[str, tuple[Trend, Trend]]
    uniformity: tuple[float, int]
    cuts: Sequence[tuple[float, float, Metrics]]
    absent: Sequence[str]


def measure_systematics(config: Config, evaluation: Evaluation, result: Result) -> Systematics:
    """Read a catalogue once more, a partition at a time, and its tiles' attributes, and fit the trends.

    Raises
    ------
    CatalogueError
        A partition is missing or damaged.
    """
    scan = scan_tiles(result.location, evaluation.galaxies, result.scan.z_phot)
    conditions, absent = read_conditions(config, scan.tiles)
    trends = {
        name: (fit_trend(values, scan.redshift), fit_trend(values, scan.difference))
        for name, values in conditions.items()
        if varies(values)
    }
    cuts = measure_cuts(config, evaluation.galaxies, result.scan.z_phot, scan.distance)
    return Systematics(scan, conditions, trends, compute_chi_square(scan.difference), cuts, absent)


def scan_tiles(location: str, galaxies: Galaxies, z_phot: FloatArray) -> TileScan:
    """Sum z_phot and dz by tile; ``z_phot`` are the test galaxies' redshifts, which decide what counts as found."""
    sums: dict[str, _Sums] = {}
    distance = np.full(len(galaxies), np.nan)
    dz = compute_dz(z_phot, galaxies.z_spec)
    seen = np.zeros(len(galaxies), dtype=bool)
    columns: list[str] | None = None
    for partition in list_partitions(location):
        if columns is None:
            columns = _choose_columns(read_partition(location, partition).column_names)
        table = read_partition(location, partition, columns=columns)
        position = pc.index_in(table["object_id"].cast(pa.string()), value_set=galaxies.object_id)
        index = pc.fill_null(position, -1).to_numpy()
        z = table["z_phot"].to_numpy().astype(np.float64)
        if len(columns) > 3:
            matched = index >= 0
            distance[index[matched]] = table[columns[3]].to_numpy()[matched]
        for name, rows in _group(table["tile"]):
            found = index[rows][index[rows] >= 0]
            found = found[~seen[found]]
            seen[found] = True
            sums.setdefault(name, _Sums()).add(z[rows], dz[found])
    names = sorted(sums)
    arrays = np.array([[*sums[name].redshift, *sums[name].difference] for name in names]).reshape(len(names), 6).T
    return TileScan(names, TileMeans.from_sums(*arrays[:3]), TileMeans.from_sums(*arrays[3:]), distance)


def read_conditions(config: Config, tiles: Sequence[str]) -> tuple[dict[str, FloatArray], list[str]]:
    """Read seeing and depth of every band from the tiles' attributes, and the extinction from what ingest staged.

    Parameters
    ----------
    config : Config
        ``evaluation.seeing_key`` and ``noise_key`` name the header keywords.
    tiles : sequence of str

    Returns
    -------
    (dict of str to ndarray, list of str)
        Conditions that vary between tiles, each of shape (T,), NaN where a tile lacks it; and what is absent, in words.
    """
    attributes = [read_attributes(config.locations.tiles, name) for name in tiles]
    conditions: dict[str, FloatArray] = {}
    absent: list[str] = []
    for what, unit, key in (
        ("seeing", "arcsec", config.evaluation.seeing_key),
        ("5-sigma depth", "mag", config.evaluation.noise_key),
    ):
        found = {
            f"{what} in {band} [{unit}]": np.array([_read_header(each, band, key) for each in attributes], dtype=float)
            for band in config.survey.image_bands
        }
        found = {name: values for name, values in found.items() if np.isfinite(values).any()}
        if what != "seeing":
            found = {name: _compute_depth(config, values) for name, values in found.items()}
        if not found:
            absent.append(f"no image header has {key or 'a keyword'} ({what})")
        conditions |= found
    extinction = np.array([read_extinction(config.locations.sources, name) for name in tiles], dtype=float)
    if np.isfinite(extinction).any():
        conditions[f"extinction in {config.survey.mag_auto_band} [mag]"] = extinction
    else:
        absent.append("ingest recorded no extinction")
    return conditions, absent


def varies(condition_T: FloatArray) -> bool:
    """Tell whether a condition differs between the tiles that say it."""
    known = condition_T[np.isfinite(condition_T)]
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
    x = x - np.average(x, weights=weight)
    terms = np.stack([weight, weight * x, weight * y, weight * x * x, weight * x * y])
    total = terms.sum(axis=1)
    without = _solve_slope(total[:, None] - terms)
    error = math.sqrt((len(x) - 1) / len(x) * float(((without - without.mean()) ** 2).sum()))
    return Trend(float(_solve_slope(total)), error, len(x))


def compute_chi_square(means: TileMeans) -> tuple[float, int]:
    """Compute chi square of the tiles' means about their common mean, and its degrees of freedom (tiles less one)."""
    used = np.isfinite(means.error) & (means.error > 0)
    if used.sum() < 2:
        return math.nan, 0
    weight = means.error[used] ** -2
    common = np.average(means.mean[used], weights=weight)
    return float((weight * (means.mean[used] - common) ** 2).sum()), int(used.sum()) - 1


def measure_cuts(
    config: Config, galaxies: Galaxies, z_phot: FloatArray, distance: FloatArray
) -> list[tuple[float, float, Metrics]]:
    """Measure the accuracy of the test galaxies nearest to the training sample: several shares, and up to 1."""
    known = np.isfinite(distance) & np.isfinite(z_phot)
    if not known.any():
        return []
    options = {"resamples": config.evaluation.resamples, "seed": config.run.seed}
    inside = float((distance[known] <= 1).mean())  # without the flag OUTSIDE_TRAINING
    limits = [(share, float(np.quantile(distance[known], share))) for share in KEPT]
    limits = sorted({*limits, (inside, 1.0)} if 0 < inside < 1 else limits, reverse=True)
    return [
        (
            share,
            limit,
            compute_metrics(
                z_phot[known & (distance <= limit)], galaxies.z_spec[known & (distance <= limit)], **options
            ),
        )
        for share, limit in limits
    ]


@dataclass
class _Sums:
    """Number, sum and sum of squares of z_phot and of dz in one tile."""

    redshift: FloatArray = field(default_factory=lambda: np.zeros(3))
    difference: FloatArray = field(default_factory=lambda: np.zeros(3))

    def add(self, z: FloatArray, dz: FloatArray) -> None:
        for into, values in ((self.redshift, z), (self.difference, dz)):
            values = values[np.isfinite(values)]
            into += (len(values), values.sum(), (values**2).sum())


def _choose_columns(names: Sequence[str]) -> list[str]:
    algorithm = find_algorithm(names)
    distance = [f"{algorithm}_training_distance"] if algorithm else []
    return ["object_id", "tile", "z_phot", *distance]


def _group(column: pa.ChunkedArray) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Row numbers by tile."""
    names, place = np.unique(column.to_numpy().astype(str), return_inverse=True)
    order = np.argsort(place, kind="stable")
    return list(zip(names.tolist(), np.split(order, np.cumsum(np.bincount(place))[:-1]), strict=True))


def _read_header(attributes: Mapping[str, Any], band: str, key: str) -> float:
    text = attributes.get("headers", {}).get(band, "")
    value = fits.Header.fromstring(text, sep="\n").get(key) if key else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _compute_depth(config: Config, noise_T: FloatArray) -> FloatArray:
    """5-sigma limit in an aperture of 2 arcsec [mag] from the standard deviation of a pixel of empty sky."""
    pixels = _APERTURE / config.survey.pixel_scale**2
    with np.errstate(invalid="ignore", divide="ignore"):
        depth_T: FloatArray = config.survey.zeropoint - 2.5 * np.log10(5 * noise_T * math.sqrt(pixels))
    return depth_T


def _solve_slope(terms: FloatArray) -> FloatArray:
    weight, x, y, xx, xy = terms
    slope: FloatArray = (weight * xy - x * y) / (weight * xx - x * x)
    return slope
