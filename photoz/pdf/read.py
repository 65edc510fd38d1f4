"""Reading p(z) back from a photo-z catalogue, for galaxies named by their identifiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photoz.catalogue.hats import Partition, list_partitions, locate_partition, locate_primary
from photoz.catalogue.quantiles import unpack_codes
from photoz.errors import CatalogueError
from photoz.pdf.ensembles import import_qp
from photoz.pdf.quantiles import compute_pdfs, decode_quantiles
from photoz.schema import LEVELS, QUANTILES, find_algorithm
from photoz.storage import open_file

if TYPE_CHECKING:
    import qp

Floats = npt.NDArray[np.float64]

_POINTS = 301  # of the grid that is made where none is given
_FIRST_IDS = 3  # named by an error


@dataclass(frozen=True, eq=False)
class CatalogueDensities:
    """p(z) of N galaxies, read from a catalogue.

    Parameters
    ----------
    object_id : ndarray of str, shape (N,)
    quantiles_NQ : ndarray of float64, shape (N, Q)
        Redshifts at `photoz.schema.LEVELS`; NaN rows for galaxies without an estimate.
    z_grid : ndarray of float64, shape (Z,)
    pdf_NZ : ndarray of float64, shape (N, Z)
        Density per unit redshift on the grid; NaN rows as above.
    """

    object_id: npt.NDArray[np.str_]
    quantiles_NQ: Floats
    z_grid: Floats
    pdf_NZ: Floats


def read_pdfs(
    catalogue: str, ids: Sequence[str] | npt.NDArray[np.str_], z_grid: npt.ArrayLike | None = None
) -> CatalogueDensities:
    """Read the p(z) of some galaxies of a photo-z catalogue.

    Parameters
    ----------
    catalogue : str
        Location of a catalogue (HATS) that an estimator with p(z) was run for.
    ids : sequence of str
        Values of ``object_id``; one that comes twice gives two rows.
    z_grid : array_like of float, shape (Z,), optional
        Redshifts of the densities; by default 301 from 0 to just beyond the highest quantile read.

    Returns
    -------
    CatalogueDensities
        Rows in the order of ``ids``.

    Raises
    ------
    CatalogueError
        The catalogue is missing or damaged, holds no p(z), lacks some of the ids, or has more than one row of one.

    Notes
    -----
    One partition is held at a time, and of each only what it must: files whose range of ``object_id`` (a statistic that
    Parquet keeps) holds none of the ids are not read, the quantiles only where an id was found, and nothing more once
    all are found.
    """
    # Sorted, so that a file's range of ids is one slice; each once, since index_in finds one place for a value.
    wanted, place_N = np.unique(np.asarray(ids, dtype=np.str_), return_inverse=True)
    quantiles_UQ, found_U = _collect(catalogue, wanted)
    # An error and no NaN rows: those stand for galaxies that are there without an estimate.
    if not found_U.all():
        unknown = wanted[~found_U].tolist()
        first = ", ".join(map(repr, unknown[:_FIRST_IDS]))
        raise CatalogueError(
            f"{catalogue} does not hold {len(unknown)} of {len(wanted)} ids, {first} first: give values of its column "
            "object_id"
        )
    quantiles_NQ = quantiles_UQ[place_N]
    grid = _make_grid(quantiles_NQ) if z_grid is None else np.asarray(z_grid, dtype=np.float64)
    return CatalogueDensities(wanted[place_N], quantiles_NQ, grid, compute_pdfs(quantiles_NQ, grid))


def to_qp(densities: CatalogueDensities) -> "qp.Ensemble":
    """Turn densities into a ``qp.Ensemble``, as RAIL reads it: interpolated on their grid.

    Parameters
    ----------
    densities : CatalogueDensities
        From `read_pdfs`. Galaxies without p(z) are left out: qp knows no missing ones.

    Returns
    -------
    qp.Ensemble
        Of type ``interp``, with ``object_id`` in its ``ancil`` table.

    Raises
    ------
    MissingPackageError
        The package qp-prob is not installed.
    """
    qp = import_qp()
    known_N = np.isfinite(densities.quantiles_NQ[:, 0])
    data = {"xvals": densities.z_grid, "yvals": densities.pdf_NZ[known_N]}
    return qp.Ensemble(qp.interp, data=data, ancil={"object_id": densities.object_id[known_N]})


def _collect(catalogue: str, wanted: npt.NDArray[np.str_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Read the quantiles of sorted ids, shape (U, Q), and whether each was found."""
    quantiles_UQ, found_U = np.full((len(wanted), len(LEVELS)), np.nan), np.zeros(len(wanted), dtype=bool)
    primary = locate_primary(catalogue)
    # Ids are the survey's own names, of which no place is read: any partition may hold them.
    for partition in list_partitions(catalogue):
        if found_U.all():
            break
        index, codes = _read_partition(primary, partition, wanted)
        places, counts = np.unique(index, return_counts=True)
        # As far as the catalogue is read: of two rows nobody can tell which is meant.
        if len(twice := places[(counts > 1) | found_U[places]]):
            raise CatalogueError(
                f"{catalogue} has more than one row of {len(twice)} of the ids, {str(wanted[twice[0]])!r} first: "
                "photoz audit says what to do"
            )
        quantiles_UQ[index], found_U[index] = decode_quantiles(codes), True
    return quantiles_UQ, found_U


