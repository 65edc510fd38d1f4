"""The catalogue as a FITS binary table, written row by row: nothing but a slice of a partition is held.

References
----------
FITS Standard 4.0 (2018), 7.3: binary tables; text is ASCII, numbers are big-endian and signed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.io import fits

from photoz.catalogue.quantiles import unpack_codes
from photoz.errors import CatalogueError
from photoz.export.rows import Extent, Selection, is_text, measure_rows
from photoz.pdf import decode_quantiles
from photoz.schema import LEVELS

_BLOCK = 2880  # bytes: what a FITS file is a multiple of
_ROWS = 65_536  # at one time
_CODES = {"i1": "I", "u1": "B", "i2": "I", "u2": "J", "i4": "J", "u4": "K", "i8": "K", "u8": "K", "f4": "E", "f8": "D"}
_STORED = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "L": "S1"}
_NULLS = {"B": 255, "I": -(2**15), "J": -(2**31), "K": -(2**63)}


@dataclass(frozen=True)
class _Column:
    """A column of the table: its name, FITS' format and unit, numpy's type and shape of a value, and what a null is."""

    name: str
    format: str
    unit: str
    comment: str
    dtype: Any
    shape: tuple[int, ...] = ()
    null: int | None = None


def write_fits(selection: Selection, file: IO[bytes]) -> int:
    """Write a FITS file whose first extension is the table.

    Stored quantiles become a column of vectors: redshifts, float32, NaN where there are none. An identifier whose every
    value is a whole number is written as a 64-bit integer, other text as ASCII.

    Parameters
    ----------
    selection : Selection
    file : binary file
        Written from beginning to end.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    CatalogueError
        Text is not ASCII, or a column is of a type that FITS has not.
    """
    extent = measure_rows(selection)
    columns = [_describe(each, selection.quantiles, extent) for each in selection.schema]
    file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
    file.write(_make_header(columns, extent.rows))
    written = size = 0
    for rows in _pack(selection, columns):
        written, size = written + len(rows), size + rows.nbytes
        file.write(rows.tobytes())
    if written != extent.rows:
        raise CatalogueError(f"{selection.catalogue} changed while it was read: {written} rows after {extent.rows}")
    file.write(b"\0" * (-size % _BLOCK))
    return written


def _describe(each: pa.Field, quantiles: str, extent: Extent) -> _Column:
    metadata = {key.decode(): value.decode() for key, value in (each.metadata or {}).items()}
    # FITS has no unit that names its zero point.
    unit, comment = metadata.get("unit", "").removesuffix("(AB)"), metadata.get("description", "")
    if each.name == quantiles:
        # As redshifts: who opens a table by hand knows no steps of 1e-4, nor that 65535 is none of them.
        comment = comment.partition(";")[0]
        return _Column(each.name, f"{len(LEVELS)}E", "", comment, ">f4", (len(LEVELS),))
    if is_text(each.type) and each.name not in extent.whole:
        width = extent.widths[each.name]
        return _Column(each.name, f"{width}A", unit, comment, f"S{width}")
    if pa.types.is_boolean(each.type):
        return _Column(each.name, "L", unit, comment, "S1")
    code = "K" if is_text(each.type) else _find_code(each)
    null = _NULLS.get(code) if each.name in extent.with_null else None
    return _Column(each.name, code, unit, comment, _STORED[code], null=null)


def _find_code(each: pa.Field) -> str:
    try:
        return _CODES[np.dtype(each.type.to_pandas_dtype()).str[1:]]
    except (KeyError, TypeError, NotImplementedError) as error:
        raise CatalogueError(
            f"column {each.name} is of the type {each.type}, which FITS has not: leave it out of export.columns, or "
            "export to Parquet"
        ) from error


def _make_header(columns: list[_Column], rows: int) -> bytes:
    described = [fits.Column(each.name, each.format, unit=each.unit or None, null=each.null) for each in columns]
    # Without rows, and then of as many as there will be: astropy would make them all.
    header = fits.BinTableHDU.from_columns(fits.ColDefs(described), nrows=0, name="PHOTOZ").header
    header["NAXIS2"] = rows
    for number, each in enumerate(columns, 1):
        # As TOPCAT and STILTS read what a column is.
        header.set(f"TCOMM{number}", each.comment, after=f"TFORM{number}")
    content: bytes = header.tostring().encode("ascii")
    return content


def _pack(selection: Selection, columns: list[_Column]) -> Iterator[np.ndarray]:
    """Make the rows as they stand in the file, some at a time."""
    kind = np.dtype([(each.name, each.dtype, each.shape) for each in columns])
    for table in selection.read():
        for start in range(0, len(table), _ROWS):
            part = table.slice(start, _ROWS)
            rows = np.zeros(len(part), kind)
            for each in columns:
                rows[each.name] = _convert(part[each.name], each)
            yield rows


def _convert(column: pa.ChunkedArray, each: _Column) -> Any:
    if each.shape:
        return decode_quantiles(unpack_codes(column))
    if each.format == "L":
        return np.where(pc.fill_null(column, False).to_numpy(), b"T", b"F")
    if each.format.endswith("A"):
        return _encode(column, each)
    if is_text(column.type):
        return column.cast(pa.int64()).to_numpy()
    try:
        # Of 8 bytes and no sign, those that have a place among the signed ones.
        values = column.cast(pa.int64()) if pa.types.is_uint64(column.type) else column
    except pa.ArrowInvalid as error:
        raise CatalogueError(f"column {each.name} has numbers above 2^63, which FITS has not: {error}") from error
    return (values if each.null is None else pc.fill_null(values.cast(pa.int64()), each.null)).to_numpy()


def _encode(column: pa.ChunkedArray, each: _Column) -> np.ndarray:
    try:
        return np.array(pc.fill_null(column, "").to_pylist(), dtype=each.dtype)
    except UnicodeEncodeError as error:
        raise CatalogueError(
            f"column {each.name} holds {error.object!r}, and FITS no letters but ASCII's: leave it out of "
            "export.columns, or export to Parquet"
        ) from error
