"""The seeing of tiles where their images' headers do not tell it: from a table of tiles, or a setting."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from photoz.errors import ConfigError
from photoz.evaluate.settings import Evaluation
from photoz.metrics import FloatArray
from photoz.tables import open_table


def read_seeing(tiles: Sequence[str], bands: Sequence[str], settings: Evaluation) -> dict[str, FloatArray]:
    """Read the seeing of T tiles from ``seeing_table``.

    Parameters
    ----------
    tiles, bands : sequence of str
    settings : Evaluation
        ``seeing_table`` and the names of its columns.

    Returns
    -------
    dict of str to ndarray of float64, shape (T,)
        [arcsec] of each band that has a column; NaN for a tile that the table lacks, or where a value is missing. Empty
        without a table.

    Raises
    ------
    TableError
        There is no such table, or it is damaged or lacks the column of the tiles.
    ConfigError
        It has no column of any band, or one of these holds no numbers.
    """
    if not settings.seeing_table:
        return {}
    table = open_table(settings.seeing_table, text=[settings.seeing_tile])
    columns = {band: settings.seeing_column.replace("{band}", band) for band in bands}
    there = {band: name for band, name in columns.items() if name in table.schema.names}
    if not there:
        raise ConfigError(
            f"{settings.seeing_table} has none of the columns {list(columns.values())} "
            f"(evaluation.seeing_column = {settings.seeing_column!r}): {table.schema.names}"
        )
    names = [settings.seeing_tile, *there.values()]
    rows = pa.Table.from_batches(
        [batch for part in table.parts for batch in table.read(part, names)], table.select(names)
    )
    place = {str(name).strip(): number for number, name in enumerate(rows[settings.seeing_tile].to_pylist())}
    row_T = np.array([place.get(name, len(rows)) for name in tiles], dtype=np.intp)
    return {band: _read_column(rows[name], settings.seeing_table, name)[row_T] for band, name in there.items()}


def _read_column(column: pa.ChunkedArray, table: str, name: str) -> FloatArray:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ConfigError(f"{table}: column {name} holds {column.type}, and a seeing in arcsec is asked for")
    # One NaN behind, for the tiles that the table lacks.
    values: FloatArray = np.append(column.cast(pa.float64()).to_numpy(), np.nan)
    return values
