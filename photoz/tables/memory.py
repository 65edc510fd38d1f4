"""Tables in memory, of whichever library: of their columns those are read that are asked for, as Arrow's."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from photoz.errors import TableError
from photoz.tables.columns import choose_columns
from photoz.tables.masks import list_masks
from photoz.tables.settings import TableSurvey
from photoz.tables.types import make_column

logger = logging.getLogger(__name__)

_NEEDED = ("identifier", "photometry", "z_spec", "z_quality")
"""What rows are made of: without a column that a survey's file names for these they would be other ones."""


@dataclass(frozen=True)
class Opened:
    """A table in memory: the names of its columns, and how some of them are read; the others may hold anything."""

    names: Sequence[str]
    read: Callable[[Sequence[str]], pa.Table]


def take_columns(opened: Opened, survey: TableSurvey, bands: Sequence[str] | None) -> pa.Table:
    """Take what a survey names of a table of another library's as a table of Arrow's; rows without names are numbered.

    Raises
    ------
    ConfigError
        It lacks columns.
    TableError
        It has two columns of one name that is asked for, or identifiers that Arrow has no type for.
    """
    numbered = survey.identifiers == ("object_id",) and "object_id" not in opened.names
    there = [*opened.names, "object_id"] if numbered else opened.names
    needed = choose_columns(survey, there, bands).columns
    wanted = [name for name in needed if name in opened.names]
    if doubled := [name for name in wanted if opened.names.count(name) > 1]:
        raise TableError(f"the table has several columns of the name {doubled[0]!r}: rename all but one")
    taken = opened.read(list(dict.fromkeys([*wanted, *list_masks(wanted, opened.names)])))
    # Or they would be told as lacking, of a table that has them.
    if lost := [name for name in wanted if name not in taken.column_names and needed[name].startswith(_NEEDED)]:
        what = "whole numbers of 64 bits or text" if lost[0] in survey.identifiers else "numbers of 64 bits"
        raise TableError(f"column {lost[0]} cannot be read, for the reason in the log: give {what}, one a row")
    if not numbered:
        return taken
    return taken.append_column("object_id", pa.array([str(row) for row in range(len(taken))], pa.string()))


def open_memory(table: Any) -> Opened:
    """Open a table of pandas, polars, Arrow or astropy, or a mapping of column names to arrays, without its columns.

    Raises
    ------
    TableError
        It is none of these, or its columns differ in length.
    """
    if isinstance(table, pa.Table | pa.RecordBatch):
        whole = table if isinstance(table, pa.Table) else pa.Table.from_batches([table])
        return Opened(whole.column_names, lambda names: whole.select(list(names)))
    kind = name_kind(table)
    if kind == "astropy":
        return _open_astropy(table)
    if kind == "pandas" and hasattr(table, "columns"):
        named = {str(name): name for name in table.columns}
        return Opened(
            [str(name) for name in table.columns],
            lambda names: _keep_readable({n: partial(_take_series, table[named[n]]) for n in names}, {}),
        )
    # By itself: columns of objects, which it may have, pass no interface.
    if kind == "polars" and hasattr(table, "__arrow_c_stream__") and hasattr(table, "columns"):
        return Opened(table.columns, lambda names: pa.table(table.select(list(names))))
    # The Arrow PyCapsule interface, which DuckDB and others have: batch by batch, so that no other column is held.
    if hasattr(table, "__arrow_c_stream__"):
        try:
            reader = pa.RecordBatchReader.from_stream(table)
        # Of one column, as a Series is.
        except pa.ArrowException as error:
            raise TableError(
                f"a {type(table).__name__} is no table of columns ({error}): give the whole table"
            ) from error
        return Opened(reader.schema.names, partial(_read_stream, reader))
    if isinstance(table, Mapping):
        return _open_mapping(table)
    raise TableError(
        f"a table of type {type(table).__name__} cannot be read: give one of pandas, polars, Arrow or astropy, a "
        "mapping of column names to arrays, or the location of a file"
    )


def _read_stream(reader: pa.RecordBatchReader, names: Sequence[str]) -> pa.Table:
    schema = pa.schema([reader.schema.field(name) for name in names])
    return pa.Table.from_batches((batch.select(list(names)) for batch in reader), schema)


def _open_mapping(table: Mapping[str, Any]) -> Opened:
    lengths = {name: length for name, values in table.items() if (length := _count(values)) is not None}
    if len(lengths) < len(table) or len(set(lengths.values())) > 1:
        bare = [str(name) for name in table if name not in lengths]
        told = f"{bare[0]} is no array" if bare else f"the columns have {lengths} values"
        raise TableError(f"{told}: give an array of each column, all of one length")
    # An array a row, as a spectrum is, is none of the columns that are asked for.
    plain = {str(name): values for name, values in table.items() if getattr(values, "ndim", 1) == 1}
    # Of quantities, as astropy calls numbers with a unit; of another library's object it may be anything.
    units = {name: str(unit) for name, values in plain.items() if (unit := getattr(values, "unit", None)) is not None}
    return Opened(list(plain), lambda names: _keep_readable({n: partial(_take_array, plain[n]) for n in names}, units))


def _count(values: Any) -> int | None:
    try:
        return len(values)
    # A number, or an array of none of dimensions.
    except TypeError:
        return None


def _take_array(values: Any) -> pa.Array:
    array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"it holds an array of shape {array.shape[1:]} a row")
    return _take_column(array, np.ma.getmaskarray(array))


def _keep_readable(columns: Mapping[str, Callable[[], pa.Array]], units: Mapping[str, str]) -> pa.Table:
    """Make a table of the columns that Arrow has a type for: one that it has none for must not cost the others.

    What they state of their unit goes into each field's metadata, as `photoz.tables` has it.
    """
    taken = {}
    for name, take in columns.items():
        try:
            taken[name] = take()
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            logger.warning("column %s cannot be read (%s) and is left out", name, error)
    fields = [make_column(name, array.type, units.get(name, "")) for name, array in taken.items()]
    return pa.table(list(taken.values()), schema=pa.schema(fields))


def _take_series(series: Any) -> pa.Array:
    # One that holds few values is a kind of its own, which Arrow does not know.
    values = series.to_numpy() if hasattr(series, "sparse") else series
    return pa.array(values.astype(np.float64) if values.dtype == np.longdouble else values, from_pandas=True)


def _take_column(values: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> pa.Array:
    values = np.asarray(values)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    # Of more bytes than Arrow has a type for.
    if values.dtype == np.longdouble:
        values = values.astype(np.float64)
    # FITS is big-endian, and Arrow takes the machine's order of bytes alone.
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask)


def _open_astropy(table: Any) -> Opened:
    # A cell with an array, such as a spectrum, is none of the columns that are asked for. Objects may be identifiers,
    # which left out would be taken for a table that names none.
    plain = [name for name in table.colnames if getattr(table[name], "ndim", 1) == 1 and hasattr(table[name], "dtype")]
    units = {name: str(table[name].unit or "") for name in plain}
    return Opened(plain, lambda names: _keep_readable({n: partial(_take_cells, table[n]) for n in names}, units))


def _take_cells(column: Any) -> pa.Array:
    mask = np.asarray(getattr(column, "mask", np.zeros(len(column), bool)))
    return _take_column(np.asarray(column), np.broadcast_to(mask, len(column)))


def name_kind(table: Any) -> str:
    """Return the library that a table in memory is of."""
    return type(table).__module__.partition(".")[0]
