"""What every table is to its readers, whatever its format: a schema, parts for workers, batches of chosen columns."""

import csv
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol

import pyarrow as pa

from photoz.errors import TableError
from photoz.storage import is_store_trouble
from photoz.tables.masks import hide_masked, select_masks
from photoz.tables.types import decode_values, is_nested, unify_schemas

_FOOTERS_AT_ONCE = 8
"""Files that are asked at one time for their schema: a store takes some 50 ms for each, whoever waits."""


@dataclass(frozen=True)
class TablePart:
    """A piece of a table that one worker reads on its own.

    Parameters
    ----------
    location : str
        Of the file.
    start, stop : int, optional
        What of the file: row groups of Parquet, rows of FITS, from ``start`` and up to, without, ``stop``. None: to the
        end.
    num_rows : int, optional
        None where only reading it would tell.
    keys : tuple of (str, str or None)
        Columns that the folders name and the file need not hold: hive's ``key=value``.
    pixel : (int, int), optional
        Order and number (NESTED) of the HEALPix pixel whose sources these are, in a HATS catalogue.
    """

    location: str
    start: int = 0
    stop: int | None = None
    num_rows: int | None = None
    keys: tuple[tuple[str, str | None], ...] = ()
    pixel: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """For logs: the file, and which of its pieces."""
        piece = f" from {self.start}" if self.start or self.stop is not None else ""
        return f"{self.location}{piece}"


