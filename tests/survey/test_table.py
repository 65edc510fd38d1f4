"""Columns of a FITS table: what is read, and that damage is refused or changes nothing."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
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


@pytest.mark.parametrize("lost", [2880, 5760])
def test_a_table_cut_short_is_named(path: Path, tmp_path: Path, lost: int) -> None:
    (tmp_path / "short.fits").write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(SurveyFileError, match=r"short\.fits is truncated: \d+ bytes, and its header promises 17280"):
        read_table(str(tmp_path / "short.fits"), COLUMNS)


def test_a_last_block_that_is_not_filled_up_costs_nothing(path: Path, tmp_path: Path) -> None:
    with fits.open(path) as units:
        end = units[1].fileinfo()["datLoc"] + units[1].size
    (tmp_path / "unpadded.fits").write_bytes(path.read_bytes()[:end])
    assert_same(read_table(str(tmp_path / "unpadded.fits"), COLUMNS), read_table(str(path), COLUMNS))
    (tmp_path / "short.fits").write_bytes(path.read_bytes()[: end - 1])
    with pytest.raises(SurveyFileError, match="is truncated"):
        read_table(str(tmp_path / "short.fits"), COLUMNS)


def test_gzip_is_unpacked_and_damage_told(path: Path, tmp_path: Path) -> None:
    packed = gzip.compress(path.read_bytes())
    for name in ("t.fits.gz", "t.fits"):
        (tmp_path / name).write_bytes(packed)
        assert_same(read_table(str(tmp_path / name), COLUMNS), read_table(str(path), COLUMNS))
        assert list_columns(str(tmp_path / name)) == list_columns(str(path))
    (tmp_path / "t.fits").write_bytes(packed[:-100])
    with pytest.raises(SurveyFileError, match=r"t\.fits cannot be unpacked: .*; fetch it again"):
        read_table(str(tmp_path / "t.fits"), COLUMNS)


def test_ldac_is_read_past_the_header_of_its_image(path: Path, tmp_path: Path) -> None:
    header = fits.BinTableHDU.from_columns([fits.Column("Field Header Card", "9A", array=["SIMPLE  ="])])
    header.name = "LDAC_IMHEAD"
    with fits.open(path) as units:
        fits.HDUList([units[0].copy(), header, units[1].copy()]).writeto(tmp_path / "ldac.fits")
    assert_same(read_table(str(tmp_path / "ldac.fits"), COLUMNS), read_table(str(path), COLUMNS))


def test_a_table_that_fpack_has_packed_says_so(path: Path, tmp_path: Path) -> None:
    with fits.open(path) as units:
        units[1].header["ZTABLE"] = True
        units.writeto(tmp_path / "packed.fits")
    with pytest.raises(SurveyFileError, match=r"packed by fpack \(ZTABLE\): unpack it with funpack"):
        read_table(str(tmp_path / "packed.fits"), COLUMNS)


@pytest.mark.parametrize("scale", [None, 0.001])
def test_whole_numbers_that_stand_for_none_are_known(tmp_path: Path, scale: float | None) -> None:
    column = fits.Column("m", "I", array=np.array([20000, -32768, 21000], np.int16), null=-32768)
    unit = fits.BinTableHDU.from_columns([column])
    if scale:
        unit.header["TSCAL1"] = scale
    unit.writeto(tmp_path / "t.fits")
    found = read_table(str(tmp_path / "t.fits"), {"m": "x"})
    if scale:
        np.testing.assert_allclose(found.columns["m"], [20.0, np.nan, 21.0])
    else:
        assert found.nulls["m"].tolist() == [False, True, False]


@pytest.mark.parametrize("nothing", ["", "NaN", "-99.9"])
def test_numbers_of_a_text_table_are_missing_where_nothing_stands(tmp_path: Path, nothing: str) -> None:
    columns = [fits.Column("m", "F9.4", array=[20.0, 1.0, 21.0], ascii=True)]
    unit = fits.TableHDU.from_columns([*columns, fits.Column("ID", "A3", array=["a", "b", "c"], ascii=True)])
    unit.header["TNULL1"] = nothing
    unit.writeto(tmp_path / "t.fits")
    content = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(content.replace(b"   1.0000", nothing.rjust(9).encode()))
    found = read_table(str(tmp_path / "t.fits"), {"m": "x", "ID": "y"})
    np.testing.assert_array_equal(found.columns["m"], [20.0, np.nan, 21.0])
    assert found.columns["ID"].tolist() == ["a", "b", "c"]


def test_the_remedies_for_checksums_help(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes().replace(b"'MAG_AUTO'", b"'MAG_AUTU'")
    (tmp_path / "t.fits").write_bytes(content)
    with pytest.raises(SurveyFileError, match="remove CHECKSUM from its header if that was edited since"):
        read_table(str(tmp_path / "t.fits"), {"ID": "a"})
    fits.delval(tmp_path / "t.fits", "CHECKSUM", 1)
    assert len(read_table(str(tmp_path / "t.fits"), {"ID": "a"})) == 30
    content = (tmp_path / "t.fits").read_bytes()
    start = content.index(b"DATASUM =", content.index(b"XTENSION"))
    wrong = content[:start] + b"DATASUM = 'none    '".ljust(80) + content[start + 80 :]
    (tmp_path / "t.fits").write_bytes(wrong)
    with pytest.raises(SurveyFileError, match="which is no number: remove DATASUM and CHECKSUM from it"):
        read_table(str(tmp_path / "t.fits"), {"ID": "a"})
    fits.delval(tmp_path / "t.fits", "DATASUM", 1)
    assert len(read_table(str(tmp_path / "t.fits"), {"ID": "a"})) == 30


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


def test_the_nearest_names_are_told_of_a_column_that_is_not_there(path: Path) -> None:
    with pytest.raises(SurveyFileError, match=r"lacks the column id \(survey\.columns\.object_id; nearest: ID\)"):
        read_table(str(path), {"id": "survey.columns.object_id"})


def test_text_in_latin_1_or_utf_8_is_read(tmp_path: Path) -> None:
    """FITS knows ASCII alone, and people write what they like."""
    names = ["XY001", "XY002"]
    for number, raw in enumerate((b"\xe9\xe8", "é".encode())):
        location = tmp_path / f"{number}.fits"
        Table({"ID": names, "MAG": [1.0, 2.0]}).write(location)
        location.write_bytes(location.read_bytes().replace(b"XY", raw))
        expected = [name.replace("XY", raw.decode("latin-1" if number == 0 else "utf-8")) for name in names]
        assert read_table(str(location), {"ID": "x", "MAG": "y"}).columns["ID"].tolist() == expected


def test_a_second_table_of_the_same_columns_is_refused(path: Path, tmp_path: Path) -> None:
    with fits.open(path) as units:
        fits.HDUList([units[0].copy(), units[1].copy(), units[1].copy()]).writeto(tmp_path / "two.fits")
    with pytest.raises(SurveyFileError, match=r"two.fits has further tables of the columns of table 1: 2 "):
        read_table(str(tmp_path / "two.fits"), COLUMNS)


def test_a_frame_that_cannot_be_read_is_told_by_the_file(path: Path, tmp_path: Path) -> None:
    with fits.open(path) as units:
        units[1].header["RADESYS"] = ("ICRS", "with a comment")
        for key in ("DATASUM", "CHECKSUM"):
            units[1].header.remove(key, ignore_missing=True)
        units.writeto(tmp_path / "frame.fits")
    content = (tmp_path / "frame.fits").read_bytes()
    (tmp_path / "frame.fits").write_bytes(content.replace(b"RADESYS = 'ICRS", b"RADESYS = \0ICRS"))
    with pytest.raises(SurveyFileError, match=r"frame.fits is no valid FITS table: .*RADESYS.*; fetch it again"):
        read_table(str(tmp_path / "frame.fits"), COLUMNS)
