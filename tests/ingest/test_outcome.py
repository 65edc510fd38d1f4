"""A tile's outcome from those of its parts."""

import pytest

from photoz.ingest.outcome import PartOutcome, TileOutcome


@pytest.mark.parametrize(
    ("catalogue", "images", "status"),
    [
        ("done", "done", "done"),
        ("skipped", "skipped", "skipped"),
        ("skipped", "done", "done"),
        ("done", "skipped", "done"),
        ("failed", "done", "failed"),
        ("skipped", "failed", "failed"),
        ("failed", "no room", "no room"),
    ],
)
def test_the_worse_part_decides(catalogue: str, images: str, status: str) -> None:
    parts = {"catalogue": PartOutcome(catalogue), "images": PartOutcome(images)}  # type: ignore[arg-type]
    assert TileOutcome("T", parts).status == status


def test_a_full_disk_ends_the_tile_before_its_images() -> None:
    outcome = TileOutcome("T", {"catalogue": PartOutcome("no room", problem="no room left")})
    assert (outcome.status, outcome.problem) == ("no room", "no room left")


def test_counts_and_problems_add_up_and_the_row_has_all() -> None:
    parts = {
        "catalogue": PartOutcome("failed", problem="a is missing", sources=3, rejected=1),
        "images": PartOutcome("failed", problem="b is corrupt", bytes_read=7),
    }
    row = TileOutcome("T", parts, {"tile_s": 1.5}).to_row()
    assert row == {
        "tile": "T",
        "sources": 3,
        "rejected": 1,
        "bytes": 7,
        "catalogue": "failed",
        "images": "failed",
        "status": "failed",
        "problem": "a is missing; b is corrupt",
        "tile_s": 1.5,
    }
    assert list(row)[:6] == ["tile", "sources", "rejected", "bytes", "catalogue", "images"]
