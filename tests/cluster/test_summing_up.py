"""The records of a run are read once, and summed up without being held."""

import tracemalloc
import uuid
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cluster.inference.publish import sum_up_records
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record, locate_in_run, write_record
from photoz.errors import CatalogueError


def make_record(pixel: int, problems: int = 0) -> Record:
    told = [
        {"stage": "estimate", "subject": f"{pixel}-{number}", "rows": 1, "tries": 2, "error": "x" * 500}
        for number in range(problems)
    ]
    return Record(6, pixel, "key", 10 + pixel, 9, f"sha {pixel}", {"NO_TILE": pixel, "NO_IMAGE": 1}, told)  # type: ignore[arg-type]


def write_records(location: str, counts: list[int]) -> list[Partition]:
    for pixel, problems in enumerate(counts):
        write_record(location, make_record(pixel, problems))
    return [Partition(6, pixel) for pixel in range(len(counts))]


def test_sums_and_failures_are_those_of_the_records(tmp_path: Path) -> None:
    partitions = write_records(str(tmp_path), [2, 0, 1])
    done = sum_up_records(str(tmp_path), partitions[::-1])
    assert done.partitions == tuple(partitions[::-1])
    assert (done.rows_of, done.sha256_of) == ((12, 11, 10), ("sha 2", "sha 1", "sha 0"))
    assert (done.rows, done.estimated, done.failures) == (33, 27, 3)
    assert done.flags == {"NO_TILE": 3, "NO_IMAGE": 3}
    failures = pq.read_table(locate_in_run(str(tmp_path), "failures.parquet"))
    assert failures["subject"].to_pylist() == ["2-0", "0-0", "0-1"]
    assert failures["pixel"].to_pylist() == [2, 0, 0]
    assert failures.schema.names == ["order", "pixel", "stage", "subject", "rows", "tries", "error"]


def test_a_run_without_failures_says_so(tmp_path: Path) -> None:
    done = sum_up_records(str(tmp_path), write_records(str(tmp_path), [0]))
    assert done.failures == pq.read_metadata(locate_in_run(str(tmp_path), "failures.parquet")).num_rows == 0


def test_a_missing_record_is_named_and_no_half_file_stays(tmp_path: Path) -> None:
    partitions = write_records(str(tmp_path), [1, 1])
    with pytest.raises(CatalogueError, match=r"partition Norder=6_Npix=9 has no completion record: run the job again"):
        sum_up_records(str(tmp_path), [*partitions, Partition(6, 9)])
    assert [file.name for file in Path(locate_in_run(str(tmp_path))).iterdir()] == ["records"]


def test_memory_does_not_grow_with_the_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """6,000 failures of half a kilobyte each, a hundred of them held at one time."""
    monkeypatch.setattr("cluster.inference.publish._GROUP", 5)
    location = f"{tmp_path}/{uuid.uuid4().hex}"
    partitions = write_records(location, [20] * 300)
    tracemalloc.start()
    try:
        done = sum_up_records(location, partitions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.failures == 6000
    assert peak < 1.5e6  # bytes; all failures at one time take 3 MB as text alone
