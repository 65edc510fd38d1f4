"""Completion records: written and read back, in order and all at once, from disks and stores."""

import json
import time
import uuid
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from photoz.catalogue.hats import Partition
from photoz.catalogue.records import (
    PastRun,
    Record,
    has_records,
    list_begun_records,
    locate_in_run,
    locate_record,
    read_past_run,
    read_record,
    read_records,
    read_run_file,
    scan_records,
    write_record,
)
from photoz.errors import PhotozError
from photoz.storage import write_json


@pytest.fixture(params=["disk", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "cat[1]") if request.param == "disk" else f"memory://{uuid.uuid4().hex}/cat[1]"


def make_record(pixel: int) -> Record:
    problems: list[dict[str, str | int]] = [{"stage": "read", "subject": "tile", "rows": pixel, "tries": 1}]
    return Record(5, pixel, f"key {pixel}", 10, 9, "5e", {"NO_IMAGE": 1}, problems, {"read_stage_s": 0.5}, "host:1")


def test_a_record_is_read_as_it_was_written(location: str) -> None:
    record = make_record(7)
    assert read_record(location, record.partition) is None
    assert not has_records(location)
    write_record(location, replace(record, shared=True))
    assert has_records(location)
    assert read_record(location, record.partition) == record  # that it was found finished is nothing to write down


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_many_are_read_in_the_order_asked_for(count: int) -> None:
    location = f"memory://{uuid.uuid4().hex}"
    for pixel in range(0, count, 2):
        write_record(location, make_record(pixel))
    partitions = [Partition(5, pixel) for pixel in reversed(range(count))]
    found = list(read_records(location, partitions))
    assert found == [None if part.pixel % 2 else make_record(part.pixel) for part in partitions]


@pytest.mark.parametrize("content", [b"", b'{"order": 3, "pix', b"[]", b'{"order": 3}', b"\xff"])
def test_what_cannot_be_read_is_as_if_not_done(location: str, content: bytes) -> None:
    write_record(location, make_record(1))
    write_record(location, make_record(2))
    with fsspec.open(locate_record(location, Partition(5, 1)), "wb") as file:
        file.write(content)
    assert list(read_records(location, [Partition(5, 1), Partition(5, 2)])) == [None, make_record(2)]
    assert [record for record, _ in scan_records(location)] == [make_record(2)]


def test_a_store_that_does_not_answer_is_not_taken_for_work_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"memory://{uuid.uuid4().hex}"
    write_record(location, make_record(1))

    def fail(*_: object, **__: object) -> bytes:
        raise TimeoutError("no answer")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    with pytest.raises(TimeoutError, match="no answer"):
        list(read_records(location, [Partition(5, 1)]))


def test_a_scan_finds_all_with_their_times(location: str) -> None:
    assert list(scan_records(location)) == []
    before = time.time()
    for pixel in (3, 1):
        write_record(location, make_record(pixel))
    found = {record.pixel: when for record, when in scan_records(location)}
    assert found.keys() == {1, 3}
    told = [when for when in found.values() if when]  # fsspec's memory tells no time of change
    assert all(before - 1 <= when <= time.time() + 1 for when in told)
    assert len(told) == (0 if location.startswith("memory") else 2)


def test_begun_records_are_no_records(tmp_path: Path) -> None:
    location = str(tmp_path)
    write_record(location, make_record(1))
    begun = Path(locate_in_run(location, "records"), ".x.json.0.part")
    begun.write_bytes(b"{")
    assert list_begun_records(location) == [str(begun)]
    assert [record.pixel for record, _ in scan_records(location)] == [1]


def test_files_of_the_run_folder(location: str) -> None:
    assert read_past_run(location) == PastRun()
    assert read_run_file(location, "owner.json") == {}
    record = {"rows": 3, "started": "today", "this_run": {"seconds": 5.5}, "estimator": "models/knn"}
    record |= {"run": "dr4", "versions": {"photoz": "1"}, "config": None}
    write_json(locate_in_run(location, "run.json"), record)
    assert read_run_file(location, "run.json") == record
    assert read_past_run(location) == PastRun("today", 5.5, "models/knn", "dr4", {"photoz": "1"})
    with fsspec.open(locate_in_run(location, "run.json"), "wb") as file:
        file.write(json.dumps({"rows": 3}).encode()[:-1])
    assert read_run_file(location, "run.json") == {}
    with pytest.raises(PhotozError, match="is not JSON"):
        read_past_run(location)


@pytest.mark.parametrize("content", [[], 3, {}, {"rows": 3}, {"started": 5, "this_run": None, "estimator": ["knn"]}])
def test_a_run_record_of_another_make_tells_nothing(location: str, content: object) -> None:
    write_json(locate_in_run(location, "run.json"), content)
    assert read_past_run(location) == PastRun()
