"""Hashes of identifiers, left by parts and compared a bucket at a time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.hashes import BINS, hash_ids, list_files, pick, plan_buckets, read_bucket, write_hashes


@given(st.integers(0, 10**12), st.floats(0.1, 64))
def test_buckets_cover_all_hashes_once_and_keep_within_memory(rows: int, memory_gib: float) -> None:
    tasks = plan_buckets("folder", rows, memory_gib)
    bins = [number for task in tasks for number in range(task.start, task.stop)]
    assert bins == list(range(BINS))
    assert len(tasks) == BINS or rows * 200 / len(tasks) <= memory_gib * 2**30
    assert len(tasks) == 1 or rows * 200 / (len(tasks) - 1) > memory_gib * 2**30 * (1 - 1e-9)


@given(parts=st.lists(st.lists(st.text(max_size=3), max_size=30), max_size=4), buckets=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_buckets_hold_every_hash_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]], buckets: int
) -> None:
    folder = str(tmp_path_factory.mktemp("hashes"))
    for number, ids in enumerate(parts):
        write_hashes(f"{folder}/{number}.ids", hash_ids(ids), hash_ids(ids[:5]))
    read = [read_bucket(task, ["all", "few"]) for task in plan_buckets(folder, buckets * 2**30 // 200, 1.0)]
    for side, most in (("all", None), ("few", 5)):
        expected = {(hash_id, number) for number, ids in enumerate(parts) for hash_id in hash_ids(ids[:most])}
        hashes = np.concatenate([bucket.hashes[side] for bucket in read])
        assert len(hashes) == sum(len(ids[:most]) for ids in parts)
        found = {
            pair for bucket in read for pair in zip(bucket.hashes[side], bucket.places[side].tolist(), strict=True)
        }
        assert found == expected


@pytest.mark.parametrize("buckets", [1, 3, 100])
def test_parts_of_many_and_of_few_rows_are_read_alike(tmp_path: Path, buckets: int) -> None:
    """Only those of many have the bounds of all stretches in front."""
    sizes = {"few": 3, "many": 5 * BINS, "none": 0}
    for name, size in sizes.items():
        write_hashes(str(tmp_path / f"{name}.ids"), hash_ids(f"{name} {n}" for n in range(size)), hash_ids([]))
    assert (tmp_path / "few.ids").stat().st_size < 100
    read = [read_bucket(task, ["all", "nothing"]) for task in plan_buckets(str(tmp_path), buckets * 2**30 // 201, 1.0)]
    assert len(read) == buckets
    for place, (name, size) in enumerate(sorted(sizes.items())):
        found = np.concatenate([bucket.hashes["all"][bucket.places["all"] == place] for bucket in read])
        assert found.tolist() == sorted(hash_ids(f"{name} {n}" for n in range(size)).tolist())
    assert not any(len(bucket.hashes["nothing"]) for bucket in read)


def test_hashes_are_those_of_every_machine() -> None:
    """Files of hashes are read by workers on other hosts: the values must not depend on process or machine."""
    assert hash_ids(["a", "1-2"]).tolist() == [3405396810240292928, 16839482154046229290]


def test_only_files_with_such_a_hash_are_looked_through(tmp_path) -> None:
    for name, ids in (("a", ["1", "2"]), ("b", ["3"]), ("c", ["2"])):
        write_hashes(str(tmp_path / f"{name}.ids"), hash_ids(ids))
    [task] = plan_buckets(str(tmp_path), 4, 1.0)
    bucket = read_bucket(task, ["ids"])
    assert list_files(bucket, "ids", hash_ids(["2"])) == [str(tmp_path / "a.ids"), str(tmp_path / "c.ids")]


def test_what_is_picked_is_text_whatever_it_was() -> None:
    batches = [pa.array([1, 2, None]), pa.chunked_array([["1"], ["2", "1"]]), pa.array([], pa.string())]
    assert pick(batches, hash_ids(["1", None])).to_pylist() == ["1", "None", "1", "1"]
