"""Rows of two tables compared by object_id, and rows read whatever their state."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from audited import make_sample

from photoz.audit.columns import find_duplicates, find_unequal_rows, read_rows
from photoz.errors import CatalogueError


def test_rows_are_compared_by_id_with_nan_equal_to_nan() -> None:
    found = pa.table({"object_id": ["a", "b", "c", "d", "d"], "mag": [1.0, np.nan, 3.0, 4.0, 4.0]})
    expected = pa.table({"object_id": ["d", "c", "b", "a"], "mag": [0.0, np.nan, np.nan, 1.0]})
    assert find_unequal_rows(found, expected, ["mag"]) == ["c"]  # d comes twice: which row is it?


def test_lists_are_compared_by_id() -> None:
    kind = pa.list_(pa.field("element", pa.uint16(), nullable=False), 2)
    found = pa.table({"object_id": ["a", "b", "c"], "q": pa.array([[1, 2], [3, 4], [65535, 65535]], kind)})
    expected = pa.table({"object_id": ["c", "b", "a"], "q": pa.array([[65535, 65535], [3, 5], [1, 2]], kind)})
    assert find_unequal_rows(found.slice(1), expected, ["q"]) == ["b"]
    assert find_unequal_rows(found.slice(0, 0), expected, ["q"]) == []


def test_any_damage_to_a_file_is_one_error(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    partition = sample.partitions[0]
    file = Path(sample.locate(partition))
    whole = file.read_bytes()
    assert len(read_rows(sample.catalogue, partition, columns=["z_phot"])) == len(sample.read(partition))
    for content in (b"", whole[:-20], whole[: len(whole) // 2], b"PAR1" + bytes(200) + b"PAR1"):
        file.write_bytes(content)
        with pytest.raises(CatalogueError):
            read_rows(sample.catalogue, partition)


def test_duplicates_are_sorted_and_named_once() -> None:
    assert find_duplicates(pa.chunked_array([["b", "a"], ["b", "b", "c", "c"]])) == ["b", "c"]
    assert find_duplicates(pa.chunked_array([], pa.string())) == []


def test_lists_of_any_length_are_compared_by_id() -> None:
    """As damaged rows may have: one of no values, one that is null, one whose value is."""
    kind = pa.list_(pa.field("element", pa.uint16()))
    rows = [[1, 2], [], [3], None, [None, 4], None, [5], [6, None]]
    other = [[1, 2], [], [3, 4], None, [None, 4], [7], [8], [None, 6]]
    ids = list("abcdefgh")
    found = pa.table({"object_id": ids, "q": pa.array(rows, kind)})
    expected = pa.table({"object_id": ids, "q": pa.array(other, kind)})
    assert find_unequal_rows(found, expected, ["q"]) == ["c", "f", "g", "h"]
    assert find_unequal_rows(found.take([1, 0]), expected, ["q"]) == []
