"""Identifiers that several rows of a whole table have, whichever of its parts they are in: what each task does.

By their hashes, as the audit of a catalogue does it (`photoz.hashes`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from photoz.hashes import (
    MOST_LOOKED_UP,
    BucketTask,
    HashArray,
    hash_ids,
    list_files,
    pick,
    read_bucket,
    write_hashes,
)
from photoz.storage import join, open_atomic, open_file
from photoz.tables.base import Table, TablePart
from photoz.tables.convert import read_sources
from photoz.tables.parquet import ParquetReader
from photoz.tables.settings import TableSurvey

NAMED = 5
"""Identifiers that are named where they are refused or kept."""
_SIDE = "ids"
_MOST_HELD = 8_000_000  # hashes of a part, 8 bytes each, that are held until they are written


@dataclass(frozen=True, eq=False)
class Identifiers:
    """Where the identifiers of a table's rows are read; small enough to send everywhere.

    Parameters
    ----------
    table : Table
        Without the list of its parts.
    survey : TableSurvey
        That asks for nothing that only redshifts need.
    positions : bool
        Whether rows without a position are no sources.
    """

    table: Table
    survey: TableSurvey
    positions: bool = False

    def read(self, part: TablePart) -> Iterator[pa.Array]:
        """Read the identifiers of a part's sources, batch by batch; raises as `photoz.tables.read_sources`."""
        for found in read_sources(self.table, part, self.survey, positions=self.positions):
            yield found.table["object_id"].combine_chunks()


@dataclass(frozen=True)
class Repeated:
    """Identifiers that several rows have.

    Parameters
    ----------
    rows : int
        That have the identifier of a row before them.
    ids : int
        Identifiers.
    first : tuple of str
        Some of them, sorted.
    """

    rows: int = 0
    ids: int = 0
    first: tuple[str, ...] = ()


def choose_identifiers(table: Table, survey: TableSurvey, *, positions: bool) -> Identifiers:
    """Choose what must be read of a table for the identifiers of its sources: cuts and positions, and no photometry."""
    bare = msgspec.structs.replace(
        survey, bands=(), photometry=(), total=None, tile="", z_spec="", z_quality="", carry=(), duplicates="keep"
    )
    return Identifiers(replace(table, parts=()), bare, positions)


def choose_staged(files: Sequence[str]) -> tuple[Identifiers, list[TablePart]]:
    """Choose the identifiers of rows of sources in Parquet files, of which each is a part."""
    survey = TableSurvey(name="sources", identifier="object_id", duplicates="keep", photometry=())
    # No file is opened for it: of whatever else they hold nothing is asked.
    table = Table("staged sources", pa.schema([("object_id", pa.string())]), None, (), ParquetReader(""))
    return Identifiers(table, survey), [TablePart(file) for file in files]


def leave_hashes(identifiers: Identifiers, folder: str, task: tuple[int, TablePart]) -> int:
    """Leave the hashes of a part's identifiers in a folder, and which part they are of; return its rows.

    Parameters
    ----------
    identifiers : Identifiers
    folder : str
    task : (int, TablePart)
        The part with its number in the table.
    """
    number, part = task
    rows = 0
    for piece, hashes in enumerate(_gather(identifiers.read(part))):
        write_hashes(join(folder, f"{number}-{piece}.ids"), hashes)
        rows += len(hashes)
    # For whoever must look identifiers up: the list of all parts would go to every task.
    with open_atomic(_locate_part(folder, number)) as file:
        file.write(msgspec.json.encode(part))
    return rows


def find_repeated(identifiers: Identifiers, listed: str, task: BucketTask) -> Repeated:
    """Find the identifiers of one bucket of hashes that several rows have.

    Parameters
    ----------
    identifiers : Identifiers
        Of the hashes.
    listed : str
        Folder in which all of them are listed, as Parquet with ``object_id`` and ``count``; "": they are counted.
    task : BucketTask
        From `photoz.hashes.plan_buckets`, when all parts have left their hashes.
    """
    bucket = read_bucket(task, [_SIDE])
    values, counts_N = np.unique(bucket.hashes[_SIDE], return_counts=True)
    again = values[counts_N > 1]
    if not len(again):
        return Repeated()
    # All of them where that can be: an equal hash is proof of nothing until the texts are seen.
    sought = again if listed or len(again) <= MOST_LOOKED_UP else again[:NAMED]
    files = list_files(bucket, _SIDE, sought)
    numbers = sorted({int(name.rpartition("/")[2].partition("-")[0]) for name in files})
    found = _count(pick(_read_parts(identifiers, task.folder, numbers), sought))
    if listed and len(found):
        with open_atomic(join(listed, f"part-{task.start:06d}.parquet")) as file:
            pq.write_table(found, file, compression="zstd")
    first = tuple(found["object_id"][:NAMED].to_pylist())
    if sought is not again and first:
        return Repeated(int((counts_N[counts_N > 1] - 1).sum()), len(again), first)
    return Repeated((pc.sum(found["count"]).as_py() or 0) - len(found), len(found), first)


def _gather(batches: Iterator[pa.Array]) -> Iterator[HashArray]:
    """Join the hashes of batches to pieces that fit into memory, however large the part is."""
    held: list[HashArray] = []
    for ids in batches:
        held.append(hash_ids(ids.to_pylist()))
        if sum(map(len, held)) >= _MOST_HELD:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)


def _read_parts(identifiers: Identifiers, folder: str, numbers: Sequence[int]) -> Iterator[pa.Array]:
    for number in numbers:
        with open_file(_locate_part(folder, number)) as file:
            part = msgspec.json.decode(file.read(), type=TablePart)
        yield from identifiers.read(part)


def _count(ids: pa.ChunkedArray) -> pa.Table:
    """Count each of the identifiers that come more than once; sorted."""
    counts = ids.value_counts()
    table = pa.table({"object_id": counts.field("values"), "count": counts.field("counts")})
    return table.filter(pc.greater(table["count"], 1)).sort_by("object_id")


def _locate_part(folder: str, number: int) -> str:
    return join(folder, f"{number}.part")
