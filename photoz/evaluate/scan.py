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
from photoz.errors import CatalogueError
from photoz.evaluate.galaxies import Galaxies
from photoz.evaluate.skymap import SkyMap
from photoz.metrics import FloatArray
from photoz.schema import HEALPIX_COLUMN, Flag

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int64]

# Steps of 0.005, finer than the bins of the figure; from below 0, as an estimator may give such.
Z_EDGES: FloatArray = np.linspace(-0.1, 3.0, 621)
"""Bins of the redshift distribution of a whole catalogue."""
_READ = (HEALPIX_COLUMN, "object_id", "z_phot", "flags")


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
    sky : SkyMap
        Rows of the whole catalogue by HEALPix cell.
    partitions : list of Partition
    z_phot : ndarray of float64, shape (T,)
        Of each test galaxy; NaN where the catalogue has none or does not hold the galaxy.
    flags_T : ndarray of int64, shape (T,)
        Of each test galaxy; 0 where the catalogue does not hold it.
    place_T : ndarray of int64, shape (T,)
        Which of the partitions holds each test galaxy; -1 where none does.
    repeated : int
        Rows of test galaxies that the catalogue holds again; the first one counts.
    """

    rows: int
    estimated: int
    flags: dict[str, int]
    z_counts: FloatArray
    sky: SkyMap
    partitions: list[Partition]
    z_phot: FloatArray
    flags_T: IntArray
    place_T: IntArray
    repeated: int

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """Whether the catalogue holds each test galaxy, shape (T,)."""
        return self.place_T >= 0


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
    # A slice, since a finished catalogue may be without partitions.
    for partition in partitions[:1]:
        _check_columns(location, partition)
    # `Flag.name` is None for a combination; single flags always have one, which the type checker does not know.
    counts, z_counts, sky = dict.fromkeys((flag.name or "" for flag in Flag), 0), np.zeros(len(Z_EDGES) - 1), SkyMap()
    z_phot, place_T = np.full(len(galaxies), np.nan), np.full(len(galaxies), -1)
    flags_T = np.zeros(len(galaxies), dtype=np.int64)
    rows = estimated = repeated = 0
    for place, partition in enumerate(partitions):
        table = read_partition(location, partition, columns=_READ)
        z = table["z_phot"].to_numpy().astype(np.float64)
        # A damaged or foreign catalogue may have nulls; the audit reports them, here they count as no flag.
        flags = pc.fill_null(table["flags"], 0).to_numpy()
        rows, estimated = rows + len(z), estimated + int(np.isfinite(z).sum())
        for flag in Flag:
            counts[flag.name or ""] += int(np.count_nonzero(flags & flag.value))
        z_counts += np.histogram(z[np.isfinite(z)], Z_EDGES)[0]
        sky = sky.add(table[HEALPIX_COLUMN].to_numpy())
        repeated += _take(table["object_id"], (z, flags, place), galaxies, (z_phot, flags_T, place_T))
    if repeated:
        logger.warning("%s holds %d test galaxies more than once; the first row counts", location, repeated)
    return Scan(
        rows=rows,
        estimated=estimated,
        flags=counts,
        z_counts=z_counts,
        sky=sky.finish(),
        partitions=partitions,
        z_phot=z_phot,
        flags_T=flags_T,
        place_T=place_T,
        repeated=repeated,
    )


def _check_columns(location: str, partition: Partition) -> None:
    """Tell a catalogue of another kind by its first partition, before a projection fails on it as on a damaged file."""
    names = read_partition(location, partition).column_names
    missing = [name for name in _READ if name not in names]
    if missing:
        raise CatalogueError(
            f"{location!r} is no photo-z catalogue: {partition.name} lacks the columns {missing}; give one that "
            "jobs/infer_dr4.py wrote in evaluation.catalogues"
        )


def _take(
    identifiers: pa.ChunkedArray,
    values: tuple[FloatArray, IntArray, int],
    galaxies: Galaxies,
    into: tuple[FloatArray, IntArray, IntArray],
) -> int:
    """Fill in redshifts, flags and place of the test galaxies among these rows; return how many had come before."""
    (z, flags, place), (z_phot, flags_T, place_T) = values, into
    position = galaxies.find(identifiers)
    matched = np.flatnonzero(pc.is_valid(position).to_numpy())
    index = pc.drop_null(position).to_numpy()
    # Repeated rows are found in two ways: across partitions by `place_T`, within one by `np.unique` below.
    fresh = place_T[index] < 0
    index, matched, total = index[fresh], matched[fresh], len(index)
    index, first = np.unique(index, return_index=True)
    z_phot[index], flags_T[index], place_T[index] = z[matched[first]], flags[matched[first]], place
    return total - len(index)
