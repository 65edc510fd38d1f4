"""Names of files: templates with places, globs and bands, and what a tile has and lacks."""

import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import ConfigError, SurveyFileError
from photoz.survey.files import _match_template, _translate_glob, find_tiles
from photoz.survey.settings import Survey

SURVEY = Survey(image_bands=("g", "r"))
NAMES = st.text(
    st.characters(codec="ascii", categories=("L", "N", "P", "S"), exclude_characters="*?[]{}/\\"), max_size=12
)


def touch(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def change(**settings: object) -> Survey:
    return msgspec.structs.replace(SURVEY, **settings)


@given(NAMES, NAMES)
def test_what_is_no_pattern_stands_for_itself(name: str, other: str) -> None:
    assert re.fullmatch(_translate_glob(name), name)
    assert bool(re.fullmatch(_translate_glob(name), other)) == (name == other)


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("DR4.[01]", ["DR4.0", "DR4.1"], ["DR4.2", "DR4x0", "DR4.01"]),
        ("DR4.[!0]", ["DR4.1", "DR4.9"], ["DR4.0"]),
        ("cat?.fits", ["cat1.fits", "catX.fits"], ["cat.fits", "cat12.fits"]),
        ("a*z", ["az", "abcz", "a.z"], ["abc", "bz"]),
        ("(a|b)+", ["(a|b)+"], ["a", "aab"]),
    ],
)
def test_globs_match_as_they_do_in_a_shell(pattern: str, matches: list[str], others: list[str]) -> None:
    expression = re.compile(_translate_glob(pattern))
    assert all(expression.fullmatch(name) for name in matches)
    assert not any(expression.fullmatch(name) for name in others)


@given(st.decimals(0, 360, places=1), st.decimals(-90, 90, places=1))
def test_places_are_read_as_they_are_written(ra, dec) -> None:
    name = f"T_{ra}_{dec}_x.fits"
    found = _match_template([(name, f"folder/{name}"), ("T_nowhere_x.fits", "")], "T_{ra}_{dec}_x.fits")
    assert found == [((("ra", str(ra)), ("dec", str(dec))), f"folder/{name}")]


@pytest.mark.parametrize("name", ["T_1_2.fits", "T_1.5_-2.5.fits", "T_1_+2.fits", "T_1_2.fits.fz"])
def test_whole_and_signed_degrees_and_packed_files_are_places_too(name: str) -> None:
    assert len(_match_template([(name, name)], "T_{ra}_{dec}.fits")) == 1


@pytest.mark.parametrize("name", ["T_-1_2.fits", "T_1._2.fits", "T_1_2.fits.bz2", "xT_1_2.fits", "T_1_2.fits.fz.fz"])
def test_what_is_no_place_or_no_fits_is_none(name: str) -> None:
    assert _match_template([(name, name)], "T_{ra}_{dec}.fits") == []


def test_a_folder_named_by_its_tile_repeats_the_place(tmp_path: Path) -> None:
    survey = change(image_file="{ra}_{dec}/T_{ra}_{dec}_{band}.fits", mask_file="", catalogue_file="{ra}_{dec}/c.fits")
    names = ["10.0_-1.5/T_10.0_-1.5_g.fits", "10.0_-1.5/T_10.0_-1.5_r.fits", "10.0_-1.5/c.fits"]
    folder = touch(tmp_path, *names, "10.0_-1.5/T_11.0_-1.5_g.fits")  # lies in another tile's folder
    (tile,) = find_tiles(survey, folder)
    assert (tile.places, sorted(tile.images), tile.missing) == ({"ra": "10.0", "dec": "-1.5"}, ["g", "r"], ())
    assert tile.catalogue == f"{folder}/10.0_-1.5/c.fits"


