"""Columns of FITS tables: what their cards say, and their bytes as Arrow arrays.

References
----------
FITS Standard 4.0 (2016), sections 7.2 and 7.3; unsigned integers by TZERO: section 5.3 and table 19.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io.fits import Header

from photoz.errors import TableError
from photoz.tables.types import make_column

Bytes = npt.NDArray[np.uint8]

# Of P and Q the descriptor that lies in the row: the values themselves lie in the heap.
_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
# What NumPy reads as it is: the others are text, truth values, pairs or several values.
_PLAIN = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
_OFFSETS = {"B": -(2**7), "I": 2**15, "J": 2**31, "K": 2**63}
"""TZERO of integers of the other kind: signed bytes, and unsigned ones of 16, 32 and 64 bits."""
_SHIFTED = {"B": np.int8, "I": np.uint16, "J": np.uint32, "K": np.uint64}
_FORMAT = re.compile(r"\s*(\d*)\s*([LXBIJKAEDCMPQ])")
_ASCII_FORMAT = re.compile(r"\s*([AIFED])\s*(\d+)")
_ASCII_DIGITS = 18
"""Of so many characters any whole number fits 64 bits."""


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a FITS table.

    Parameters
    ----------
    field : pyarrow.Field
        Name, type and unit. A column of several values a row is a list, which is not decoded.
    code : str
        Letter of its TFORM.
    offset, width : int
        [byte] where in a row it begins, and how many it has.
    null : int, str or None
        TNULL: what stands for no value.
    scale, zero : float
        The value is zero + scale * what is stored.
    index : int
        From 1, as the cards count.
    """

    field: pa.Field
    code: str
    offset: int
    width: int
    null: Any = None
    scale: float = 1.0
    zero: float = 0.0
    index: int = 0

    @property
    def is_shifted(self) -> bool:
        """Whether TZERO only says that its integers have a sign, or none."""
        return self.scale == 1 and self.code in _OFFSETS and self.zero == _OFFSETS[self.code]

    def alone(self) -> "Column":
        """Return the column as one of rows that hold nothing else."""
        return replace(self, offset=0)


