"""Masks of columns: ``<column>.mask`` or ``<column>_isnull``, true where what stands in the column is no value.

astropy writes a masked column so to Parquet, and to ECSV and FITS where it is asked to (``data_mask``), and HSC's
database to FITS: the numbers beneath the mask stay in the column, and look like any others.
"""

from collections.abc import Sequence
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

_ENDINGS = (".mask", "_isnull")
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def list_masks(columns: Sequence[str], there: Sequence[str]) -> list[str]:
    """List the names that masks of some columns have among those of a table, also where one is asked for itself.

    >>> list_masks(["mag_u", "mag_g"], ["mag_u", "mag_u.mask", "mag_g", "ra.mask"])
    ['mag_u.mask']
    """
    names = set(there)
    return [name + ending for name in columns for ending in _ENDINGS if name + ending in names]


def select_masks(columns: Sequence[str], schema: pa.Schema) -> list[str]:
    """List the masks of some columns that a table has: columns of that name which say true or false, or 1 or 0."""
    return [
        name
        for name in list_masks(columns, schema.names)
        # Of two of one name nobody can tell which is meant.
        if len(schema.get_all_field_indices(name)) == 1 and _is_mask(schema.field(name).type)
    ]


def hide_masked(rows: Rows, columns: Sequence[str]) -> Rows:
    """Set to null what the masks of some columns say is none, and leave out the masks that nobody asked for.

    Parameters
    ----------
    rows : pyarrow.Table or pyarrow.RecordBatch
        Of plain types (`photoz.tables.types`).
    columns : sequence of str
        That are asked for. A mask that is null hides nothing: of several files some may lack it.

    Examples
    --------
    >>> hide_masked(pa.table({"x": [18.0, 21.5], "x.mask": [True, None]}), ["x"]).to_pydict()
    {'x': [None, 21.5]}
    """
    masks = select_masks(columns, rows.schema)
    for mask in masks:
        index = rows.schema.get_field_index(_name_column(mask))
        hidden, values = pc.fill_null(rows.column(mask).cast(pa.bool_()), False), rows.column(index)
        kept = pc.if_else(hidden, pa.scalar(None, values.type), values)
        rows = rows.set_column(index, rows.schema.field(index), kept)
    unasked = [mask for mask in masks if mask not in columns]
    return rows.drop_columns(unasked) if unasked else rows


def _name_column(mask: str) -> str:
    return next(mask.removesuffix(ending) for ending in _ENDINGS if mask.endswith(ending))


def _is_mask(kind: pa.DataType) -> bool:
    return bool(pa.types.is_boolean(kind) or pa.types.is_integer(kind))
