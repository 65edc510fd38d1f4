"""A survey's file held against a table's columns: which are read, what may be lacking, what is told of a wrong one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import ConfigError
from photoz.tables.columns import choose_columns, find_bands
from photoz.tables.load import load_survey, make_survey
from photoz.tables.settings import TableSurvey

FLUX = {"kind": "flux", "unit": "nJy", "column": "flux_{band}", "error": "fluxerr_{band}"}
MAG = {"kind": "mag", "column": "mag_{band}", "error": "magerr_{band}"}


def make(**values: Any) -> TableSurvey:
    base = {"name": "x", "bands": ["g", "r"], "identifier": "id", "photometry": FLUX}
    return make_survey({key: value for key, value in (base | values).items() if value is not None})


def name(*bands: str, prefix: str = "flux") -> list[str]:
    return [f"{kind}_{band}" for band in bands for kind in (prefix, f"{prefix}err")]


def test_only_what_is_named_is_read_and_each_column_says_which_setting_names_it() -> None:
    survey = make(ra="ra", dec="dec", z_spec="z", cuts=["flux_g > 0 and star < 0.5"], carry=["star", "note"])
    there = ["note", "star", "z", "dec", "ra", "id", "other", *name("g", "r", "i")]
    assert choose_columns(survey, there).columns == {
        "id": "identifier",
        "ra": "ra",
        "dec": "dec",
        "flux_g": "photometry.column, band g",
        "fluxerr_g": "photometry.error, band g",
        "flux_r": "photometry.column, band r",
        "fluxerr_r": "photometry.error, band r",
        "z": "z_spec",
        "star": "cuts: flux_g > 0 and star < 0.5",
        "note": "carry",
    }


@pytest.mark.parametrize("bands", [("r",), ("r", "g")])
def test_bands_are_read_in_the_order_in_which_they_are_asked_for(bands: tuple[str, ...]) -> None:
    found = choose_columns(make(), ["id", *name("g", "r")], bands)
    assert found.bands == bands
    assert [column for column in found.columns if column.startswith("flux_")] == [f"flux_{band}" for band in bands]


@pytest.mark.parametrize("bands", [(), ("K",), ("g", "g"), ("G",)])
def test_bands_that_the_survey_lacks_or_that_come_twice_are_refused(bands: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"survey x has \['g', 'r'\]: name some of these, each once"):
        choose_columns(make(), ["id", *name("g", "r")], bands)


@given(st.permutations(["u", "g", "r", "i", "z", "y", "J", "Ks", "W1"]), st.integers(1, 9))
def test_bands_of_known_wavelength_are_found_in_its_order(bands: list[str], count: int) -> None:
    chosen = bands[:count]
    found = choose_columns(make(bands=None), ["id", *name(*chosen)]).bands
    assert found == tuple(band for band in ("u", "g", "r", "i", "z", "y", "J", "Ks", "W1") if band in chosen)


def test_a_band_of_unknown_wavelength_leaves_all_in_the_order_of_the_table() -> None:
    assert choose_columns(make(bands=None), ["id", *name("r", "f115w", "g")]).bands == ("r", "f115w", "g")


def test_a_column_that_only_looks_like_a_band_is_none() -> None:
    survey = make(bands=None, photometry=MAG, total={"kind": "mag", "column": "mag_auto", "error": "magerr_auto"})
    there = ["id", *name("g", "auto", prefix="mag"), "mag_radius", "amag_g", "mag_g_2", "MAG_r", "magerr_r"]
    assert choose_columns(survey, there).bands == ("g",)
    # Of a table without any error all that fits may be a band, and the survey must say that errors may lack.
    assert choose_columns(make(bands=None, optional=["errors"]), ["id", "flux_g", "flux_r"]).bands == ("g", "r")


def test_a_table_without_a_band_names_the_patterns_that_were_looked_for() -> None:
    with pytest.raises(ConfigError, match=r"has no column like flux_\{band\} or mag_\{band\}: survey x finds"):
        choose_columns(make(bands=None, photometry=[FLUX, MAG]), ["id", "FLUX_G"])


def test_of_several_photometries_the_first_whole_one_is_read() -> None:
    survey = make(photometry=[FLUX, MAG])
    assert choose_columns(survey, ["id", *name("g", "r", prefix="mag")]).photometry.kind == "mag"
    assert choose_columns(survey, ["id", *name("g", "r"), *name("g", "r", prefix="mag")]).photometry.kind == "flux"
    # Half of one is none: bands of a table are measured alike.
    there = ["id", *name("g"), *name("g", "r", prefix="mag")]
    assert choose_columns(survey, there).photometry.kind == "mag"


def test_where_none_is_whole_the_message_is_of_the_nearest_to_it() -> None:
    with pytest.raises(ConfigError, match=r"lacks 1 of the columns .*: magerr_r \(photometry\.error, band r") as told:
        choose_columns(make(photometry=[FLUX, MAG]), ["id", *name("g", prefix="mag"), "mag_r"])
    assert "flux" not in str(told.value)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (["ID", *name("g", "r")], r"id \(identifier; nearest: ID\)"),
        (["id", "flux_g", "fluxerr_g", "fluxr", "fluxerr_r"], r"flux_r \(photometry\.column, band r; nearest: .*fluxr"),
        (["zzz", *name("g", "r")], r"id \(identifier\)\. Correct the survey's file to the table's names"),
        ([], "the table lacks 5 of the columns that survey 'x' names"),
    ],
)
def test_a_missing_column_is_told_with_its_setting_and_the_nearest(there: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        choose_columns(make(), there)


OPTIONAL = {
    "position": ({"ra": "RA", "dec": "DEC"}, ["RA", "DEC"]),
    "total": ({"total": {"kind": "mag", "column": "MT", "error": "MTE"}}, ["MT", "MTE"]),
    "tile": ({"tile": "T"}, ["T"]),
    "z_spec": ({"z_spec": "Z", "z_quality": "Q"}, ["Z", "Q"]),
    "carry": ({"carry": ["C", "D"]}, ["C", "D"]),
}


@pytest.mark.parametrize("role", OPTIONAL)
def test_what_is_optional_may_be_lacking_altogether(role: str) -> None:
    values, columns = OPTIONAL[role]
    there = ["id", *name("g", "r")]
    assert list(choose_columns(make(optional=[role], **values), there).columns) == there
    assert set(columns) < set(choose_columns(make(optional=[role], **values), [*there, *columns]).columns)
    with pytest.raises(ConfigError, match=f"lacks {len(columns)} of the columns"):
        choose_columns(make(**values), there)


@pytest.mark.parametrize("role", ["position", "total", "z_spec"])
def test_half_of_what_is_optional_is_a_mistake(role: str) -> None:
    values, (first, second) = OPTIONAL[role]
    for one, other in ((first, second), (second, first)):
        with pytest.raises(ConfigError, match=rf"lacks 1 of the columns .*: {other} \("):
            choose_columns(make(optional=[role], **values), ["id", *name("g", "r"), one])


def test_of_columns_carried_along_each_may_be_lacking_by_itself() -> None:
    found = choose_columns(make(carry=["C", "D"], optional=["carry"]), ["id", "D", *name("g", "r")])
    assert found.survey.carry == ("D",)


def test_errors_may_be_lacking_of_all_bands_and_not_of_one() -> None:
    survey = make(optional=["errors"])
    found = choose_columns(survey, ["id", "flux_g", "flux_r"])
    assert list(found.columns) == ["id", "flux_g", "flux_r"]
    with pytest.raises(ConfigError, match=r"fluxerr_r \(photometry\.error, band r"):
        choose_columns(survey, ["id", "flux_r", *name("g")])
    # Of the bands that are read, whatever the others have.
    assert "fluxerr_r" not in choose_columns(survey, ["id", "flux_r", *name("g")], ("r",)).columns


def test_an_extinction_is_asked_for_only_where_it_corrects_something() -> None:
    dust = {"kind": "ebv", "column": "EBV", "coefficients": {"g": 3.2, "r": 2.1}}
    there = ["id", *name("g", "r")]
    with pytest.raises(ConfigError, match=r"EBV \(extinction\.column, band g"):
        choose_columns(make(extinction=dust), there)
    assert choose_columns(make(extinction=dust, photometry=FLUX | {"dereddened": True}), there).bands == ("g", "r")


def test_bands_of_which_a_table_has_the_columns_are_found() -> None:
    survey, bands = make(), ("r", "g")
    assert find_bands(survey, ["id", *name("g", "r")], bands) == bands
    assert find_bands(survey, ["id", "flux_r", *name("g")], bands) == ("g",)
    assert find_bands(survey, ["id"], bands) == ()
    # Half a photometry is none: of several the one with most bands counts, and bands of others are not mixed in.
    plain = load_survey("plain")
    assert find_bands(plain, ["flux_g", "mag_g", "mag_r", "mag_i"], ("g", "r", "i", "z")) == ("g", "r", "i")
    dust = {"kind": "A_b", "column": "A_{band}"}
    assert find_bands(make(extinction=dust), ["id", "A_g", *name("g", "r")], bands) == ("g",)


def test_the_photometry_whose_columns_are_there_in_other_letters_is_meant() -> None:
    names = ["OBJECT_ID", "MAG_G", "MAGERR_G"]
    with pytest.raises(ConfigError, match=r"mag_g \(photometry.column, band g; nearest: MAG_G\)") as caught:
        choose_columns(load_survey("plain"), names, ["g"])
    assert "flux_g" not in str(caught.value)
