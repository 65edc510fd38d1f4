"""Ids compared one to one within a partition, and by their hashes over the whole catalogue."""

from pathlib import Path

from audited import make_sample
from hypothesis import given
from hypothesis import strategies as st

from photoz.audit.ids import audit_ids, compare_ids, locate_spill, spill_ids
from photoz.catalogue.hats import Partition
from photoz.hashes import BINS, BucketTask

IDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@given(found=IDS, expected=IDS)
def test_comparing_ids_counts_each(found: list[str], expected: list[str]) -> None:
    missing, extra = compare_ids(found, expected)
    assert sorted(found + missing) == sorted(expected + extra)
    assert not set(missing) & set(extra)


def spill(folder: Path, found: dict[int, list[str]], expected: dict[int, list[str]]) -> list[BucketTask]:
    """Leave the hashes of partitions, by pixel, as their tasks would."""
    for pixel in {*found, *expected}:
        location = locate_spill(str(folder), Partition(order=3, pixel=pixel))
        spill_ids(location, found.get(pixel, []), expected.get(pixel, []))
    return [BucketTask(str(folder), start, start + BINS // 4) for start in range(0, BINS, BINS // 4)]


def list_checks(folder: Path, found: dict[int, list[str]], expected: dict[int, list[str]]) -> list[tuple[str, int]]:
    """Check and count of what is found; no partition can be read, so that hashes alone speak."""
    tasks = spill(folder, found, expected)
    return [(each.check, each.count) for task in tasks for each in audit_ids(str(folder), str(folder), task)]


def test_ids_that_agree_give_no_finding(tmp_path: Path) -> None:
    assert list_checks(tmp_path, {1: ["a", "b"], 2: ["c"]}, {1: ["b", "a"], 2: ["c"]}) == []


def test_lost_and_unknown_ids_are_told_apart_from_moved_ones(tmp_path: Path) -> None:
    assert list_checks(tmp_path / "lost", {1: ["a"]}, {1: ["a", "b"]}) == [("lost ids", 1)]
    assert list_checks(tmp_path / "unknown", {1: ["a", "b"]}, {1: ["a"]}) == [("unknown ids", 1)]
    assert list_checks(tmp_path / "moved", {1: ["a"], 2: ["b", "c"]}, {1: ["a", "b"], 2: ["c"]}) == [
        ("misplaced ids", 1)
    ]


def test_duplicates_are_looked_up_in_the_partitions_and_named(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    first, second = sample.partitions[:2]
    twice = sample.read(first)["object_id"][0].as_py()
    found = {part.pixel: sample.read(part)["object_id"].to_pylist() for part in (first, second)}
    for part in (first, second):
        ids = found[part.pixel]
        spill_ids(locate_spill(str(tmp_path / "spill"), part), [*ids, *([twice] if part == first else [])], ids)
    # A file that holds it twice as the hashes say.
    rows = sample.read(first)
    sample.write(first, rows.take([0, *range(len(rows))]))
    findings = audit_ids(sample.catalogue, sample.sources, BucketTask(str(tmp_path / "spill"), 0, BINS))
    assert [(each.check, each.ids, each.partition) for each in findings] == [("duplicate ids", (twice,), first.name)]
    assert "the sources do not" in findings[0].detail
