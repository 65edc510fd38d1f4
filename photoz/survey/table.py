"""Read columns of a FITS table from any location, verified."""

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from photoz.content import hash_bytes
from photoz.errors import SurveyFileError
from photoz.storage import open_file
from photoz.survey.fits import (
    STALE_REMEDY,
    base_name,
    holds_sources,
    open_bytes,
    parse_datasum,
    parse_fits,
    quiet_astropy,
    refuse_damaged,
    refuse_missing,
    tell_alike,
    unpack,
)
from photoz.survey.systems import read_frame

NUMBERS, IDENTIFIERS = "biuf", "iufSU"
"""Kinds of NumPy's data types that columns of either may have."""
_BLOCK = 2880  # bytes; FITS pads to whole ones


@dataclass(frozen=True, eq=False)
class FitsTable:
    """Columns of a FITS table and the headers that came with them.

    Parameters
    ----------
    name : str
        File name.
    columns : dict of str to ndarray
        As asked for, native byte order; strings are str, without trailing blanks. Numbers of a text table (``TABLE``)
        are NaN where nothing stands.
    primary : astropy.io.fits.Header
        Primary header of the file.
    header : astropy.io.fits.Header
        Of the table.
    sha256 : str
        Of the file.
    units : dict of str to str
        Column -> its unit as the file spells it (TUNIT); "" where it states none.
    nulls : dict of str to ndarray of bool
        Column -> where its whole number is the one that stands for none (TNULL); the columns that have any.
    """

    name: str
    columns: dict[str, npt.NDArray[Any]]
    primary: fits.Header
    header: fits.Header
    sha256: str
    units: dict[str, str] = field(default_factory=dict)
    nulls: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def read_table(location: str, columns: dict[str, str]) -> FitsTable:
    """Read some columns of the first table of a FITS file; LDAC's header of the image is none.

    Parameters
    ----------
    location : str
        Path or URL. The file is read whole (a KiDS catalogue has 28 MB), unpacked where gzip has packed it, and
        verified against DATASUM and CHECKSUM.
    columns : dict of str to str
        Column name -> the setting that named it, for the error message.

    Raises
    ------
    SurveyFileError
        The file is missing, truncated or corrupt, holds no table, or lacks a column.
    """
    with refuse_missing(location), open_file(location) as file:
        # Once and whole: the SHA-256 is of all bytes, and a store is asked one time. Nothing is parsed before it is
        # here, so what is verified is what is read.
        data: bytes = file.read()
    name, sha256 = base_name(location), hash_bytes([data])
    data = unpack(data, name)
    size = len(data)
    # Some writers do not fill up the last block, without which astropy reads none of it.
    data += bytes(-size % _BLOCK)
    with parse_fits(io.BytesIO(data), location) as units, quiet_astropy():
        with refuse_damaged(f"{name} is no valid FITS table"):
            index = _find_table(units, name)
            unit = units[index]
            _refuse_alike(units, index, name)
            # Before the columns are asked for by name: a damaged header would blame the settings.
            _verify_unit(unit, size, name)
            require_columns(unit.columns.names, columns, name)
            # Before the values: astropy turns some into what they stand for where they lie.
            nulls = {column: found for column in columns if (found := _find_nulls(unit, column)).any()}
            # Copies, all of them: a view would keep the whole file in memory for a few columns.
            values = {column: _read_column(unit, column) for column in columns}
            values |= {
                column: np.where(nulls[column], np.nan, values[column]) for column in nulls if _is_float(values[column])
            }
            told = {column: str(unit.columns[column].unit or "") for column in columns}
            # For its refusal: astropy parses a card when it is asked for, which may be where nobody knows of this file.
            read_frame(unit.header)
        # KiDS has the zero-point offsets in the primary header and not in the table's.
        masks = {column: found for column, found in nulls.items() if not _is_float(values[column])}
        return FitsTable(name, values, units[0].header.copy(), unit.header.copy(), sha256, told, masks)


def list_columns(location: str) -> list[str]:
    """List the columns of the first table of a FITS file, reading headers only. Raises as `read_table`."""
    name = base_name(location)
    with (
        refuse_damaged(f"{name} is no valid FITS table"),
        open_bytes(location) as file,
        parse_fits(file, location) as units,
        quiet_astropy(),
    ):
        return [str(column) for column in units[_find_table(units, name)].columns.names]


def check_column(table: FitsTable, column: str, setting: str, kinds: str = NUMBERS) -> None:
    """Refuse a column that holds no number (`NUMBERS`) or no identifier (`IDENTIFIERS`) a row, or several.

    Raises
    ------
    SurveyFileError
        Naming the file, the column and the setting that asks for it.
    """
    values = table.columns[column]
    # A cell of a FITS table may hold an array, whose column has a second axis here.
    if values.dtype.kind in kinds and values.ndim == 1:
        return
    held = f"{values.dtype}" + (f" of shape {values.shape[1:]} a row" if values.ndim > 1 else "")
    what = "a number" if kinds == NUMBERS else "an identifier"
    raise SurveyFileError(
        f"{table.name}: column {column} ({setting}) holds {held}, not {what} a row: correct the setting to the "
        "survey's column, or the file"
    )


