"""CSV and ECSV, streamed: columns get their types from ECSV's header, or from the first rows of a CSV file."""

import csv
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from photoz.errors import TableError
from photoz.storage import open_file
from photoz.tables.base import Contents, Table, TablePart
from photoz.tables.types import make_column

_HEAD_BYTES = 4 << 20
"""How much of a file's beginning tells the types of its columns; it is also what is decoded at one time."""
_HEADER_BYTES = 1 << 20
"""No header is longer: ECSV's says some 100 bytes of each column."""
NO_VALUE = ("", "nan", "NaN", "NAN", "null", "NULL", "Null", "None", "NA", "N/A", "n/a", "--", "-", "\\N")
"""What stands for no value where a number is due; blanks around it do not count. For text only nothing does."""
_MOST_BLANKS = 32
"""About a word that stands for no value, as in columns that are aligned."""
_DELIMITERS = (",", "\t", ";", "|")
# Digits as a program writes a number: what else looks like one, 0012, is a name.
_WHOLE = r"^-?(0|[1-9][0-9]*)$"
_FOREIGN = re.compile(rb"[.][0-9]*[dD][+-]?[0-9]")
"""Numbers as Arrow does not read them: 1.25D+01, as Fortran writes them."""
_FORTRAN = r"^([+-]?[0-9]*[.][0-9]*)[dD]([+-]?[0-9]+)$"
_ECSV_TYPES = {
    "bool": pa.bool_(),
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": pa.float64() for bits in (64, 128)},
    **{f"float{bits}": pa.float32() for bits in (16, 32)},
    "string": pa.string(),
}


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out.

    Parameters
    ----------
    names : tuple of str
    delimiter : str
    skip : int
        Lines before the first row.
    ecsv : pyarrow.Schema, optional
        What an ECSV header says of the columns.
    """

    names: tuple[str, ...]
    delimiter: str
    skip: int
    ecsv: pa.Schema | None = None


@dataclass(frozen=True)
class TextReader:
    """Reads CSV and ECSV files, packed by gzip or not.

    Parameters
    ----------
    text : tuple of str
        Columns that are text whatever their values look like: identifiers, whose leading zeros count.
    """

    text: tuple[str, ...] = ()

    def describe(self, location: str) -> Contents:
        """Read a file's head; the number of rows only reading it tells."""
        with open_unpacked(location) as file:
            head = file.read(_HEAD_BYTES)
        layout = read_layout(head, location)
        schema = layout.ecsv or _infer_schema(head, layout, self.text, location)
        return Contents(schema, None, (TablePart(location),))

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Stream a file's rows."""
        with open_unpacked(part.location) as file:
            # Of the header alone: the types, for which `describe` reads more, stand in the schema by now.
            head = file.read(_HEADER_BYTES)
        layout, foreign = read_layout(head, part.location), _FOREIGN.search(head) is not None
        # Blanks that align columns, or follow a comma, are none of an identifier's; within quotes they are.
        trims = b'"' not in head
        there = [each for each in schema if each.name in layout.names]
        if not there:
            # Rows are counted by a column, whichever.
            there = [pa.field(layout.names[0], pa.string())]
        # Whole numbers as text first: Arrow takes 0012 for 12.
        by_hand = {
            each.name: pa.types.is_integer(each.type) or (foreign and pa.types.is_floating(each.type)) for each in there
        }
        kinds = {each.name: pa.string() if by_hand[each.name] else each.type for each in there}
        with open_unpacked(part.location) as file, _open_rows(file, layout, kinds) as reader:
            for batch in reader:
                arrays = [_read_column(_trim(batch.column(each.name), trims), each, part.location) for each in there]
                whole = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(there))
                # Arrow's batches have the rows of a block of the file, which may be more than are asked for.
                yield from (whole.slice(start, rows) for start in range(0, len(whole), rows))


def read_as_numbers(table: Table, columns: Sequence[str]) -> Table:
    """Return a table of whose columns some are doubles, where their first rows in a CSV file are whole numbers.

    Magnitudes may begin with 23 and go on with 22.98, beyond what is looked at to tell the types. Other formats say
    themselves what a column holds, and are left as they are.
    """
    if not isinstance(table.reader, TextReader):
        return table
    fields = [
        each.with_type(pa.float64()) if each.name in columns and pa.types.is_integer(each.type) else each
        for each in table.schema
    ]
    return replace(table, schema=pa.schema(fields))


def quote_text(values: pa.Array) -> str:
    """Say of a column of text which value is no number, for the message that refuses it; "" of other columns.

    >>> quote_text(pa.array(["21.5", "nan", ">24.1"])), quote_text(pa.array(["21.5"]))
    (" ('>24.1' is none)", ' (they are written as text)')
    """
    if not pa.types.is_string(values.type):
        return ""
    values = pc.drop_null(_remove_no_values(values))
    # Of no rows nobody knows.
    if not len(values):
        return ""
    odd = next((text for text in values.to_pylist() if not _is_number(text)), None)
    return " (they are written as text)" if odd is None else f" ({odd!r} is none)"


