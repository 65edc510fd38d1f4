"""VOTable: read whole by astropy, since its XML says only at the end what it holds; large ones are refused."""

import io
import json
import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
import pyarrow as pa
from astropy.io.votable import parse

from photoz.errors import TableError
from photoz.survey.fits import FITS_ERRORS, FileStamp, quiet_astropy, stamp_file
from photoz.survey.systems import describe_frame
from photoz.tables.base import Contents, TablePart
from photoz.tables.text import open_unpacked
from photoz.tables.types import make_column

logger = logging.getLogger(__name__)

_FRAMES = b"frames"
"""In the metadata of the table's schema."""
_MOST_BYTES = 256 << 20
"""[byte] of XML, unpacked. astropy holds some four times as many while it reads them."""


@dataclass(frozen=True)
class VotableReader:
    """Reads one table of a VOTable file, packed by gzip or not.

    Parameters
    ----------
    hdu : str
        Its number, from 0, its ID or its name; "": the first.
    """

    hdu: str = ""

    def describe(self, location: str) -> Contents:
        """Read the table, which the next call of `read` finds in memory."""
        table = _load(location, self.hdu, stamp_file(location))
        frames = json.loads(table.schema.metadata[_FRAMES])
        return Contents(table.schema, len(table), (TablePart(location, num_rows=len(table)),), frames)

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Slice the table."""
        table = _load(part.location, self.hdu, stamp_file(part.location))
        yield from table.select([name for name in schema.names if name in table.schema.names]).to_batches(rows)


# One only: it is what a worker reads now, after it was described. By its stamp, too: a notebook may write it anew.
@lru_cache(maxsize=1)
def _load(location: str, hdu: str, _stamp: FileStamp) -> pa.Table:
    with open_unpacked(location) as file:
        # One byte more than is allowed: what gzip packs does not tell its length.
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise TableError(
            f"{location!r} has more than {_MOST_BYTES >> 20} MB of XML, which is read whole: write it as Parquet or "
            "FITS (stilts tpipe, astropy)"
        )

    try:
        return _parse(content, hdu, location)
    # Of a damaged file astropy raises whatever its parser comes to; expat has errors of its own.
    except (*FITS_ERRORS, AttributeError, ArithmeticError, struct.error, ExpatError) as error:
        raise TableError(f"{location!r} is no valid VOTable ({error!r}); fetch it again") from error


def _parse(content: bytes, hdu: str, location: str) -> pa.Table:
    with quiet_astropy():
        # Of the bytes in memory, which are counted by now: astropy would read a location to its end.
        document = parse(io.BytesIO(content), verify="ignore")
    _check_status(document, location)
    table = _choose(list(document.iter_tables()), hdu, location)
    # By ID, as astropy names the array's columns, since no two fields share one; the name is for people.
    arrays = [_convert(table.array[column.ID]) for column in table.fields]
    fields = [
        make_column(str(column.name), array.type, str(column.unit or ""))
        for column, array in zip(table.fields, arrays, strict=True)
    ]
    metadata = {_FRAMES: json.dumps(_find_frames(document, table))}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))


def _check_status(document: Any, location: str) -> None:
    """Look at what a service says of its query (DALI 1.1, section 4.4.1): that it failed, or left rows out."""
    for info in document.get_infos_by_name("QUERY_STATUS"):
        told = str(info.content or info.value or "").strip()
        if str(info.value).upper() == "ERROR":
            raise TableError(f"{location!r} holds the error of a service and no table: {told[:200]!r}; ask it again")
        if str(info.value).upper() == "OVERFLOW":
            logger.warning(
                "%s: the service that wrote it says that its query has more rows, which it left out (OVERFLOW): ask it "
                "for more (MAXREC), or for the rest",
                location,
            )


def _find_frames(document: Any, table: Any) -> dict[str, str]:
    """Find the frames of columns that are in another than ICRS, as `Table.frames` has them."""
    systems = {each.ID: describe_frame(each.system, each.equinox) for each in document.iter_coosys()}
    told = {str(column.name): systems[column.ref] for column in table.fields if column.ref in systems}
    # Before version 1.2 the one system stood above all, and no column referred to it.
    if not told and len(systems) == 1:
        told = dict.fromkeys([""], *systems.values())
    return {column: frame for column, frame in told.items() if frame}


def _choose(tables: list[Any], hdu: str, location: str) -> Any:
    for i, table in enumerate(tables):
        if not hdu or hdu in (str(i), table.ID, table.name):
            return table
    there = ", ".join(f"{i} ({table.name or table.ID or 'no name'})" for i, table in enumerate(tables)) or "none"
    raise TableError(f"{location!r} holds no table {hdu!r}; there are {there}")


def _convert(column: Any) -> pa.Array:
    values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
    # Text comes as objects, too, so that an array of variable length shows only by its values.
    if values.ndim > 1 or (values.dtype.kind == "O" and any(isinstance(value, np.ndarray) for value in values)):
        # Several values a row: listed and not read.
        return pa.nulls(len(values), pa.list_(pa.float64()))
    if values.dtype.kind in "SUO":
        text = [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values.tolist()
        ]
        return pa.array(text, pa.string(), mask=mask)
    # VOTable's binary data are big-endian, which Arrow does not take.
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask)