def _find_table(units: fits.HDUList, name: str) -> int:
    for i, unit in enumerate(units):
        # What astropy could not make a table of is none, whatever its header says.
        if isinstance(unit, fits.BinTableHDU | fits.TableHDU) and holds_sources(unit.header):
            if unit.header.get("ZTABLE", False):
                raise SurveyFileError(f"{name} holds a table packed by fpack (ZTABLE): unpack it with funpack")
            return i
    raise SurveyFileError(f"{name} holds no table: is it the right file?")


def _refuse_alike(units: fits.HDUList, index: int, name: str) -> None:
    """Refuse a file of which a later table has the same columns, whose rows nobody would miss."""
    others = [(i, each.header) for i, each in enumerate(units) if i > index]
    if alike := tell_alike(index, units[index].header, others):
        raise SurveyFileError(f"{name} {alike}")


def _verify_unit(unit: fits.BinTableHDU, size: int, name: str) -> None:
    """Hold the table against the file's bytes and the checksums that its header states, before any of it is used."""
    # astropy only warns of a file that ends early, and `quiet_astropy` silences that: it is told here, with both
    # numbers.
    places = unit.fileinfo()
    end = places["datLoc"] + places["datSpan"]
    # Of a last block that is not filled up no row is lost.
    if size < places["datLoc"] + unit.size:
        raise SurveyFileError(f"{name} is truncated: {size} bytes, and its header promises {end}; fetch it again")
    datasum, checksum = unit.header.get("DATASUM"), unit.header.get("CHECKSUM")
    # An empty one states nothing (FITS Standard 4.0, section 4.4.2.7), which astropy would take for a wrong one; and
    # without DATASUM it would take the data's sum for 0.
    if parse_datasum(datasum, name) is None:
        return
    if not unit.verify_datasum():
        raise SurveyFileError(
            f"{name} is corrupt: DATASUM is {datasum} and its data sum to {unit.add_datasum()}; fetch it again"
        )
    if checksum not in (None, "") and not unit.verify_checksum():
        raise SurveyFileError(f"{name} is corrupt: its header and data do not fit CHECKSUM; {STALE_REMEDY}")


def require_columns(names: Iterable[str], columns: Mapping[str, str], name: str) -> None:
    """Refuse a table that lacks columns.

    Parameters
    ----------
    names : iterable of str
        Of the table's columns.
    columns : mapping of str to str
        Column that is wanted -> the setting that named it.
    name : str
        Of the file.

    Raises
    ------
    SurveyFileError
        With all that are missing, their settings and the nearest names that are there.
    """
    there = [str(column) for column in names]
    missing = {column: setting for column, setting in columns.items() if column not in there}
    if missing:
        wanted = ", ".join(
            f"{column} ({setting}{'; nearest: ' + ', '.join(near) if (near := _find_near(column, there)) else ''})"
            for column, setting in missing.items()
        )
        raise SurveyFileError(f"{name} lacks the column {wanted}: correct the setting to the survey's column names")


def _find_near(column: str, there: Sequence[str]) -> list[str]:
    # Capital and small letters are what names differ in most.
    near = get_close_matches(column.lower(), [each.lower() for each in there], 2, 0.7)
    return [each for each in there if each.lower() in near][:2]


def _find_nulls(unit: fits.BinTableHDU, name: str) -> npt.NDArray[np.bool_]:
    """Find where a column holds what its header says stands for no value: whole numbers, and numbers written as text.

    Of both astropy gives the number that is written, or 0.
    """
    # As they lie in the file, before TSCAL and TZERO.
    raw, stated = np.asarray(unit.data.view(np.ndarray)[name]), unit.columns[name].null
    if isinstance(unit, fits.TableHDU):
        text = np.char.strip(raw.astype("S"))
        is_text = str(unit.columns[name].format).strip().startswith("A")
        missing = (text == b"") | (text == str(stated or "").strip().encode())
        return np.asarray(missing & (not is_text))
    whole = raw.dtype.kind in "iu" and raw.ndim == 1 and stated not in (None, "")
    return np.asarray(raw == int(stated)) if whole else np.zeros(len(raw), bool)


def _is_float(values: npt.NDArray[Any]) -> bool:
    return bool(values.dtype.kind == "f")


def _read_column(unit: fits.BinTableHDU, name: str) -> npt.NDArray[Any]:
    raw = np.asarray(unit.data.view(np.ndarray)[name])
    if not isinstance(unit, fits.TableHDU) and raw.dtype.kind == "S":
        # FITS knows ASCII alone, and astropy refuses all else; any bytes are text in Latin 1.
        for encoding in ("utf-8", "latin-1"):
            with suppress(UnicodeDecodeError):
                return np.char.rstrip(np.char.decode(raw, encoding))
    return _to_native(unit.data[name])


def _to_native(column: Any) -> npt.NDArray[Any]:
    values = np.asarray(column)
    if values.dtype.kind in "SU":
        # FITS pads text with blanks to the width of its column; leading ones count.
        return np.char.rstrip(values.astype(str))
    # FITS is big-endian, and Arrow refuses arrays in another byte order than the machine's.
    return values.astype(values.dtype.newbyteorder("="))