def _read_partition(
    primary: str, partition: Partition, wanted: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """Read which of the ids a partition holds, and their stored quantiles."""
    file_name = locate_partition(primary, partition)
    try:
        with open_file(file_name) as opened:
            file = pq.ParquetFile(opened)
            column = _find_column(file, file_name)
            first, last = _find_range(file.metadata, wanted)
            if first == last:
                return np.empty(0, np.int64), np.empty((0, len(LEVELS)), np.uint16)
            # Ids first and alone: quantiles are 54 bytes a galaxy more.
            ids = file.read(columns=["object_id"])["object_id"]
            place = pc.index_in(ids, value_set=pa.array(wanted[first:last], pa.string()))
            rows = np.flatnonzero(pc.is_valid(place).to_numpy())
            if not len(rows):
                return np.empty(0, np.int64), np.empty((0, len(LEVELS)), np.uint16)
            # Of numpy: Arrow takes from lists of any length at a twentieth of the speed.
            codes_NQ = unpack_codes(file.read(columns=[column])[column])[rows]
    except FileNotFoundError as error:
        raise CatalogueError(f"partition {partition.name} has no file {file_name}: run the job again") from error
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"cannot read {file_name} ({error}): remove it and run the job again") from error
    # Places were found within the slice that begins at `first`.
    return pc.drop_null(place).to_numpy().astype(np.int64) + first, codes_NQ


def _find_column(file: pq.ParquetFile, file_name: str) -> str:
    names = file.schema_arrow.names
    algorithm = find_algorithm(names)
    if not algorithm or "object_id" not in names:
        raise CatalogueError(
            f"{file_name} holds no p(z): estimate the catalogue with an estimator that gives it, and not z_phot alone"
        )
    return f"{algorithm}_{QUANTILES}"


def _find_range(metadata: Any, wanted: npt.NDArray[np.str_]) -> tuple[int, int]:
    """Find the slice of the sorted ids that the file's statistics allow it to hold."""
    # By the Parquet schema's names, which are of leaf columns, as its statistics are.
    column = metadata.schema.names.index("object_id")
    groups = [metadata.row_group(i).column(column).statistics for i in range(metadata.num_row_groups)]
    # A writer may leave statistics out: the file has then to be read.
    if not all(group is not None and group.has_min_max for group in groups):
        return 0, len(wanted)
    if not groups:
        return 0, 0
    # Parquet orders strings by their UTF-8 bytes and numpy by code points, which is the same order.
    low, high = min(group.min for group in groups), max(group.max for group in groups)
    return int(np.searchsorted(wanted, low, "left")), int(np.searchsorted(wanted, high, "right"))


def _make_grid(quantiles_NQ: Floats) -> Floats:
    # `initial` also serves where all are NaN or there is no galaxy.
    highest = float(np.nanmax(quantiles_NQ, initial=0.1))
    return np.linspace(0.0, 1.05 * highest, _POINTS)
