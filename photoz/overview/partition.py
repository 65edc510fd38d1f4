"""Reading what an overview is made of, a partition at a time: of the photo-z catalogue and of its sources."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.hats import (
    Partition,
    list_partitions,
    locate_partition,
    locate_primary,
    read_partition,
    read_properties,
)
from photoz.errors import CatalogueError
from photoz.inputs import make_inputs
from photoz.overview.sums import CatalogueSums, Rows, sum_rows
from photoz.ranges import RangeCounts, Ranges, count_ranges
from photoz.schema import HEALPIX_COLUMN, QUANTILES, find_algorithm
from photoz.sources import read_sources

MOST_STACKED = 200_000
"""Galaxies whose p(z) are stacked, 25 to 60 µs each on busy cores; of more, a part by their places alone."""
_NEEDED = (HEALPIX_COLUMN, "object_id", "ra", "dec", "z_phot", "flags")


@dataclass(frozen=True)
class Plan:
    """A catalogue to describe.

    Parameters
    ----------
    catalogue : str
        Location.
    partitions : tuple of Partition
    columns : tuple of str
        To read.
    algorithm : str
        Whose p(z) it holds; "" for none.
    every : int
        p(z) is stacked of one galaxy in so many.
    """

    catalogue: str
    partitions: tuple[Partition, ...] = ()
    columns: tuple[str, ...] = _NEEDED
    algorithm: str = ""
    every: int = 1


def plan_overview(catalogue: str) -> Plan:
    """Look at a catalogue: its partitions, and the columns that it has.

    Parameters
    ----------
    catalogue : str
        Location (HATS). It may be without rows or partitions.

    Raises
    ------
    CatalogueError
        There is no finished catalogue, or it is none of photometric redshifts.
    """
    partitions = tuple(list_partitions(catalogue))
    if not partitions:
        return Plan(catalogue)
    # The first partition stands for all: one of other columns is an error when its turn comes.
    names = read_partition(catalogue, partitions[0]).column_names
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise CatalogueError(f"{catalogue!r} is no photo-z catalogue: it lacks {missing}; set locations.catalogue")
    algorithm = find_algorithm(names)
    optional = ("mag_auto", f"{algorithm}_training_distance", f"{algorithm}_{QUANTILES}")
    columns = (*_NEEDED, *(name for name in optional if name in names))
    properties = read_properties(locate_primary(catalogue))
    rows = int(properties.total_rows) if properties is not None else 0
    return Plan(catalogue, partitions, columns, algorithm, every=-(-max(rows, 1) // MOST_STACKED))


def sum_partition(plan: Plan, partition: Partition) -> CatalogueSums:
    """Sum over the rows of one partition of the catalogue.

    Raises
    ------
    CatalogueError
        Its file is missing, damaged or of other columns than the first partition's.
    """
    try:
        table = read_partition(plan.catalogue, partition, columns=plan.columns)
        return sum_rows(make_rows(table, plan.algorithm), every=plan.every)
    except (KeyError, ValueError) as error:
        file = locate_partition(locate_primary(plan.catalogue), partition)
        raise CatalogueError(f"{file} has other columns than the first partition ({error}): run the audit") from error


def make_rows(table: pa.Table, algorithm: str) -> Rows:
    """View rows of a catalogue as arrays; nulls, which a catalogue of others may have, are NaN or no flag."""
    names = table.column_names
    nothing_N = np.full(len(table), np.nan)

    def get(name: str) -> npt.NDArray[np.float64]:
        # Infinite values are none either.
        values_N = table[name].to_numpy().astype(np.float64) if name in names else nothing_N
        return np.where(np.isfinite(values_N), values_N, np.nan)

    stored = f"{algorithm}_{QUANTILES}"
    return Rows(
        healpix_N=table[HEALPIX_COLUMN].to_numpy().astype(np.int64),
        object_id_N=table["object_id"].cast(pa.string()).to_numpy(),
        ra_N=get("ra"),
        dec_N=get("dec"),
        mag_auto_N=get("mag_auto"),
        z_phot_N=get("z_phot"),
        flags_N=pc.fill_null(table["flags"], 0).to_numpy().astype(np.int64),
        distance_N=get(f"{algorithm}_training_distance"),
        codes_NQ=_get_codes(table[stored]) if stored in names else None,
    )


def count_partition_ranges(sources: str, ranges: Ranges, partition: Partition) -> RangeCounts:
    """Count the magnitudes and colours of one partition of the source catalogue.

    Raises
    ------
    CatalogueError
        Its file is missing or damaged.
    """
    return count_ranges(read_magnitudes(read_sources(sources, partition), ranges.bands), ranges)


def read_magnitudes(sources: pa.Table, bands: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return magnitudes [mag(AB)] as the estimator sees them, shape (N, F), NaN where there is none.

    Raises
    ------
    KeyError, ValueError
        The sources lack a band.
    """
    return make_inputs(sources, bands).magnitudes.magnitudes_NF


def _get_codes(column: pa.ChunkedArray) -> npt.NDArray[np.uint16]:
    lists = column.combine_chunks()
    # A table without rows combines to no chunk.
    lists = lists if isinstance(lists, pa.Array) else pa.concat_arrays(lists.chunks or [pa.array([], column.type)])
    codes_NQ: npt.NDArray[np.uint16] = lists.flatten().to_numpy().reshape(len(column), -1 if len(column) else 0)
    return codes_NQ
