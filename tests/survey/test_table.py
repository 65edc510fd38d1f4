"""Columns of a FITS table: what is read, and that damage is refused or changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_survey import make_catalogue, write_catalogue

from photoz.errors import SurveyFileError
from photoz.survey.table import FitsTable, list_columns, read_table

COLUMNS = {"ID": "a", "RAJ2000": "b", "MAG_AUTO": "c", "SG_FLAG": "d"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t_cat.fits"
    write_catalogue(path, make_catalogue("180.0_-0.5", 30, width_deg=0.05, seed=1))
    return path


def assert_same(found: FitsTable, expected: FitsTable) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(found.columns[name], expected.columns[name])


def test_columns_come_as_they_were_written(path: Path) -> None:
    written, table = make_catalogue("180.0_-0.5", 30, width_deg=0.05, seed=1), read_table(str(path), COLUMNS)
    assert (table.name, len(table), set(table.columns)) == ("t_cat.fits", 30, set(COLUMNS))
    assert table.columns["ID"].tolist() == [str(value) for value in written["ID"]]
    np.testing.assert_array_equal(table.columns["RAJ2000"], written["RAJ2000"])
    assert {name: values.dtype.str for name, values in table.columns.items() if name != "ID"} == {
        "RAJ2000": "<f8",
        "MAG_AUTO": "<f4",
        "SG_FLAG": "<i4",
    }
    assert table.primary["DMAG_R"] == 0.03
    assert list_columns(str(path)) == list(written.colnames)


def test_blanks_at_the_end_of_text_do_not_count(tmp_path: Path) -> None:
    column = fits.Column(name="ID", format="8A", array=np.array(["a", " b", "c  "]))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "t.fits")
    assert read_table(str(tmp_path / "t.fits"), {"ID": "x"}).columns["ID"].tolist() == ["a", " b", "c"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_refused_or_changes_no_value(path: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / "flipped.fits").write_bytes(bytes(content))
    try:
        found = read_table(str(tmp_path / "flipped.fits"), COLUMNS)
    except SurveyFileError:
        return
    assert_same(found, read_table(str(path), COLUMNS))


@pytest.mark.parametrize("lost", [1, 2880, 5760])
def test_a_table_cut_short_is_named(path: Path, tmp_path: Path, lost: int) -> None:
    (tmp_path / "short.fits").write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(SurveyFileError, match=r"short\.fits is truncated: \d+ bytes, and its header promises 17280"):
        read_table(str(tmp_path / "short.fits"), COLUMNS)


def test_a_wrong_sum_is_told_with_both_numbers(path: Path, tmp_path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4000] ^= 1
    (tmp_path / "wrong.fits").write_bytes(bytes(content))
    stated = fits.getheader(path, 1)["DATASUM"]
    with pytest.raises(SurveyFileError, match=rf"wrong\.fits is corrupt: DATASUM is {stated} and its data sum to \d+;"):
        read_table(str(tmp_path / "wrong.fits"), COLUMNS)


def test_a_header_that_does_not_fit_its_checksum_is_refused(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    (tmp_path / "header.fits").write_bytes(content.replace(b"'MAG_AUTO'", b"'MAG_AUTU'"))
    with pytest.raises(SurveyFileError, match=r"header\.fits is corrupt: its header and data do not fit CHECKSUM"):
        read_table(str(tmp_path / "header.fits"), {"ID": "a"})


@pytest.mark.parametrize("removed", [("DATASUM", "CHECKSUM"), ("DATASUM",), ("CHECKSUM",)], ids="-".join)
@pytest.mark.parametrize("empty", [False, True])
def test_sums_that_are_not_stated_are_not_asked_for(
    path: Path, tmp_path: Path, removed: tuple[str, ...], empty: bool
) -> None:
    content = path.read_bytes()
    for key in removed:
        start = content.index(key.encode(), content.index(b"XTENSION"))
        card = content[start : start + 80]
        content = content.replace(card, f"{key:8}= ''".ljust(80).encode() if empty else b"COMMENT".ljust(80))
    (tmp_path / "unstated.fits").write_bytes(content)
    assert_same(read_table(str(tmp_path / "unstated.fits"), COLUMNS), read_table(str(path), COLUMNS))


def test_a_column_that_is_not_there_is_named_with_its_setting(path: Path) -> None:
    with pytest.raises(SurveyFileError, match=r"t_cat\.fits lacks the column MAG_W1 \(survey\.columns\.mag\)"):
        read_table(str(path), {"ID": "x", "MAG_W1": "survey.columns.mag"})