@pytest.mark.parametrize(
    ("setting", "text", "unknown"),
    [
        ("image_file", "{tile}_{band}.fits", "tile"),
        ("catalogue_file", "cat_{ra}_{field}.fits", "field"),
        ("mask_file", "{ra}_{dec}_{patch}.fits", "patch"),
        ("catalogue_file", "{ra}_{dec}_{band}.fits", "band"),
        ("mask_file", "{ra}_{dec}_{Band}.fits", "Band"),
        ("tile", "T_{RA}", "RA"),
    ],
)
def test_a_placeholder_that_there_is_not_is_named_with_its_setting(
    tmp_path: Path, setting: str, text: str, unknown: str
) -> None:
    folder = touch(tmp_path, "KiDS_DR4.0_10.0_0.5_r_sci.fits")
    with pytest.raises(ConfigError, match=rf"survey\.{setting} = .*\{{{unknown}\}}.*\{{ra\}}, \{{dec\}}"):
        find_tiles(change(**{setting: text}), folder)


def test_of_a_plain_and_a_packed_file_the_packed_one_is_read(tmp_path: Path) -> None:
    folder = touch(tmp_path, "KiDS_DR4.0_10.0_0.5_r_sci.fits", "KiDS_DR4.0_10.0_0.5_r_sci.fits.fz")
    (tile,) = find_tiles(SURVEY, folder)
    assert tile.images == {"r": f"{folder}/KiDS_DR4.0_10.0_0.5_r_sci.fits.fz"}


def test_a_tile_of_masks_alone_is_one_that_lacks_everything_else(tmp_path: Path) -> None:
    (tile,) = find_tiles(SURVEY, touch(tmp_path, "KiDS_DR4.0_10.0_0.5_g_msk.fits"))
    assert (tile.name, tile.images, list(tile.masks), tile.catalogue) == ("KIDS_10.0_0.5", {}, ["g"], "")
    assert tile.missing == (
        "KiDS_DR4.0_10.0_0.5_g_sci.fits",
        "KiDS_DR4.0_10.0_0.5_r_sci.fits",
        "KiDS_DR4.0_10.0_0.5_r_msk.fits",
        "KiDS_DR4.[01]_10.0_0.5_ugriZYJHKs_cat.fits",
    )


def test_weights_are_looked_for_only_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = touch(tmp_path, "KiDS_DR4.0_10.0_0.5_g_sci.fits", "KiDS_DR4.0_10.0_0.5_g_wei.fits")
    (without,) = find_tiles(SURVEY, folder)
    (with_weights,) = find_tiles(SURVEY, folder, weights=True)
    assert without.weights == {}
    assert not any("_wei" in name for name in without.missing)
    assert list(with_weights.weights) == ["g"]
    assert "KiDS_DR4.0_10.0_0.5_r_wei.fits" in with_weights.missing
    assert replace(with_weights, weights={}, missing=()) == replace(without, missing=())


def test_a_slash_at_the_folders_end_changes_nothing(tmp_path: Path) -> None:
    folder = touch(tmp_path, "deep/er/KiDS_DR4.0_10.0_0.5_g_sci.fits")
    survey = change(image_file="deep/er/KiDS_DR4.0_{ra}_{dec}_{band}_sci.fits")
    assert find_tiles(survey, f"{folder}/") == find_tiles(survey, folder)


def test_tiles_come_sorted_by_name_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    places = ["9.0_1.0", "10.0_1.0", "100.0_-1.0"]
    folder = touch(tmp_path, *(f"KiDS_DR4.0_{place}_g_sci.fits" for place in places))
    assert [tile.name for tile in find_tiles(SURVEY, folder)] == sorted(f"KIDS_{place}" for place in places)


def test_a_folder_of_other_files_tells_which_names_and_settings(tmp_path: Path) -> None:
    with pytest.raises(
        SurveyFileError, match=r"'KiDS_DR4.0_180.0_-0.5_g_sci.fits' are looked for; set locations.survey"
    ):
        find_tiles(SURVEY, touch(tmp_path, "notes.txt"))
    with pytest.raises(SurveyFileError, match=r"missing or empty: set locations\.survey, or run jobs/simulate_survey"):
        find_tiles(SURVEY, str(tmp_path / "nowhere"))