@contextmanager
def open_unpacked(location: str) -> Iterator[IO[bytes]]:
    """Open a file for reading front to back, unpacked where it is packed by gzip."""
    with open_file(location) as file:
        # By its bytes and not its name, as `find_format` tells what is packed.
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file


def read_layout(head: bytes, location: str) -> Layout:
    """Find names, delimiter and first row in the beginning of a file.

    Names stand in the first line that is no comment or, where that holds numbers already, in the last comment before
    it, as HSC's database and NumPy write them.

    Raises
    ------
    TableError
        It holds no rows, no names, or is no text.
    """
    try:
        # Of a last character that the end of what was read cuts in two, a part may stand there.
        lines = head[: head.rfind(b"\n") + 1 or None].decode("utf-8-sig").split("\n")
        # Not `splitlines`, which ends lines at characters that names may hold.
        lines = [line.rstrip("\r") for line in lines] if len(lines) > 1 else lines
    except UnicodeDecodeError as error:
        raise TableError(f"{location!r} is no text in UTF-8 ({error}): is it what its name says?") from error
    if len(lines) == 1 and "\r" in lines[0]:
        raise TableError(
            f"{location!r} ends its lines with a carriage return alone, as programs once did on a Macintosh: convert "
            "it, with mac2unix or tr '\\r' '\\n'"
        )
    comments = 0
    while comments < len(lines) and (not lines[comments].strip() or lines[comments].startswith("#")):
        comments += 1
    if lines and lines[0].startswith("# %ECSV"):
        return _read_ecsv_layout(lines, comments, location)
    first = lines[comments] if comments < len(lines) else ""
    above = next((line for line in reversed(lines[:comments]) if line.strip()), "")
    # A file without rows may have its names in a comment alone.
    delimiter = _choose_delimiter(first or above)
    names = _split(first, delimiter)
    if not first or any(_is_number(re.sub(_FORTRAN, r"\1e\2", name)) for name in names):
        names, fields = _split(above.lstrip("#").strip(), delimiter), len(names)
        if not above or (first and len(names) != fields):
            raise TableError(
                f"{location!r} has no line with the names of its columns before its rows: add one, the names in the "
                "order of the values"
            )
        return Layout(tuple(names), delimiter, comments)
    return Layout(tuple(names), delimiter, comments + 1)


def _read_ecsv_layout(lines: list[str], comments: int, location: str) -> Layout:
    # Here, since astropy's tables take time to import and a CSV file needs none of them.
    from astropy.table.meta import YamlParseError, get_header_from_yaml

    try:
        # Without the first line, which states the version of ECSV and is no YAML.
        header = get_header_from_yaml([line[2:] for line in lines[:comments] if line.startswith("# ")][1:])
        columns = [_make_ecsv_column(column) for column in header["datatype"]]
        delimiter = str(header.get("delimiter", " "))
        names = _split(lines[comments], delimiter) if comments < len(lines) else []
    # Of what is YAML and no header of a table, too.
    except (YamlParseError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise TableError(
            f"{location!r} is no valid ECSV: its header makes no sense ({error!r}); fetch it again"
        ) from error
    # Types and units go by place: a name that is lacking would give every later column its neighbour's.
    if names != [column.name for column in columns]:
        raise TableError(f"{location!r} is no valid ECSV: its header and its line of names do not fit")
    return Layout(tuple(names), delimiter, comments + 1, pa.schema(columns))


def _make_ecsv_column(column: Mapping[str, Any]) -> pa.Field:
    # A row of values that has no plain type, such as a list, is text of JSON: nested, and so listed and not read.
    nested = pa.list_(pa.float64())
    kind = nested if column.get("subtype") else _ECSV_TYPES.get(str(column["datatype"]), nested)
    return make_column(str(column["name"]), kind, str(column.get("unit") or ""))


def _choose_delimiter(line: str) -> str:
    counts = {mark: line.count(mark) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    # A table of one column has none of them, and one of blanks has many words.
    return best if counts[best] or " " not in line.lstrip("# ") else " "


def _split(line: str, delimiter: str) -> list[str]:
    # Not by `str.split`: a quoted name may hold the delimiter.
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # A column may be named after what Python takes for a number.
    return text.strip().lower() not in ("nan", "inf", "infinity")


def _infer_schema(head: bytes, layout: Layout, text: Sequence[str], location: str) -> pa.Schema:
    # Whole lines of it, or the last row would lack fields.
    head = head[: head.rfind(b"\n") + 1] if len(head) == _HEAD_BYTES else head
    # As text, in which leading zeros are seen; Arrow, left to infer, takes 0012 for a number.
    kinds = dict.fromkeys(_uniquify(layout.names), pa.string())
    with _open_rows(io.BytesIO(head), layout, kinds) as reader:
        table = reader.read_all()
    return pa.schema(
        [(name, pa.string() if name in text else _infer_type(table.column(i))) for i, name in enumerate(layout.names)]
    )


def _infer_type(column: pa.ChunkedArray) -> pa.DataType:
    values = pc.drop_null(_remove_no_values(column))
    if not len(values):
        # All are missing: as numbers they can be, as text nobody could tell.
        return pa.float64()
    if pc.all(pc.match_substring_regex(values, _WHOLE)).as_py():
        try:
            values.cast(pa.int64())
        except pa.ArrowInvalid:  # more digits than 64 bits hold
            return pa.string()
        return pa.int64()
    # Digits with zeros before them are a name.
    if pc.any(pc.match_substring_regex(values, r"^-?0[0-9]+$")).as_py():
        return pa.string()
    for kind in (pa.float64(), pa.bool_()):
        try:
            (_write_plain(values) if kind == pa.float64() else values).cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return pa.string()


def _write_plain(values: Any) -> Any:
    """Write numbers as Arrow reads them: with an e for Fortran's d."""
    return pc.replace_substring_regex(values, _FORTRAN, r"\1e\2")


def _remove_no_values(column: Any) -> Any:
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(trimmed, pa.array(NO_VALUE)), pa.scalar(None, pa.string()), trimmed)


@contextmanager
def _open_rows(file: IO[bytes], layout: Layout, kinds: dict[str, pa.DataType]) -> Iterator[Any]:
    for _ in islice(file, layout.skip):
        pass
    rest = file.read(1)
    if not rest:
        # Arrow refuses a file without rows.
        yield pa.RecordBatchReader.from_batches(pa.schema(list(kinds.items())), [])
        return
    named = _uniquify(layout.names)
    with pacsv.open_csv(
        _Prefixed(rest, file),
        pacsv.ReadOptions(column_names=named, block_size=_HEAD_BYTES),
        # A quoted value may hold an end of line, at which Arrow would otherwise begin a new block.
        pacsv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=_pass_over_comment),
        pacsv.ConvertOptions(
            column_types=kinds,
            include_columns=list(kinds),
            # Of numbers; text is null where nothing stands, of which identifiers are looked at later.
            null_values=_pad(NO_VALUE),
            strings_can_be_null=False,
            true_values=["true", "True", "TRUE", "t", "T", "1"],
            false_values=["false", "False", "FALSE", "f", "F", "0"],
        ),
    ) as reader:
        yield reader


