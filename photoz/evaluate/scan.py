"""One pass over a photo-z catalogue: the test galaxies' redshifts, and counts of everything.

A catalogue is read partition by partition, so memory does not grow with it.
"""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.hats import Partition, list_partitions, read_partition
from photoz.errors import CatalogueError, ConfigError, TrainingError
from photoz.evaluate.metrics import FloatArray
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER, Flag
from photoz.settings.config import Config
from photoz.training.set import read_split, set_location

logger = logging.getLogger(__name__)

Z_EDGES: FloatArray = np.linspace(-0.1, 3.0, 621)
"""Bins of the redshift distribution of a whole catalogue."""
_READ = (HEALPIX_COLUMN, "object_id", "z_phot", "flags")
_FINEST_ORDER = 13  # 26 arcsec: cells of a map of one small tile
_MOST_CELLS = 200_000  # held while reading
_MOST_DRAWN = 20_000
_LEAST_IN_CELL = 5.0  # mean galaxies a cell of the map, so that it shows structure and not shot noise


@dataclass(frozen=True, eq=False)
class Galaxies:
    """The test galaxies: T of them with a spectroscopic redshift.

    Parameters
    ----------
    object_id : pyarrow.Array of string, length T
        Each once.
    z_spec : ndarray of float64, shape (T,)
    mag_auto : ndarray of float64, shape (T,)
        [mag(AB)] in r; NaN where there is none.
    colour : ndarray of float64, shape (T,)
        [mag] difference of the bands of ``evaluation.colour``; NaN where either is missing.
    repeated : int
        Rows left out because their object_id had come before.
    """

    object_id: pa.Array
    z_spec: FloatArray
    mag_auto: FloatArray
    colour: FloatArray
    repeated: int

    def __len__(self) -> int:
        return len(self.z_spec)


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass over a catalogue keeps.

    Parameters
    ----------
    rows, estimated : int
        Of the whole catalogue; those with a finite z_phot.
    flags : dict of str to int
        Rows of the whole catalogue with each bit of `photoz.schema.Flag`.
    z_counts : ndarray of float64, shape (620,)
        Rows by z_phot between ``Z_EDGES``.
    sky_order : int
        HEALPix order of the map's cells.
    sky_cells, sky_counts : ndarray of int64, shape (C,)
        Cells (NESTED) with a row, and how many.
    partitions : list of Partition
    z_phot : ndarray of float64, shape (T,)
        Of each test galaxy; NaN where the catalogue has none or does not hold the galaxy.
    found : ndarray of bool, shape (T,)
        Whether the catalogue holds the test galaxy.
    repeated : int
        Rows of test galaxies that the catalogue holds again; the first one counts.
    """

    rows: int
    estimated: int
    flags: dict[str, int]
    z_counts: FloatArray
    sky_order: int
    sky_cells: npt.NDArray[np.int64]
    sky_counts: npt.NDArray[np.int64]
    partitions: list[Partition]
    z_phot: FloatArray
    found: npt.NDArray[np.bool_]
    repeated: int


def read_test_galaxies(config: Config) -> Galaxies:
    """Read identifiers, redshifts and magnitudes of the training set's test split, without its cutouts.

    Raises
    ------
    ConfigError
        ``evaluation.colour`` names a band that the survey lacks.
    TrainingError
        There is no training set, a file of it is damaged, or no test galaxy has a redshift.
    """
    blue, red = config.evaluation.colour
    unknown = [band for band in (blue, red) if band not in config.survey.bands]
    if unknown:
        raise ConfigError(f"evaluation.colour has {unknown}, which survey.bands {list(config.survey.bands)} lacks")
    columns = ["object_id", "z_spec", "mag_auto", f"mag_{blue}", f"mag_{red}"]
    try:
        table = pa.concat_tables(read_split(config, "test", columns))
    except (pa.ArrowException, KeyError) as error:
        raise TrainingError(
            f"the training set {set_location(config)} cannot be read ({error}): make it again with jobs/train_dr4.py"
        ) from error
    table = table.filter(pc.is_finite(table["z_spec"]))
    if len(table) == 0:
        raise TrainingError(
            f"the training set {set_location(config)} has no galaxy with a redshift in its test split: "
            f"crossmatch.fractions = {config.crossmatch.fractions} (train, valid, calib, test) must leave some for it"
        )
    return _make_galaxies(table, (f"mag_{blue}", f"mag_{red}"))


def scan_catalogue(location: str, galaxies: Galaxies) -> Scan:
    """Read a catalogue once, a partition at a time, and keep the test galaxies' redshifts and the counts.

    Parameters
    ----------
    location : str
        Photo-z catalogue (HATS).
    galaxies : Galaxies

    Returns
    -------
    Scan

    Raises
    ------
    CatalogueError
        The catalogue or one of its partitions is missing or damaged, or is no photo-z catalogue.
    """
    partitions = list_partitions(location)
    for partition in partitions[:1]:
        _check_columns(location, partition)
    counts, z_counts, sky = dict.fromkeys((flag.name or "" for flag in Flag), 0), np.zeros(len(Z_EDGES) - 1), _Sky()
    z_phot, found = np.full(len(galaxies), np.nan), np.zeros(len(galaxies), dtype=bool)
    rows = estimated = repeated = 0
    for partition in partitions:
        table = read_partition(location, partition, columns=_READ)
        z = table["z_phot"].to_numpy().astype(np.float64)
        flags = pc.fill_null(table["flags"], 0).to_numpy()
        rows, estimated = rows + len(z), estimated + int(np.isfinite(z).sum())
        for flag in Flag:
            counts[flag.name or ""] += int(np.count_nonzero(flags & flag.value))
        z_counts += np.histogram(z[np.isfinite(z)], Z_EDGES)[0]
        sky.add(table[HEALPIX_COLUMN].to_numpy())
        repeated += _take(table["object_id"], z, galaxies, (z_phot, found))
    if repeated:
        logger.warning("%s holds %d test galaxies more than once; the first row counts", location, repeated)
    order, cells, in_cell = sky.finish()
    return Scan(rows, estimated, counts, z_counts, order, cells, in_cell, partitions, z_phot, found, repeated)


def _check_columns(location: str, partition: Partition) -> None:
    """Tell a catalogue of another kind by its first partition, before a projection fails on it as on a damaged file."""
    names = read_partition(location, partition).column_names
    missing = [name for name in _READ if name not in names]
    if missing:
        raise CatalogueError(
            f"{location!r} is no photo-z catalogue: {partition.name} lacks the columns {missing}; give one that "
            "jobs/infer_dr4.py wrote in evaluation.catalogues"
        )


def _make_galaxies(table: pa.Table, colour: tuple[str, str]) -> Galaxies:
    identifiers = table["object_id"].cast(pa.string()).combine_chunks()
    _, first = np.unique(identifiers.to_numpy(zero_copy_only=False), return_index=True)
    kept = np.sort(first)
    values = {name: table[name].to_numpy().astype(np.float64)[kept] for name in ("z_spec", "mag_auto", *colour)}
    repeated = len(table) - len(kept)
    if repeated:
        logger.warning("%d test galaxies have more than one redshift; the first one counts", repeated)
    return Galaxies(
        object_id=identifiers.take(pa.array(kept)),
        z_spec=values["z_spec"],
        mag_auto=values["mag_auto"],
        colour=values[colour[0]] - values[colour[1]],
        repeated=repeated,
    )


def _take(
    identifiers: pa.ChunkedArray,
    z: FloatArray,
    galaxies: Galaxies,
    into: tuple[FloatArray, npt.NDArray[np.bool_]],
) -> int:
    """Fill in the redshifts of the test galaxies among these rows; return how many had come before."""
    z_phot, found = into
    position = pc.index_in(identifiers.cast(pa.string()), value_set=galaxies.object_id)
    matched = np.flatnonzero(pc.is_valid(position).to_numpy())
    index = pc.drop_null(position).to_numpy()
    fresh = ~found[index]
    index, matched, total = index[fresh], matched[fresh], len(index)
    index, first = np.unique(index, return_index=True)
    z_phot[index], found[index] = z[matched[first]], True
    return total - len(index)


class _Sky:
    """Counts rows by HEALPix cell, coarsening the cells when they become many."""

    def __init__(self) -> None:
        self._order = _FINEST_ORDER
        self._cells = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)

    def add(self, healpix: npt.NDArray[np.int64]) -> None:
        cells, counts = np.unique(healpix >> 2 * (HEALPIX_ORDER - self._order), return_counts=True)
        self._merge(np.concatenate([self._cells, cells]), np.concatenate([self._counts, counts]))
        while self._cells.size > _MOST_CELLS:
            self._coarsen()

    def finish(self) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        while self._order and (
            self._cells.size > _MOST_DRAWN or self._counts.sum() < _LEAST_IN_CELL * self._cells.size
        ):
            self._coarsen()
        return self._order, self._cells, self._counts

    def _coarsen(self) -> None:
        self._order -= 1
        self._merge(self._cells >> 2, self._counts)

    def _merge(self, cells: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        self._cells, place = np.unique(cells, return_inverse=True)
        self._counts = np.bincount(place, weights=counts, minlength=self._cells.size).astype(np.int64)
