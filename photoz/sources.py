"""The source catalogue as everything reads it, wherever its rows lie.

Rows come out as `photoz.schema.make_source_schema` has them, a partition at a time. What they are read from is this
module's own affair, so that no caller knows files of the source catalogue.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from photoz.catalogue.hats import (
    Partition,
    list_partitions,
    locate_partition,
    locate_primary,
    read_partition,
    read_properties,
)
from photoz.errors import CatalogueError
from photoz.schema import make_source_schema
from photoz.storage import compute_checksum, join, open_file


def list_source_partitions(sources: str) -> list[Partition]:
    """List the partitions of a source catalogue, in the order of their position on the sky.

    Raises
    ------
    CatalogueError
        There is no finished catalogue.
    """
    return list_partitions(sources)


def check_source_columns(sources: str, bands: Sequence[str]) -> None:
    """Refuse a source catalogue without a column that estimates or a training set are made from.

    Raises
    ------
    CatalogueError
        It lacks a column.
    """
    location = join(locate_primary(sources), "dataset/_common_metadata")
    try:
        with open_file(location) as file:
            there = pq.read_schema(file).names
    # Of a catalogue that does not say it, or not any more, its partitions tell.
    except (OSError, pa.ArrowException):
        return
    if missing := [name for name in make_source_schema(bands).names if name not in there]:
        raise CatalogueError(
            f"the source catalogue {sources!r} lacks the columns {missing}: an earlier photoz wrote it, or it is of "
            "other bands; run jobs/ingest_dr4.py, which makes it anew, or correct survey.bands"
        )


def read_sources(sources: str, partition: Partition, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one partition's rows of sources.

    Parameters
    ----------
    sources : str
        Location of the source catalogue.
    partition : Partition
    columns : sequence of str, optional
        Read these only.

    Returns
    -------
    pyarrow.Table
        Rows sorted by ``_healpix_29``.

    Raises
    ------
    CatalogueError
        The file is missing or damaged.
    """
    return read_partition(sources, partition, columns=columns)


def compute_sources_checksum(sources: str, partition: Partition) -> str:
    """Compute a digest of all that one partition's rows of sources are read from."""
    return compute_checksum(locate_partition(locate_primary(sources), partition))


def count_sources(sources: str) -> int | None:
    """Return how many rows the source catalogue says it has; None where it does not say."""
    properties = read_properties(locate_primary(sources))
    return None if properties is None else int(properties.total_rows)
