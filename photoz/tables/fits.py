"""FITS tables, streamed: rows are read as bytes, a slice at a time, and of those the columns that are asked for.

astropy parses the headers. The rows are decoded here, since through astropy a table that lies in a store, or is packed
by gzip, is read whole.

References
----------
.. [1] FITS Standard 4.0 (2016), sections 7.2 (ASCII tables), 7.3 (binary tables) and 10.3 (compressed tables),
   https://fits.gsfc.nasa.gov/fits_standard.html
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from astropy.io.fits import Header
from astropy.io.fits.verify import VerifyError

from photoz.errors import TableError
from photoz.storage import find_filesystem
from photoz.survey.fits import (
    STALE_REMEDY,
    fold_carries,
    holds_sources,
    is_table,
    name_unit,
    parse_datasum,
    quiet_astropy,
    sum_words,
    tell_alike,
)
from photoz.survey.systems import read_frame
from photoz.tables.base import Contents, TablePart
from photoz.tables.fitscolumns import Column, decode_ascii, decode_binary, list_ascii_columns, list_columns
from photoz.tables.fitspacked import PackedTable
from photoz.tables.text import open_unpacked

logger = logging.getLogger(__name__)

_BLOCK = 2880
_HEADER_BLOCKS = 2000
"""No header has more blocks of 36 cards: beyond them bytes are being read that are no header."""
_PART_BYTES = 256 << 20
"""A part has so many bytes of rows; a table of one part is held against DATASUM while it is read."""
_SLICE_BYTES = 32 << 20
"""At most so many bytes of rows are decoded at one time."""
_MEANINGLESS = (VerifyError, KeyError, TypeError, ValueError, OverflowError)
"""A header may lack cards that every table has, or hold text or huge numbers where whole numbers are due."""


@dataclass(frozen=True, eq=False)
class Unit:
    """A header and data unit of a file.

    Parameters
    ----------
    index : int
        Its number in the file.
    header : astropy.io.fits.Header
    start, size : int
        [byte] where its data begin, and how many they are, without what fills up the last block.
    header_sum : int
        Of its header's words, for CHECKSUM.
    """

    index: int
    header: Header
    start: int
    size: int
    header_sum: int

    @property
    def name(self) -> str:
        """EXTNAME, "" where there is none."""
        return name_unit(self.header)


@dataclass(frozen=True)
class FitsReader:
    """Reads one table of FITS files, packed by gzip or not.

    Parameters
    ----------
    hdu : str
        Its number or name (EXTNAME); "": the first that holds sources.
    """

    hdu: str = ""

    def describe(self, location: str) -> Contents:
        """Read the headers up to the table's."""
        with open_unpacked(location) as file, _refuse_damaged(location):
            unit = find_table(file, self.hdu, location)
            # Whoever was to begin in the middle of a packed file would unpack it from its beginning.
            splits = not _is_packed(file)
            _check_length(unit, file, location)
            columns = _list_columns(unit, location)
            # To the end of a packed file one comes by unpacking it: `read` looks there, when it has read the rows.
            if not self.hdu and splits:
                _look_at_others(file, unit, location)
            rows, width = _count(unit)
            frame = read_frame(unit.header)
            frames = {"": frame} if frame else {}
        schema = pa.schema([column.field for column in columns])
        # A row may be wider than a part, and that of a table without columns has no bytes.
        step = max(_PART_BYTES // max(width, 1), 1)
        if PackedTable.is_packed(unit.header):
            # Whole tiles to a part: one on a border would be unpacked by both sides.
            tile = PackedTable(unit.header, unit.start, location).tile_rows
            step = max(step // tile, 1) * tile
        if not splits or rows <= step:
            return Contents(schema, rows, (TablePart(location, 0, None, rows),), frames)
        parts = (TablePart(location, a, min(a + step, rows), min(step, rows - a)) for a in range(0, rows, step))
        return Contents(schema, rows, tuple(parts), frames)

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Read a range of rows, slice by slice."""
        # A card is parsed when somebody asks for it, as for DATASUM when the rows are read.
        with open_unpacked(part.location) as file, _refuse_damaged(part.location, (VerifyError,)):
            with _refuse_damaged(part.location):
                # The header alone within the block: what is wrong with the rows has messages of its own.
                unit = find_table(file, self.hdu, part.location)
                columns = _list_columns(unit, part.location)
            wanted = [column for column in columns if column.field.name in schema.names]
            if PackedTable.is_packed(unit.header):
                yield from _read_packed(file, unit, wanted, part, rows)
            else:
                yield from _read_plain(file, unit, wanted, part, rows)
            if not self.hdu and _is_packed(file):
                _look_at_others(file, unit, part.location)


def find_table(file: IO[bytes], hdu: str, location: str) -> Unit:
    """Find a table by the number or the name of its unit, or the first that holds sources.

    Raises
    ------
    TableError
        There is none, or the file ends within a header.
    """
    units: list[Unit] = []
    for unit in _walk(file, location):
        units.append(unit)
        if _is_named(unit, hdu) and is_table(unit.header) if hdu else holds_sources(unit.header):
            return unit
    there = ", ".join(
        f"{unit.index} ({unit.name or 'no name'}{'' if is_table(unit.header) else ', no table'})" for unit in units
    )
    wanted = f"no table {hdu!r}" if hdu else "no table of sources"
    raise TableError(f"{location!r} holds {wanted}; its units are {there}: name one by its number or name")


@contextmanager
def _refuse_damaged(location: str, kinds: tuple[type[Exception], ...] = _MEANINGLESS) -> Iterator[None]:
    """Say of a file whose header makes no sense which it is; what else is wrong passes."""
    try:
        yield
    except kinds as error:
        raise TableError(f"{location!r} is damaged: its header makes no sense ({error}); fetch it again") from error


def _look_at_others(file: IO[bytes], unit: Unit, location: str) -> None:
    """Refuse a file of which a later table has the same columns, as one a detector has; tell of others.

    Raises
    ------
    TableError
    """
    others: list[Unit] = []
    # What is damaged behind a table that is sound costs nobody that table.
    with suppress(TableError, ValueError, VerifyError):
        others.extend(each for each in _walk(file, location) if each.index > unit.index and holds_sources(each.header))
    alike = tell_alike(unit.index, unit.header, ((each.index, each.header) for each in others))
    if alike:
        raise TableError(
            f'{location!r} {alike}, or name the one that is meant: hdu = "{unit.index}" in the survey\'s file'
        )
    if others:
        logger.warning(
            "%s: table %d (%s) is read; there are others, %s, one of which hdu may name in the survey's file",
            location, unit.index, unit.name or "no name",
            ", ".join(f"{each.index} ({each.name or 'no name'})" for each in others),
        )  # fmt: skip


def _is_named(unit: Unit, hdu: str) -> bool:
    return hdu.strip() == str(unit.index) or hdu.strip().upper() == unit.name.upper()


def _walk(file: IO[bytes], location: str) -> Iterator[Unit]:
    place, index = 0, 0
    while True:
        file.seek(place)
        header = _read_header(file, index, location)
        if header is None:
            return
        cards, content = header
        start = place + len(content)
        unit = Unit(index, cards, start, _count_bytes(cards), sum_words(content))
        # What a damaged header says must not lead backwards, and so round for ever.
        if unit.size < 0:
            raise ValueError(f"unit {index} has {unit.size} bytes")
        yield unit
        # Data fill up their last block, as headers do.
        place = start + -(-unit.size // _BLOCK) * _BLOCK
        index += 1


def _read_header(file: IO[bytes], index: int, location: str) -> tuple[Header, bytes] | None:
    """Read one header; returns it parsed and as it lies there, None at the end of the file."""
    blocks: list[bytes] = []
    while len(blocks) < _HEADER_BLOCKS:
        block = _read_all(file, _BLOCK)
        # What follows the last unit and is no header is padding, or nothing that the standard knows.
        if not blocks and not block.startswith(b"XTENSION" if index else b"SIMPLE"):
            if index:
                return None
            raise TableError(f"{location!r} is no FITS file: it does not begin with SIMPLE")
        # The file ends within a header, which is told below like a header that goes on for ever.
        if len(block) < _BLOCK:
            break
        blocks.append(block)
        if any(block[i : i + 8] == b"END     " for i in range(0, _BLOCK, 80)):
            with quiet_astropy():
                return Header.fromstring(b"".join(blocks)), b"".join(blocks)
    raise TableError(f"{location!r} is truncated or damaged: the header of unit {index} has no end; fetch it again")


def _read_all(file: IO[bytes], size: int) -> bytes:
    """Read so many bytes, less only at the end of the file: stores and gzip may give fewer at a time."""
    parts: list[bytes] = []
    # Some at a time: what a damaged header promises may be more than any machine has.
    while size > 0 and (block := file.read(min(size, _SLICE_BYTES))):
        parts.append(block)
        size -= len(block)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _count_bytes(header: Header) -> int:
    axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header.get("NAXIS", 0)))]
    # Random groups, an image of the past, begin with an axis of 0.
    if header.get("GROUPS", False) and axes and axes[0] == 0:
        axes = axes[1:]
    if not axes:
        return 0
    # Python's own whole numbers: the axes of a damaged header may have a product that 64 bits hold as a negative one.
    values = int(header.get("PCOUNT", 0)) + int(np.prod(axes, dtype=object))
    # BITPIX is negative for floats.
    return abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * values


def _count(unit: Unit) -> tuple[int, int]:
    """Return the rows of a table and the bytes of one, packed or not."""
    names = ("ZNAXIS2", "ZNAXIS1") if PackedTable.is_packed(unit.header) else ("NAXIS2", "NAXIS1")
    rows, width = (int(unit.header[name]) for name in names)
    return rows, width


def _is_packed(file: Any) -> bool:
    return hasattr(file, "fileobj")  # gzip's


def _check_length(unit: Unit, file: IO[bytes], location: str) -> None:
    """Refuse a file that ends before its table does; what gzip packs has no length before it is read."""
    if _is_packed(file):
        return
    filesystem, path = find_filesystem(location)
    size, end = int(filesystem.size(path) or 0), unit.start + unit.size
    if size < end:
        raise TableError(f"{location!r} is truncated: {size} bytes, and its header promises {end}; fetch it again")


def _list_columns(unit: Unit, location: str) -> list[Column]:
    is_ascii = str(unit.header["XTENSION"]).strip() == "TABLE"
    return list_ascii_columns(unit.header, location) if is_ascii else list_columns(unit.header, location)


def _read_plain(
    file: IO[bytes], unit: Unit, columns: list[Column], part: TablePart, rows: int
) -> Iterator[pa.RecordBatch]:
    total, width = _count(unit)
    stop = total if part.stop is None else min(part.stop, total)
    is_ascii = str(unit.header["XTENSION"]).strip() == "TABLE"
    step = max(min(rows, _SLICE_BYTES // max(width, 1)), 1)
    # DATASUM is of the whole table: of a part of it no sum says anything.
    digest = _Digest(unit, part) if part.start == 0 and stop == total else None
    file.seek(unit.start + part.start * width)
    for first in range(part.start, stop, step):
        count = min(step, stop - first)
        data = _read_all(file, count * width)
        if len(data) < count * width:
            raise TableError(
                f"{part.location!r} is truncated: it ends in row {first + len(data) // max(width, 1)} of {total}"
            )
        if digest:
            digest.update(data)
        rows_NB = np.frombuffer(data, np.uint8).reshape(count, width)
        decode = decode_ascii if is_ascii else decode_binary
        yield _make_batch([(column, decode(rows_NB, column, part.location)) for column in columns], count)
    # The rows are with the caller by now: a sum that does not fit is raised when it asks for more, as a loop does.
    if digest:
        digest.finish(file)


def _read_packed(
    file: IO[bytes], unit: Unit, columns: list[Column], part: TablePart, rows: int
) -> Iterator[pa.RecordBatch]:
    table = PackedTable(unit.header, unit.start, part.location)
    total, _ = _count(unit)
    stop = total if part.stop is None else min(part.stop, total)
    # Parts begin where tiles do, as they were cut so.
    for tile in range(part.start // table.tile_rows, -(-stop // table.tile_rows)):
        count = min(table.tile_rows, total - tile * table.tile_rows)
        decoded = [
            # Alone: unpacked, a column lies by itself and not where it would in a row.
            (column, decode_binary(table.read_column(file, tile, column, count), column.alone(), part.location))
            for column in columns
        ]
        batch = _make_batch(decoded, count)
        yield from (batch.slice(start, rows) for start in range(0, count, rows))


def _make_batch(columns: list[tuple[Column, pa.Array]], count: int) -> pa.RecordBatch:
    if not columns:
        # A batch of no columns counts no rows; base leaves the column out again.
        return pa.RecordBatch.from_arrays([pa.nulls(count)], names=["\0rows"])
    return pa.RecordBatch.from_arrays([array for _, array in columns], schema=pa.schema([c.field for c, _ in columns]))


class _Digest:
    """Holds a whole table's bytes against its DATASUM and CHECKSUM, where its header states them."""

    def __init__(self, unit: Unit, part: TablePart) -> None:
        self._location, self._size = part.location, unit.size
        self._heap = bool(unit.header.get("PCOUNT"))
        self._stated = parse_datasum(unit.header.get("DATASUM"), part.location)
        # With no sum of the data CHECKSUM is not looked at, as the reader of KiDS' catalogues does.
        self._checksum = unit.header.get("CHECKSUM") not in (None, "")
        self._header_sum = unit.header_sum
        self._taken = self._sum = 0

    def update(self, data: bytes) -> None:
        if self._stated is not None:
            self._sum += sum_words(data, self._taken)
            self._taken += len(data)

    def finish(self, file: IO[bytes]) -> None:
        if self._stated is None:
            return
        # The heap of the columns of lists follows the rows.
        while self._taken < self._size and (data := _read_all(file, min(self._size - self._taken, _SLICE_BYTES))):
            self.update(data)
        found = fold_carries(self._sum)
        if found != self._stated:
            # astropy's fault, until 7.2: it left out what fills the heap up.
            lists = ", or remove DATASUM and CHECKSUM if astropy before 7.2 has written its columns of lists"
            raise TableError(
                f"{self._location!r} is corrupt: DATASUM is {self._stated} and its data sum to {found}; fetch it again"
                f"{lists if self._heap else ''}"
            )
        # All ones or, the same number, zero.
        if self._checksum and fold_carries(self._header_sum + found) not in (0, 0xFFFFFFFF):
            raise TableError(
                f"{self._location!r} is corrupt: the header of its table does not fit CHECKSUM; {STALE_REMEDY}"
            )
