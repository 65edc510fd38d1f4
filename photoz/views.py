"""A source catalogue that is another's HATS table, read where it lies through what a survey's file says of its columns.

The folder of such a source catalogue holds one file, which names the table.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from photoz.catalogue.hats import VIEW, Partition
from photoz.content import compute_key
from photoz.errors import CatalogueError, PhotozError
from photoz.schema import HEALPIX_COLUMN, Flag, make_source_schema
from photoz.storage import compute_checksum, join, list_folder, open_file, write_json
from photoz.tables import Table, TablePart, TableSurvey, choose_columns, open_survey_table
from photoz.tables import read_sources as read_part
from photoz.tables.load import describe_survey, make_survey
from photoz.tables.types import simplify_type
from photoz.telemetry import count

SET_ASIDE = ("cut", "no_identifier", "no_position")
"""Why rows of a table are no sources, as `photoz.tables.Converted` counts them."""


@dataclass(frozen=True)
class View:
    """Which table stands for a source catalogue, and what its columns mean.

    Parameters
    ----------
    table : str
        Location of the table (HATS).
    survey : TableSurvey
    bands : tuple of str
        Of the source catalogue. One that the survey lacks has no flux.
    content : bytes
        Of the file that says all this, and a digest of the table's partitions: one that gets others is another view.
    """

    table: str = field(compare=False)
    survey: TableSurvey = field(compare=False)
    bands: tuple[str, ...] = field(compare=False)
    content: bytes


def write_view(sources: str, table: Table, survey: TableSurvey, bands: Sequence[str]) -> None:
    """Make a location the source catalogue that a table is.

    Parameters
    ----------
    sources : str
    table : Table
        Whose parts are HEALPix pixels.
    survey : TableSurvey
    bands : sequence of str

    Raises
    ------
    CatalogueError
        The location holds something else.
    """
    strange = [name for name in list_folder(sources) if not name.endswith(VIEW)]
    if strange:
        raise CatalogueError(
            f"{sources!r} holds files that are not of a table that is read where it lies, {strange[0]} first: remove "
            "the folder, or set locations.sources to another"
        )
    partitions = compute_key([[part.location, part.pixel] for part in table.parts])
    content = {"table": table.location, "survey": describe_survey(survey), "bands": list(bands)}
    write_json(join(sources, VIEW), content | {"partitions": partitions})


def read_view_file(sources: str) -> View:
    """Return what a source catalogue is a view of.

    Raises
    ------
    CatalogueError
        The file that says so is damaged.
    """
    location = join(sources, VIEW)
    with open_file(location) as file:
        content: bytes = file.read()
    return _parse(location, content)


@lru_cache(maxsize=4)
def _parse(location: str, content: bytes) -> View:
    try:
        values = json.loads(content)
        survey = make_survey(values["survey"], location)
        return View(values["table"], survey, tuple(values["bands"]), content)
    except (ValueError, KeyError, TypeError, PhotozError) as error:
        raise CatalogueError(f"{location} is damaged ({error}): remove it, and estimate the table again") from error


def list_view_partitions(view: View) -> list[Partition]:
    """List the partitions of a view, which are its table's, in the order of their position on the sky."""
    return list(_open(view).parts)


def read_view(view: View, partition: Partition) -> pa.Table:
    """Read one partition of a view as rows of the source catalogue.

    Returns
    -------
    pyarrow.Table
        As `gather_sources`; rows that are set aside are counted (`photoz.telemetry.count`).

    Raises
    ------
    CatalogueError
        The table has no such partition.
    TableError, ConfigError
        It is damaged, or is not what the survey's file says.
    """
    opened, bands = _open(view), list_read_bands(view.survey, view.bands)
    batches = [
        found
        for part in _find_parts(opened, partition)
        for found in read_part(opened.table, part, view.survey, bands, positions=True)
    ]
    for found in batches:
        for reason in SET_ASIDE:
            if found.counts.get(reason):
                count(f"set_aside_{reason}", found.counts[reason])
    return gather_sources([found.table for found in batches], read_view_schema(view))


def read_view_schema(view: View) -> pa.Schema:
    """Return the columns of the source catalogue that a view is."""
    return make_table_schema(_open(view).table, view.survey, view.bands)


def compute_view_checksum(view: View, partition: Partition) -> str:
    """Compute a digest of what one partition of a view is read from: its files, and what their columns mean."""
    files = [compute_checksum(part.location) for part in _find_parts(_open(view), partition)]
    return compute_key({"files": files, "survey": describe_survey(view.survey), "bands": view.bands})


