"""VOTable: read whole by astropy, since its XML says only at the end what it holds; large ones are refused."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io.votable import parse

from photoz.errors import TableError
from photoz.survey.fits import quiet_astropy
from photoz.tables.base import Contents, TablePart
from photoz.tables.text import open_unpacked
from photoz.tables.types import make_column

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
        table = _load(location, self.hdu)
        return Contents(table.schema, len(table), (TablePart(location, num_rows=len(table)),))

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Slice the table."""
        table = _load(part.location, self.hdu)
        yield from table.select([name for name in schema.names if name in table.schema.names]).to_batches(rows)


# One only: it is what a worker reads now, after it was described.
@lru_cache(maxsize=1)
def _load(location: str, hdu: str) -> pa.Table:
    with open_unpacked(location) as file:
        # One byte more than is allowed: what gzip packs does not tell its length.
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise TableError(
            f"{location!r} has more than {_MOST_BYTES >> 20} MB of XML, which is read whole: write it as Parquet or "
            "FITS (stilts tpipe, astropy)"
        )

    with quiet_astropy():
        # Of the bytes in memory, which are counted by now: astropy would read a location to its end.
        tables = list(parse(io.BytesIO(content), verify="ignore").iter_tables())
    table = _choose(tables, hdu, location)
    # By ID, as astropy names the array's columns, since no two fields share one; the name is for people.
    arrays = [_convert(table.array[column.ID]) for column in table.fields]
    fields = [
        make_column(str(column.name), array.type, str(column.unit or ""))
        for column, array in zip(table.fields, arrays, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


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
