"""The record of staged rows: it comes back as it was written, and what is none counts as nothing."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from photoz.errors import CatalogueError
from photoz.ingest.staging import (
    METADATA_KEY,
    StagedRecord,
    read_extinction,
    read_staged,
    read_staged_rows,
    staged_location,
    staging_location,
    write_staged,
)

TABLE = pa.table({"object_id": ["a", "b"]})
RECORD = StagedRecord(
    key={"source": {"name": "c.fits"}},
    sha256="abc",
    rows=9,
    rejected=1,
    offsets={"g": 0.03, "r": None},
    extinction=0.1,
    photoz="1.0",
)


def test_rows_and_record_come_back(tmp_path: Path) -> None:
    location = staged_location(str(tmp_path / "sources/"), "T")
    assert location == f"{staging_location(str(tmp_path / 'sources'))}/T.parquet"
    assert location == f"{tmp_path}/sources_staging/T.parquet"
    write_staged(TABLE, location, RECORD)
    staged = read_staged(location)
    assert staged is not None
    assert (staged.record, staged.num_rows) == (RECORD, 2)
    assert read_extinction(str(tmp_path / "sources"), "T") == 0.1
    assert pq.read_table(location).equals(TABLE)


def test_the_record_on_disk_has_the_form_that_earlier_versions_read(tmp_path: Path) -> None:
    write_staged(TABLE, str(tmp_path / "T.parquet"), RECORD)
    record = json.loads(pq.read_schema(tmp_path / "T.parquet").metadata[METADATA_KEY])
    assert list(record) == ["key", "sha256", "rows", "rejected", "offsets", "extinction", "counts", "pieces", "photoz"]


def test_records_of_other_versions_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    for name, metadata in (("none", {}), ("old", {METADATA_KEY: '{"key": {"a": 1}, "extinction": null, "later": 5}'})):
        pq.write_table(TABLE.replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
    none, old = (read_staged(str(tmp_path / f"{name}.parquet")) for name in ("none", "old"))
    assert none is not None
    assert none.record == StagedRecord()
    assert old is not None
    assert (old.record.key, old.record.rejected, old.record.extinction) == ({"a": 1}, None, None)


def test_no_rows_and_damaged_ones_are_none(tmp_path: Path) -> None:
    assert read_staged(str(tmp_path / "absent.parquet")) is None
    (tmp_path / "half.parquet").write_bytes(b"PAR1 and no more")
    assert read_staged(str(tmp_path / "half.parquet")) is None
    pq.write_table(TABLE.replace_schema_metadata({METADATA_KEY: "{"}), tmp_path / "text.parquet")
    assert read_staged(str(tmp_path / "text.parquet")) is None
    assert read_extinction(str(tmp_path), "absent") is None


def test_rows_of_other_columns_than_the_first_files_are_refused_by_name(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{name}.parquet") for name in "ab"]
    write_staged(TABLE, files[0], RECORD)
    write_staged(TABLE.append_column("tile", pa.array(["T", "T"])), files[1], RECORD)
    assert read_staged_rows(files[:1], TABLE.schema).equals(TABLE)
    with pytest.raises(CatalogueError, match=r"b\.parquet is damaged .*remove it and run the job again"):
        read_staged_rows(files, TABLE.schema)
