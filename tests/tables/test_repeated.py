"""Identifiers that several rows of a whole table have: by hashes, in parts of any format."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import photoz.tables.repeated as module
from photoz.hashes import plan_buckets
from photoz.tables import TableSurvey, open_survey_table
from photoz.tables.repeated import Identifiers, Repeated, choose_identifiers, choose_staged, find_repeated, leave_hashes
from photoz.tables.settings import Photometry

PHOTOMETRY = Photometry(column="flux_{band}", kind="flux", unit="nJy")


def make(**more: object) -> TableSurvey:
    base = {"name": "x", "bands": ("g",), "identifier": "id", "photometry": (PHOTOMETRY,)}
    return TableSurvey(**(base | more))  # type: ignore[arg-type]


def find_all(identifiers: Identifiers, parts, folder: Path, *, listed: str = "", memory_gib: float = 1.0) -> Repeated:
    """Do all tasks one after the other, as an engine would, and add up what they find."""
    rows = sum(leave_hashes(identifiers, str(folder), task) for task in enumerate(parts))
    found = [find_repeated(identifiers, listed, task) for task in plan_buckets(str(folder), rows, memory_gib)]
    first = sorted(name for each in found for name in each.first)
    return Repeated(sum(each.rows for each in found), sum(each.ids for each in found), tuple(first))


def find_in(location: str, survey: TableSurvey, folder: Path, *, positions: bool = False, **more: object) -> Repeated:
    table = open_survey_table(location, survey)
    return find_all(choose_identifiers(table, survey, positions=positions), table.parts, folder, **more)  # type: ignore[arg-type]


IDS = st.lists(st.sampled_from([f"{row:03d}" for row in range(60)]), max_size=40)


@given(parts=st.lists(IDS, min_size=1, max_size=4), memory_gib=st.sampled_from([1.0, 2e-6]), keep=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_repeated_identifier_is_found_and_listed(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]], memory_gib: float, keep: bool
) -> None:
    folder = tmp_path_factory.mktemp("staged")
    files = [str(folder / f"part-{number}.parquet") for number in range(len(parts))]
    for file, ids in zip(files, parts, strict=True):
        pq.write_table(pa.table({"object_id": pa.array(ids, pa.string()), "other": [[0.0]] * len(ids)}), file)
    listed = str(folder / "listed") if keep else ""
    found = find_all(*choose_staged(files), folder / "hashes", listed=listed, memory_gib=memory_gib)
    expected = {name: count for name, count in Counter(name for ids in parts for name in ids).items() if count > 1}
    assert (found.rows, found.ids) == (sum(expected.values()) - len(expected), len(expected))
    assert set(found.first) <= set(expected)
    assert bool(found.first) == bool(expected)
    assert (folder / "listed").exists() == (keep and bool(expected))
    if keep and expected:
        table = pq.read_table(listed)
        assert dict(zip(table["object_id"].to_pylist(), table["count"].to_pylist(), strict=True)) == expected


def test_identifiers_of_several_columns_are_found_in_csv_without_reading_photometry(tmp_path: Path) -> None:
    """Joined as the sources have them; what is no number in a column of fluxes is of no concern here."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a.csv").write_text("brick,obj,flux_g\n1,23,x\n12,3,y\n1,7,z\n")
    (tmp_path / "t" / "b.csv").write_text("brick,obj,flux_g\n1,7,x\n,9,x\n,9,x\n")
    found = find_in(str(tmp_path / "t"), make(identifier=("brick", "obj")), tmp_path / "hashes")
    assert found == Repeated(1, 1, ("1-7",))


def test_a_large_part_is_left_in_pieces_and_each_row_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a hundred million rows must not be held whole; a piece's file is not the part's a second time."""
    monkeypatch.setattr(module, "_MOST_HELD", 50_000)
    ids = np.arange(200_000)
    ids[199_999] = ids[0]
    pq.write_table(pa.table({"id": ids, "flux_g": np.ones(len(ids))}), tmp_path / "t.parquet")
    found = find_in(str(tmp_path / "t.parquet"), make(), tmp_path / "hashes")
    assert len(list((tmp_path / "hashes").glob("*.ids"))) > 2
    assert found == Repeated(1, 1, ("0",))


def test_identifiers_that_share_a_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"{module.__name__}.hash_ids", "photoz.hashes.hash_ids"):
        monkeypatch.setattr(name, lambda ids: np.zeros(len(list(ids)), np.uint64))
    pq.write_table(pa.table({"id": [1, 2, 3], "flux_g": [1.0] * 3}), tmp_path / "t.parquet")
    assert find_in(str(tmp_path / "t.parquet"), make(), tmp_path / "hashes") == Repeated()
    pq.write_table(pa.table({"id": [1, 2, 2], "flux_g": [1.0] * 3}), tmp_path / "t.parquet")
    assert find_in(str(tmp_path / "t.parquet"), make(), tmp_path / "again") == Repeated(1, 1, ("2",))


def test_of_very_many_a_few_are_looked_up_where_they_are_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOOKED_UP", 10)
    pq.write_table(pa.table({"id": [*range(50)] * 3, "flux_g": [1.0] * 150}), tmp_path / "t.parquet")
    found = find_in(str(tmp_path / "t.parquet"), make(), tmp_path / "hashes")
    assert (found.rows, found.ids, len(found.first)) == (100, 50, 5)
    listed = find_in(str(tmp_path / "t.parquet"), make(), tmp_path / "again", listed=str(tmp_path / "listed"))
    assert (listed.rows, listed.ids) == (100, 50)
    assert pq.read_table(tmp_path / "listed")["count"].to_pylist() == [3] * 50