@dataclass(frozen=True, eq=False)
class Contents:
    """What a reader finds in one file without reading its rows."""

    schema: pa.Schema
    num_rows: int | None
    parts: tuple[TablePart, ...]
    frames: Mapping[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """How one format is read; small, and sent to workers with the table."""

    def describe(self, location: str) -> Contents:
        """Tell what is in a file."""
        ...

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Read those of the schema's columns that the file has, in types that cast to the schema's."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """A table that was opened and not yet read.

    Parameters
    ----------
    location : str
        As it was named.
    schema : pyarrow.Schema
        All columns of all files; where files differ in the type of a column, the type that holds the values of both.
        Text, numbers and dates have plain types (`photoz.tables.types.simplify_type`); the unit that a file states of a
        column stands in its field's metadata as ``unit``. Nested columns are listed and cannot be read.
    num_rows : int or None
        None where only reading it would tell.
    parts : sequence of TablePart
        Each row is in exactly one of them.
    reader : Reader
        Of the format.
    properties : mapping of str to str
        Of a HATS catalogue, ``hats.properties``; empty elsewhere.
    frames : mapping of str to str
        Column -> the frame of the position in it, where a file says that it is another than ICRS
        (`photoz.survey.systems`); "" stands for all columns.
    """

    location: str
    schema: pa.Schema
    num_rows: int | None
    parts: tuple[TablePart, ...]
    reader: Reader = field(repr=False)
    properties: Mapping[str, str] = field(default_factory=dict)
    frames: Mapping[str, str] = field(default_factory=dict)

    def read(self, part: TablePart, columns: Sequence[str], rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Read some columns of a part, batch by batch; what is held at one time does not grow with the part.

        Parameters
        ----------
        part : TablePart
            One of ``parts``.
        columns : sequence of str
            No other column is decoded; of a column-oriented file none is read.
        rows : int
            At most so many in a batch.

        Yields
        ------
        pyarrow.RecordBatch
            The columns as asked for, in the types of ``schema``; null in a file that lacks one, and where a mask beside
            the column says so (`photoz.tables.masks`).

        Raises
        ------
        TableError
            There is no such column, it is nested or there are two of the name, or the file is missing or damaged.
        """
        # Before the file is opened, so that a wrong name is told as such and not as a file that cannot be read.
        schema = self.select([*columns, *select_masks(columns, self.schema)])
        # Around the whole loop: a reader opens its file only when the first batch is asked for, and may find damage in
        # any.
        with refuse_unreadable(part.location):
            for batch in self.reader.read(part, schema, rows):
                yield hide_masked(_conform(batch, schema, part), columns)

    def select(self, columns: Iterable[str]) -> pa.Schema:
        """Return the schema of some columns; raises as `read`."""
        # Once each, or a batch would hold two of the name.
        return pa.schema([self._find(name) for name in dict.fromkeys(columns)])

    def _find(self, name: str) -> pa.Field:
        places = self.schema.get_all_field_indices(name)
        if not places:
            # Three at most: tables have hundreds of columns, of which one band's resemble another's.
            near = ", ".join(get_close_matches(name, self.schema.names, 3, 0.6)) or "none"
            raise TableError(f"{self.location} has no column {name!r}; nearest: {near}")
        # Which of them is meant nobody can tell; a table that has such a pair is read all the same while neither is
        # asked for.
        if len(places) > 1:
            raise TableError(f"{self.location} has {len(places)} columns of the name {name!r}: rename all but one")
        found = self.schema.field(places[0])
        # It stands in the schema, so that whoever asks for it is told why it cannot be had, not that it is not there.
        if is_nested(found.type):
            raise TableError(
                f"{self.location}: column {name} is nested ({found.type}): only one value a row can be read"
            )
        return found


def open_files(location: str, files: Sequence[str], reader: Reader) -> Table:
    """Open files of one format as one table.

    Parameters
    ----------
    location : str
        As it was named, for messages.
    files : sequence of str
    reader : Reader

    Raises
    ------
    TableError
        A file is missing, damaged or without columns, or files hold a column in types that have nothing in common.
    """

    def describe(file: str) -> Contents:
        with refuse_unreadable(file):
            contents = reader.describe(file)
        # Such as a header that was cut off before its first column: rows are counted and named by columns.
        if not len(contents.schema):
            raise TableError(f"{file!r} has no columns: fetch it again, or write it with its rows")
        return contents

    if len(files) == 1:
        found = [describe(files[0])]
    else:
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
            found = list(threads.map(describe, files))
    counts = [each.num_rows for each in found]
    # One file that does not tell leaves the number unknown: a sum of the others would pass for that of the table.
    known = [count for count in counts if count is not None]
    schema = unify_schemas((file, each.schema) for file, each in zip(files, found, strict=True))
    # In the order of the files, so that a table has the same parts whenever it is opened.
    parts = tuple(part for each in found for part in each.parts)
    frames = {column: frame for each in found for column, frame in each.frames.items()}
    return Table(location, schema, sum(known) if len(known) == len(counts) else None, parts, reader, frames=frames)


@contextmanager
def refuse_unreadable(location: str) -> Iterator[None]:
    """Say of a table's file that cannot be read which it is; a store that does not answer, or forbids, passes.

    Raises
    ------
    TableError
    """
    try:
        yield
    # Before OSError, of which it is one: a wrong location has another remedy than a damaged file.
    except FileNotFoundError as error:
        raise TableError(f"there is no table at {location!r}: correct the location") from error
    # ArrowInvalid and its like are ValueErrors; zlib's own errors and EOFError come from damaged gzip files, csv's of
    # lines that are none.
    except (OSError, ValueError, EOFError, OverflowError, zlib.error, csv.Error, pa.ArrowException) as error:
        # Engines try again what did not answer; a file that is forbidden may well be whole.
        if is_store_trouble(error) or isinstance(error, PermissionError):
            raise
        raise TableError(f"{location!r} cannot be read ({error}): is it what its name says, and whole?") from error


def _conform(batch: pa.RecordBatch, schema: pa.Schema, part: TablePart) -> pa.RecordBatch:
    """Bring a batch into the schema: columns in its order and types, null where the file has none."""
    names = batch.schema.names
    arrays = [
        _cast(batch.column(names.index(each.name)), each, part)
        if each.name in names
        else pa.nulls(len(batch), each.type)
        for each in schema
    ]
    # Made of no arrays a batch would have no rows, and callers that ask for no column count by it.
    return pa.RecordBatch.from_arrays(arrays, schema=schema) if arrays else batch.select([])


def _cast(array: pa.Array, wanted: pa.Field, part: TablePart) -> pa.Array:
    array = decode_values(array)
    if isinstance(array, pa.ExtensionArray):
        array = decode_values(array.storage)
    try:
        # Safe, as Arrow casts by default: a value that does not fit is refused below and not rounded or cut.
        array = array if array.type == wanted.type else array.cast(wanted.type)
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{part.location}: column {wanted.name} holds {array.type}, and a value of it is no {wanted.type}, its "
            f"type in the whole table ({error})"
        ) from error
    # Of a damaged file Arrow hands text on that is none, and whoever asked for it next would stumble.
    if pa.types.is_string(array.type):
        array.validate(full=True)
    return array
