"""Staged sources: a tile's selected rows and what is known of them, in a file each until they are partitioned."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields

import pyarrow as pa
import pyarrow.parquet as pq

from photoz.errors import CatalogueError
from photoz.storage import JsonObject, is_store_trouble, join, list_folder, open_atomic, open_file

# Of the Parquet file's own key-value metadata, as Arrow keeps it: bytes.
METADATA_KEY = b"photoz.ingest"


@dataclass(frozen=True)
class StagedRecord:
    """What is known of staged rows, kept as JSON in the metadata of their Parquet file.

    Parameters
    ----------
    key : dict
        What the rows depend on: the catalogue's file and the settings that shape them.
    sha256 : str
        Of the catalogue.
    rows : int
        Of the catalogue.
    rejected : int or None
        Rows selected and left out, since they have no position or no identifier; None in a record of a version that
        did not look.
    offsets : dict of str to (float or None)
        [mag] image band -> zero-point offset of the catalogue's header.
    extinction : float or None
        [mag] mean of the tile's sources in the band of ``mag_auto``.
    counts : dict of str to int
        Of a part of a table: its rows by what became of them (`photoz.tables.Converted`).
    pieces : int
        Of a part of a table: further files with rows of it, of which it has more than are held at one time.
    photoz : str
        Version that wrote it.
    """

    key: JsonObject = field(default_factory=dict)
    sha256: str = ""
    rows: int = 0
    rejected: int | None = None
    offsets: dict[str, float | None] = field(default_factory=dict)
    extinction: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    pieces: int = 0
    photoz: str = ""


@dataclass(frozen=True)
class Staged:
    """A file of staged rows: what is known of them, and how many there are."""

    record: StagedRecord
    num_rows: int


def staging_location(sources: str) -> str:
    """Return the folder in which the tiles' selected sources are staged until they are partitioned."""
    return f"{sources.rstrip('/')}_staging"


def staged_location(sources: str, name: str) -> str:
    """Return where a tile's selected sources are staged, as Parquet."""
    return join(staging_location(sources), f"{name}.parquet")


def read_staged(location: str) -> Staged | None:
    """Read what is known of staged rows; None where there are none, or damaged ones.

    Raises
    ------
    OSError
        The disk or store does not answer.
    """
    try:
        with open_file(location) as file:
            parquet = pq.ParquetFile(file)
            # The footer alone is read: a skipped tile costs no pass over its rows.
            values = json.loads((parquet.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
            return Staged(_make_record(values), parquet.metadata.num_rows)
    # Arrow's errors of files that are no Parquet are ValueErrors, as json's are.
    except (OSError, ValueError) as error:
        if is_store_trouble(error):
            raise
        return None


def read_staged_rows(files: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Read all rows of some files of staged rows.

    Raises
    ------
    CatalogueError
        One is damaged.
    OSError
        The disk or store does not answer.
    """
    tables = []
    for location in files:
        try:
            with open_file(location) as file:
                tables.append(pq.read_table(file).cast(schema))
        # Other columns than the first file's are a plain ValueError, as most of Arrow's own errors are.
        except (OSError, ValueError, pa.ArrowException) as error:
            if is_store_trouble(error):
                raise
            raise CatalogueError(f"{location} is damaged ({error}): remove it and run the job again") from error
    return pa.concat_tables(tables)


def read_staged_schema(sources: str) -> pa.Schema:
    """Return the columns of staged rows, as the first file has them, without what is known of its tile.

    Raises
    ------
    CatalogueError
        Nothing is staged.
    """
    staging = staging_location(sources)
    staged = list_folder(staging, "*.parquet")
    if not staged:
        raise CatalogueError(f"no sources staged in {staging!r}: run jobs/ingest_dr4.py on readable tiles")
    with open_file(staged[0]) as file:
        schema: pa.Schema = pq.read_schema(file)
    return schema.remove_metadata()


def write_staged(table: pa.Table, location: str, record: StagedRecord) -> None:
    """Write the rows so that half a file is never seen.

    Parameters
    ----------
    table : pyarrow.Table
        Schema `photoz.schema.make_source_schema`.
    location : str
        From `staged_location`.
    record : StagedRecord
    """
    # In the file and not beside it, so that rows and record are replaced in one step.
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(asdict(record))})
    with open_atomic(location) as file:
        pq.write_table(table, file, compression="zstd")


def read_extinction(sources: str, name: str) -> float | None:
    """Read the mean extinction of a tile's sources [mag] that ingest recorded; None where it did not."""
    staged = read_staged(staged_location(sources, name))
    return None if staged is None else staged.record.extinction


def _make_record(values: JsonObject) -> StagedRecord:
    # A later version may write more, an earlier one less: what is not known here is passed over, the rest has defaults.
    known = {each.name for each in fields(StagedRecord)}
    return StagedRecord(**{name: value for name, value in values.items() if name in known})
