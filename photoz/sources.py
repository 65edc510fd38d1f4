"""The source catalogue as everything reads it, wherever its rows lie.

Rows come out as `photoz.schema.make_source_schema` has them, a partition at a time. What they are read from is this
module's own affair, so that no caller knows files of the source catalogue.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from photoz.catalogue.hats import (
    VIEW,
    Partition,
    list_partitions,
    locate_partition,
    locate_primary,
    read_partition,
    read_properties,
)
from photoz.errors import CatalogueError
from photoz.schema import make_source_schema
from photoz.storage import compute_checksum, exists, join, open_file


def list_source_partitions(sources: str) -> list[Partition]:
    """List the partitions of a source catalogue, in the order of their position on the sky.

    Raises
    ------
    CatalogueError
        There is no finished catalogue.
    """
    if not is_view(sources):
        return list_partitions(sources)
    from photoz import views

    return views.list_view_partitions(views.read_view_file(sources))


def check_source_columns(sources: str, bands: Sequence[str]) -> None:
    """Refuse a source catalogue without a column that estimates or a training set are made from.

    Raises
    ------
    CatalogueError
        It lacks a column.
    """
    there = read_source_schema(sources).names
    # Of a catalogue that does not say it, or not any more, its partitions tell.
    if not there:
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
    if not is_view(sources):
        return read_partition(sources, partition, columns=columns)
    from photoz import views

    rows = views.read_view(views.read_view_file(sources), partition)
    return rows if columns is None else rows.select(list(columns))


def compute_sources_checksum(sources: str, partition: Partition) -> str:
    """Compute a digest of all that one partition's rows of sources are read from."""
    if is_view(sources):
        from photoz import views

        return views.compute_view_checksum(views.read_view_file(sources), partition)
    return compute_checksum(locate_partition(locate_primary(sources), partition))


def count_sources(sources: str) -> int | None:
    """Return how many rows the source catalogue says it has; None where it does not say."""
    properties = read_properties(locate_primary(sources))
    return None if properties is None else int(properties.total_rows)


def read_source_schema(sources: str) -> pa.Schema:
    """Return the columns of a source catalogue; none where it does not say, or not any more."""
    if is_view(sources):
        from photoz import views

        return views.read_view_schema(views.read_view_file(sources))
    try:
        with open_file(join(locate_primary(sources), "dataset/_common_metadata")) as file:
            return pq.read_schema(file)
    except (OSError, pa.ArrowException):
        return pa.schema([])


def is_view(sources: str) -> bool:
    """Tell whether the rows are a table's, which is read where it lies."""
    return exists(join(sources, VIEW))