def _pad(words: Sequence[str]) -> list[str]:
    """List words with blanks before or behind them, which Arrow takes for a part of what stands in a cell."""
    blanks = [" " * count for count in range(_MOST_BLANKS)]
    return list(dict.fromkeys(text for word in words for blank in blanks for text in (blank + word, word + blank)))


def _pass_over_comment(row: pacsv.InvalidRow) -> str:
    # Of rows that have not as many values as there are names; an identifier may begin with a #, too.
    is_comment = row.text.startswith("# ") or (row.text.startswith("#") and row.actual_columns == 1)
    return "skip" if is_comment else "error"


def _uniquify(names: Sequence[str]) -> list[str]:
    # Two of one name are refused where they are asked for; Arrow would refuse the file.
    return [name if names.index(name) == i else f"{name}\0{i}" for i, name in enumerate(names)]


class _Prefixed(io.RawIOBase):
    """A file with bytes that were read of it put back: a packed one cannot go back without beginning anew."""

    def __init__(self, before: bytes, file: IO[bytes]) -> None:
        self._before, self._file = before, file

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        before, self._before = self._before, b""
        if size is None or size < 0:
            return before + self._file.read()
        return before + self._file.read(size - len(before)) if size else before


def _trim(array: pa.Array, trims: bool) -> pa.Array:
    return pc.utf8_trim(array, " \t") if trims and pa.types.is_string(array.type) else array


def _read_column(array: pa.Array, wanted: pa.Field, location: str) -> pa.Array:
    """Turn text into what the schema says; whole numbers only where they are written as such."""
    if pa.types.is_string(wanted.type):
        # Nothing between two delimiters is nothing; all else is text.
        return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
    # Arrow has read it as the schema's type by then.
    if not pa.types.is_string(array.type):
        return array
    values = _remove_no_values(array)
    if pa.types.is_floating(wanted.type):
        plain = _write_plain(values)
        try:
            return plain.cast(wanted.type)
        except pa.ArrowInvalid as error:
            told = f"numbers in the first rows and later others{quote_text(plain)}"
            raise TableError(
                f"{location}: column {wanted.name} holds {told}: "
                "write its numbers alike, or nothing where there is none"
            ) from error
    odd = values.filter(pc.invert(pc.match_substring_regex(values, _WHOLE)))
    if len(odd):
        raise TableError(
            f"{location}: column {wanted.name} holds whole numbers in the first rows and {odd[0].as_py()!r} later: "
            "name it as text if it is an identifier, or write its numbers alike"
        )
    return values.cast(wanted.type)