def list_columns(header: Header, location: str) -> list[Column]:
    """List the columns of a binary table, packed (ZTABLE) or not.

    Raises
    ------
    TableError
        A format is none of FITS's, or the formats do not add up to a row.
    """
    packed = bool(header.get("ZTABLE", False))
    columns: list[Column] = []
    offset = 0
    for i in range(1, int(header["TFIELDS"]) + 1):
        form = str(header.get(f"ZFORM{i}" if packed else f"TFORM{i}", ""))
        found = _FORMAT.match(form)
        if found is None:
            raise TableError(f"{location!r} is damaged: column {i} has the format {form!r}, which is none of FITS's")
        # The standard's default: a letter alone is one value.
        repeat, code = int(found[1] or 1), found[2]
        width = -(-repeat // 8) if code == "X" else repeat * _WIDTHS[code]
        column = Column(
            pa.field("", pa.null()),
            code,
            offset,
            width,
            header.get(f"TNULL{i}"),
            float(header.get(f"TSCAL{i}", 1.0)),
            float(header.get(f"TZERO{i}", 0.0)),
            i,
        )
        # A shape of one axis, (10), is that of one text of 10 letters.
        kind = _choose_type(column, repeat, "," in str(header.get(f"TDIM{i}", "")))
        columns.append(replace(column, field=_make_field(header, i, kind)))
        offset += width
    expected = int(header["ZNAXIS1" if packed else "NAXIS1"])
    # Every column behind the wrong one would be read from its neighbour's bytes, as numbers that may look plausible.
    if offset != expected:
        raise TableError(
            f"{location!r} is damaged: its columns add up to {offset} bytes a row, and NAXIS1 is {expected}"
        )
    # One that takes no bytes has no values.
    return [column for column in columns if column.width]


def list_ascii_columns(header: Header, location: str) -> list[Column]:
    """List the columns of an ASCII table; raises as `list_columns`."""
    columns = []
    for i in range(1, int(header["TFIELDS"]) + 1):
        found = _ASCII_FORMAT.match(str(header.get(f"TFORM{i}", "")))
        start = int(header.get(f"TBCOL{i}", 0)) - 1
        # No sum over the columns, as of binary tables: those of an ASCII table may have gaps between them.
        if found is None or start < 0 or start + int(found[2]) > int(header["NAXIS1"]):
            raise TableError(f"{location!r} is damaged: column {i} of its ASCII table has no valid TFORM and TBCOL")
        scale, zero = float(header.get(f"TSCAL{i}", 1.0)), float(header.get(f"TZERO{i}", 0.0))
        code, width = found[1], int(found[2])
        kind = pa.string() if code == "A" else pa.float64()
        if code == "I" and (scale, zero) == (1, 0):
            # Not float64, which would round identifiers of so many digits to one another.
            kind = pa.int64() if width <= _ASCII_DIGITS else pa.decimal128(38, 0)
        column = Column(_make_field(header, i, kind), code, start, width, header.get(f"TNULL{i}"), scale, zero, i)
        columns.append(column)
    return columns


def decode_binary(rows_NB: Bytes, column: Column, location: str) -> pa.Array:
    """Decode a column of a binary table.

    Parameters
    ----------
    rows_NB : ndarray of uint8, shape (N, bytes of a row)
    column : Column
    location : str
        For messages.

    Returns
    -------
    pyarrow.Array
        Null where the value is TNULL, or a logical one is neither T nor F. Text is without blanks at its end, which
        FITS pads with; NaN stays NaN.
    """
    # A view as another type needs the bytes of a value side by side, which a slice of rows does not give.
    cells_NB = np.ascontiguousarray(rows_NB[:, column.offset : column.offset + column.width])
    if column.code == "A":
        return _decode_text(cells_NB)
    if column.code in "LX":
        bytes_N = cells_NB[:, 0]
        if column.code == "X":
            # Bits count from the highest, so the only one is the first of its byte.
            return pa.array(bytes_N >> 7 == 1)
        return pa.array(bytes_N == ord("T"), mask=(bytes_N != ord("T")) & (bytes_N != ord("F")))
    if column.code not in _PLAIN:
        raise TableError(f"{location!r}: column {column.field.name} has several values a row")
    raw_N = cells_NB.view(_PLAIN[column.code])[:, 0]
    mask_N = None
    # Of whole numbers alone, as floats have NaN for it; and of what is stored, before scale and zero, as TNULL states
    # it.
    if column.null is not None and column.code in _OFFSETS:
        mask_N = raw_N == int(column.null)
    # FITS is big-endian, and Arrow takes no array in another byte order than the machine's.
    return pa.array(_scale(raw_N.astype(raw_N.dtype.newbyteorder("=")), column), mask=mask_N)


def decode_ascii(rows_NB: Bytes, column: Column, location: str) -> pa.Array:
    """Decode a column of an ASCII table; null where its field is TNULL or, for numbers, blank.

    Raises
    ------
    TableError
        A field is no number where one is due.
    """
    text = _decode_text(np.ascontiguousarray(rows_NB[:, column.offset : column.offset + column.width]))
    if column.null is not None:
        missing = pc.equal(pc.utf8_trim_whitespace(text), str(column.null).strip())
        text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
    if column.code == "A":
        return text
    text = pc.utf8_trim_whitespace(text)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    # Fortran writes the exponent of a double as D, and plus signs, which Arrow takes for no part of a number.
    text = pc.replace_substring_regex(pc.replace_substring_regex(text, "[dD]", "E"), r"^\+", "")
    try:
        values = text.cast(column.field.type)
    except pa.ArrowInvalid as error:
        raise TableError(f"{location!r}: column {column.field.name} holds what is no number ({error})") from error
    if (column.scale, column.zero) == (1, 0):
        return values
    return pc.add(pc.multiply(values, column.scale), column.zero)


def _make_field(header: Header, index: int, kind: pa.DataType) -> pa.Field:
    # astropy's name for a column without one, by which a survey's file can ask for it.
    name = str(header.get(f"TTYPE{index}", f"col{index}")).strip()
    return make_column(name, kind, str(header.get(f"TUNIT{index}", "")).strip())


def _choose_type(column: Column, repeat: int, has_shape: bool) -> pa.DataType:
    code = column.code
    if code == "A":
        # With a shape it is a list of texts.
        return pa.list_(pa.string()) if has_shape else pa.string()
    if code in "LX" and repeat == 1:
        return pa.bool_()
    if code not in _PLAIN or repeat != 1:
        return pa.list_(pa.float64())
    # Before scaling is looked at, of which a TZERO is a sign too: as float64 identifiers of 64 bits would be rounded.
    if column.is_shifted:
        return pa.from_numpy_dtype(_SHIFTED[code])
    if (column.scale, column.zero) != (1, 0):
        return pa.float64()
    return pa.from_numpy_dtype(np.dtype(_PLAIN[code]).newbyteorder("="))


def _scale(values_N: npt.NDArray[Any], column: Column) -> npt.NDArray[Any]:
    if column.is_shifted:
        # The highest bit turned over adds or takes half the range, exactly: as float64 it would round 64 bits.
        unsigned = np.dtype(f"u{values_N.dtype.itemsize}")
        half = unsigned.type(1 << (8 * unsigned.itemsize - 1))
        turned: npt.NDArray[Any] = np.bitwise_xor(values_N.view(unsigned), half).view(_SHIFTED[column.code])
        return turned
    if (column.scale, column.zero) == (1, 0):
        return values_N
    return values_N.astype(np.float64) * column.scale + column.zero


def _decode_text(cells_NB: Bytes) -> pa.Array:
    count, width = cells_NB.shape
    # As the bytes lie: Arrow keeps texts of one width so, and nothing is copied before the cast.
    cells = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), count, [None, pa.py_buffer(cells_NB)])
    try:
        text = cells.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        # FITS knows ASCII alone. What is neither that nor UTF-8 is most likely of Latin 1, which any bytes are.
        text = pa.array([bytes(cell).decode("latin-1") for cell in cells_NB])
    # Few texts have one, and looking for it by a pattern takes far longer than this look.
    if not cells_NB.all():
        # Text ends at its first NUL, whatever follows.
        text = pc.replace_substring_regex(text, r"(?s)\x00.*", "")
    return pc.utf8_rtrim(text, " ")
