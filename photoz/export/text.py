"""The catalogue as comma-separated values: a number a field, so that quantiles become columns of their own."""

from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from photoz.catalogue.quantiles import unpack_codes
from photoz.export.rows import Selection
from photoz.pdf import decode_quantiles
from photoz.schema import LEVELS


def write_csv(selection: Selection, file: IO[bytes]) -> int:
    """Write a header and a line a row; what is missing is an empty field.

    Parameters
    ----------
    selection : Selection
    file : binary file

    Returns
    -------
    int
        Rows.
    """
    written, writer = 0, None
    for table in selection.read():
        flat = flatten_quantiles(table, selection.quantiles)
        flat = pa.table([_drop_nan(column) for column in flat.columns], names=flat.column_names)
        if writer is None:
            writer = csv.CSVWriter(file, flat.schema)
        writer.write_table(flat)
        written += len(flat)
    if writer is not None:
        writer.close()
    return written


def name_quantile(algorithm_quantiles: str, level: float) -> str:
    """Name the column of one quantile by its percentage.

    >>> name_quantile("mlp_z_quantiles", 0.025), name_quantile("mlp_z_quantiles", 0.5)
    ('mlp_z_q2p5', 'mlp_z_q50')
    """
    # As RAIL's z_q2p5: a dot would have to be quoted in SQL and in TOPCAT's expressions.
    return f"{algorithm_quantiles.removesuffix('quantiles')}q{100 * level:g}".replace(".", "p")


def flatten_quantiles(table: pa.Table, quantiles: str) -> pa.Table:
    """Replace the column of stored quantiles by one of float32 a level; a table without is returned as it is."""
    if quantiles not in table.column_names:
        return table
    z_NQ = decode_quantiles(unpack_codes(table[quantiles])).astype(np.float32)
    for number, level in enumerate(LEVELS):
        table = table.append_column(name_quantile(quantiles, level), pa.array(z_NQ[:, number]))
    return table.drop_columns([quantiles])


def _drop_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