def list_read_bands(survey: TableSurvey, bands: Sequence[str]) -> tuple[str, ...]:
    """List those of some bands that a survey's table has; the others have no flux."""
    return tuple(band for band in bands if not survey.bands or band in survey.bands)


def make_table_schema(table: Table, survey: TableSurvey, bands: Sequence[str]) -> pa.Schema:
    """Build the schema of the source catalogue that a table gives, with the columns that are carried along."""
    return make_schema(table.schema, survey, bands, location=table.location)


def make_schema(
    columns: pa.Schema, survey: TableSurvey, bands: Sequence[str], *, location: str = "the table"
) -> pa.Schema:
    """Build the schema of the source catalogue that a table of these columns gives."""
    choice = choose_columns(survey, columns.names, list_read_bands(survey, bands), table=location)
    # Without their metadata: what a file says of a column beside its type is the file's own.
    carried = [pa.field(name, simplify_type(columns.field(name).type)) for name in choice.survey.carry]
    return make_source_schema(bands, carried)


def gather_sources(batches: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Make rows of the source catalogue of what was read from a table.

    Parameters
    ----------
    batches : sequence of pyarrow.Table
        Of `photoz.tables.Converted`, with positions; there may be none.
    schema : pyarrow.Schema
        From `make_table_schema`. A column that the batches lack is "" or NaN, and its band was not observed.

    Returns
    -------
    pyarrow.Table
        Of that schema, sorted by ``_healpix_29`` and ``object_id``, in one piece.
    """
    if not batches:
        return schema.empty_table()
    order = [(HEALPIX_COLUMN, "ascending"), ("object_id", "ascending")]
    return complete_sources(pa.concat_tables(batches), schema).sort_by(order).combine_chunks()


def complete_sources(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Bring rows of `photoz.tables.Converted` into the schema of a source catalogue, in their order.

    What the table or a row lacks is "", NaN or, of ``_healpix_29``, -1, and a band that it lacks was not observed.
    """
    absent = any(column.name.startswith("flux_") and column.name not in table.column_names for column in schema)
    if absent:
        table = _add_flag(table, Flag.BAND_NOT_OBSERVED)
    return pa.table([_complete(table, column) for column in schema], schema=schema)


def _complete(table: pa.Table, column: pa.Field) -> Any:
    if column.name == HEALPIX_COLUMN and "ra" in table.column_names:
        # Where positions are there: it takes seconds to import, and tables in memory seldom have any.
        from hats.pixel_math.spatial_index import compute_spatial_index

        ra_N, dec_N = (table[name].to_numpy() for name in ("ra", "dec"))
        placed_N = np.isfinite(ra_N) & np.isfinite(dec_N)
        index_N = np.full(len(table), -1, np.int64)
        index_N[placed_N] = compute_spatial_index(ra_N[placed_N], dec_N[placed_N])
        return pa.array(index_N, column.type)
    if column.name in table.column_names:
        return table[column.name].cast(column.type)
    absent: str | float = "" if pa.types.is_string(column.type) else float("nan")
    value = pa.scalar(-1 if column.name == HEALPIX_COLUMN else absent, column.type)
    return pa.repeat(value, len(table))


def _add_flag(table: pa.Table, flag: Flag) -> pa.Table:
    place, flags_N = table.schema.get_field_index("flags"), table["flags"].to_numpy()
    return table.set_column(place, table.schema.field(place), pa.array(flags_N | np.int32(flag)))


@dataclass(frozen=True, eq=False)
class _Opened:
    """A view's table, and which of its parts each partition is."""

    table: Table
    parts: Mapping[Partition, list[TablePart]]


@lru_cache(maxsize=2)
def _open(view: View) -> _Opened:
    # Once a process: of a large table the list of its files takes seconds, and a worker reads many partitions.
    table = open_survey_table(view.table, view.survey)
    parts: dict[Partition, list[TablePart]] = defaultdict(list)
    for part in table.parts:
        if part.pixel is not None:
            parts[Partition(*part.pixel)].append(part)
    return _Opened(table, dict(parts))


def _find_parts(opened: _Opened, partition: Partition) -> list[TablePart]:
    if partition not in opened.parts:
        raise CatalogueError(f"{opened.table.location} has no partition {partition.name}: has it been made anew?")
    return opened.parts[partition]
