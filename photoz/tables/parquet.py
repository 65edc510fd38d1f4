"""Parquet: row groups of one file as parts, read column by column."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from photoz.storage import find_filesystem
from photoz.tables.base import Contents, TablePart
from photoz.tables.types import make_column, read_unit, simplify_schema

_PART_ROWS = 1_000_000
"""A part ends with the row group that brings it to so many: enough to outweigh opening the file once more."""
_ASTROPY = b"table_meta_yaml"
"""Where astropy keeps the units of the columns when it writes Parquet."""


@dataclass(frozen=True)
class ParquetReader:
    """Reads Parquet files.

    Parameters
    ----------
    base : str
        Folder of the table: names ``key=value`` of the folders beneath it are columns (hive's partitions). "": no
        folder's name is a column.
    split : bool
        False: each file is one part, as in a HATS catalogue.
    """

    base: str = ""
    split: bool = True

    def describe(self, location: str) -> Contents:
        """Read a file's footer."""
        with _open(location) as file:
            schema, counts = file.schema_arrow, _count_rows(file.metadata)
            schema = _add_astropy_units(simplify_schema(schema), schema.metadata or {})
        keys = find_keys(self.base, location)
        # What the file itself says of a column counts before a folder's name.
        for name, value in keys:
            if name not in schema.names:
                schema = schema.append(pa.field(name, _infer_key(value)))
        parts = tuple(
            TablePart(location, start, stop, sum(counts[start:stop]), keys)
            for start, stop in pairwise(_choose_cuts(counts) if self.split else [0, len(counts)])
        )
        # So that logs name the file alone: there is no other piece to tell it from.
        if len(parts) == 1:
            parts = (replace(parts[0], stop=None),)
        return Contents(schema, sum(counts), parts)

    def read(self, part: TablePart, schema: pa.Schema, rows: int) -> Iterator[pa.RecordBatch]:
        """Read row groups, a few at a time."""
        keys = dict(part.keys)
        with _open(part.location) as file:
            # The schema is that of all files, of which this one may lack columns; `Table.read` fills them with nulls.
            there = [name for name in schema.names if name in file.schema_arrow.names]
            counts = _count_rows(file.metadata)
            for groups in _gather(counts, part, rows):
                # Decoded while it is read: a row group may hold the whole file.
                for batch in file.iter_batches(rows, row_groups=groups, columns=there):
                    yield _add_keys(batch, schema, {name: keys[name] for name in keys if name not in there})


def find_keys(base: str, location: str) -> tuple[tuple[str, str | None], ...]:
    """Return the columns that the names of folders between a table's folder and a file state.

    >>> find_keys("cat", "cat/field=south/year=2021/a.parquet")
    (('field', 'south'), ('year', '2021'))
    """
    if not base:
        return ()
    # Without the last, the file's own name, in which an equals sign means nothing.
    folders = location.removeprefix(base.rstrip("/")).strip("/").split("/")[:-1]
    pairs = (folder.partition("=") for folder in folders if "=" in folder)
    return tuple((_unquote(name), _read_key(value)) for name, _, value in pairs)


def _unquote(text: str) -> str:
    # Writers escape what no folder's name may hold as %2F and the like.
    from urllib.parse import unquote

    return unquote(text)


def _read_key(text: str) -> str | None:
    # What hive, Spark and Arrow call the folder of the rows without a value.
    return None if text == "__HIVE_DEFAULT_PARTITION__" else _unquote(text)


def _infer_key(value: str | None) -> pa.DataType:
    if value is None:
        return pa.null()
    # Leading zeros are of a name: tile 0012 is not tile 12.
    whole = value.removeprefix("-").isdecimal() and value.isascii() and str(int(value)) == value
    # More digits than 64 bits hold are an identifier's, and text.
    return pa.int64() if whole and -(2**63) <= int(value) < 2**63 else pa.string()


def _open(location: str) -> pq.ParquetFile:
    filesystem, path = find_filesystem(location)
    # From a store the ranges of all columns of a row group are asked for at once; from a disk nothing is kept that is
    # not being decoded.
    remote = not isinstance(filesystem, LocalFileSystem)
    file = filesystem.open(path, "rb")
    return pq.ParquetFile(file, pre_buffer=remote, buffer_size=0 if remote else 1 << 20)


def _count_rows(metadata: Any) -> list[int]:
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def _choose_cuts(counts: list[int]) -> list[int]:
    """Choose the row groups that begin a part, and the end."""
    cuts, gathered = [0], 0
    for i, count in enumerate(counts):
        gathered += count
        if gathered >= _PART_ROWS or i == len(counts) - 1:
            cuts.append(i + 1)
            gathered = 0
    # A file without row groups is a part without rows: its columns are the table's all the same.
    return cuts if len(cuts) > 1 else [0, 0]


def _gather(counts: list[int], part: TablePart, rows: int) -> Iterator[list[int]]:
    """Gather row groups that one batch may hold together: read one by one, small ones would make small batches."""
    stop = len(counts) if part.stop is None else part.stop
    group: list[int] = []
    for i in range(part.start, stop):
        # One that is larger than a batch goes alone, and `iter_batches` cuts it.
        if group and sum(counts[j] for j in group) + counts[i] > rows:
            yield group
            group = []
        group.append(i)
    if group:
        yield group


def _add_keys(batch: pa.RecordBatch, schema: pa.Schema, keys: dict[str, str | None]) -> pa.RecordBatch:
    for name, value in keys.items():
        if name in schema.names:
            kind = schema.field(name).type
            # From text to the type that this and all other files' values have in common, which only the whole table
            # knows.
            batch = batch.append_column(name, pa.repeat(pa.scalar(value, pa.string()), len(batch)).cast(kind))
    return batch


def _add_astropy_units(schema: pa.Schema, metadata: dict[bytes, bytes]) -> pa.Schema:
    if _ASTROPY not in metadata:
        return schema
    # For such a file alone: astropy's tables take time to import.
    from astropy.table.meta import get_header_from_yaml

    columns = get_header_from_yaml(metadata[_ASTROPY].decode().splitlines())["datatype"]
    units = {column["name"]: str(column["unit"]) for column in columns if column.get("unit")}
    return pa.schema(
        [make_column(each.name, each.type, read_unit(each) or units.get(each.name, "")) for each in schema]
    )
