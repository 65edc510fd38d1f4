"""Stored quantiles of p(z) as a column of Arrow lists, and such a column as an array.

The type is a list of any length, though every list is as long as `photoz.schema.LEVELS`: lsdb nests no other kind, and
polars, DuckDB and pandas read both alike. What the type does not say is counted here, when a column is read.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.errors import CatalogueError
from photoz.schema import LEVELS, QUANTILES_TYPE

Codes = npt.NDArray[np.uint16]


def pack_codes(codes_NQ: Codes) -> pa.ListArray:
    """Make the column of stored quantiles, a list a row.

    Examples
    --------
    >>> pack_codes(np.zeros((2, 27), np.uint16)).type
    ListType(list<element: uint16>)
    """
    count, length = codes_NQ.shape
    offsets = np.arange(0, (count + 1) * length, length, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes_NQ.reshape(-1)), type=QUANTILES_TYPE)


def unpack_codes(column: pa.ChunkedArray | pa.Array) -> Codes:
    """View a column of stored quantiles as an array, without a copy where it lies in one piece.

    Parameters
    ----------
    column : pyarrow.ChunkedArray or pyarrow.Array
        Lists of any kind: of one length by their type, too, as photoz wrote them before.

    Returns
    -------
    ndarray of uint16, shape (N, Q)
        Of memory that may be read only.

    Raises
    ------
    CatalogueError
        A row has another number of quantiles than `photoz.schema.LEVELS`, or lacks some of them.

    Examples
    --------
    >>> unpack_codes(pack_codes(np.ones((2, 27), np.uint16))).shape
    (2, 27)
    """
    odd_N = find_odd_lists(column)
    if odd_N.any():
        raise CatalogueError(
            f"{int(odd_N.sum())} rows have other than {len(LEVELS)} quantiles of p(z), row {int(odd_N.argmax())} first:"
            " the catalogue is damaged; run jobs/audit_catalogue.py"
        )
    # An array of no rows is one of no chunks.
    parts = [part.flatten().to_numpy().reshape(-1, len(LEVELS)) for part in _list_parts(column)]
    codes_NQ = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, len(LEVELS)), np.uint16), *parts])
    return codes_NQ.astype(np.uint16, copy=False)


def filter_rows(table: pa.Table, kept_N: npt.NDArray[np.bool_]) -> pa.Table:
    """Filter a table as `pyarrow.Table.filter` does, which takes fifty times as long for lists of any length.

    Parameters
    ----------
    table : pyarrow.Table
        Its lists are stored quantiles.
    kept_N : ndarray of bool, shape (N,)

    Raises
    ------
    CatalogueError
        As of `unpack_codes`.
    """
    mask, fields = pa.array(kept_N), list(table.schema)
    columns = [
        pack_codes(unpack_codes(column)[kept_N]) if pa.types.is_nested(field.type) else column.filter(mask)
        for field, column in zip(fields, table.columns, strict=True)
    ]
    kinds = [
        pa.field(field.name, column.type, metadata=field.metadata)
        for field, column in zip(fields, columns, strict=True)
    ]
    return pa.table(columns, schema=pa.schema(kinds, metadata=table.schema.metadata))


def find_odd_lists(column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
    """Find the rows whose list is no list of as many numbers as `photoz.schema.LEVELS` has, shape (N,)."""
    return np.concatenate([np.empty(0, dtype=bool), *(_find_odd(part) for part in _list_parts(column))])


def _list_parts(column: pa.ChunkedArray | pa.Array) -> list[pa.Array]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]


def _find_odd(part: pa.Array) -> npt.NDArray[np.bool_]:
    length_N = pc.fill_null(pc.list_value_length(part), -1).to_numpy(zero_copy_only=False)
    odd_N: npt.NDArray[np.bool_] = length_N != len(LEVELS)
    values = part.flatten()
    if values.null_count:
        row_of = np.repeat(np.arange(len(part)), np.maximum(length_N, 0))
        odd_N[row_of[values.is_null().to_numpy(zero_copy_only=False)]] = True
    return odd_N
