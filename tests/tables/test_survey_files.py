"""Files of surveys: found by name, and refused where they contradict themselves, each with its remedy."""

from pathlib import Path
from typing import Any

import pytest

from photoz.errors import ConfigError
from photoz.tables.load import list_surveys, load_survey, make_survey
from photoz.tables.settings import find_column

BASE: dict[str, Any] = {
    "name": "x",
    "bands": ["g", "r"],
    "identifier": "ID",
    "photometry": {"kind": "mag", "column": "MAG_{BAND}", "error": "ERR_{BAND}"},
}


def change(**values: Any) -> dict[str, Any]:
    return BASE | values


def photometry(**values: Any) -> dict[str, Any]:
    return change(photometry=BASE["photometry"] | values)


def extinction(**values: Any) -> dict[str, Any]:
    return change(extinction=values)


def test_every_survey_that_comes_along_loads_and_says_where_its_facts_are_from() -> None:
    assert list_surveys() == [
        "des_y6_gold",
        "hsc_pdr3",
        "kids_dr4",
        "legacy_dr10",
        "legacy_dr10_tractor",
        "plain",
        "rubin_dp1",
        "sdss",
    ]
    for name in list_surveys():
        assert load_survey(name).source


def test_an_unknown_name_is_refused_with_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match=r"no survey 'des_y6': did you mean 'des_y6_gold'\? .*des_y6_gold, hsc_pdr3"):
        load_survey("des_y6")
    with pytest.raises(ConfigError, match=r"no file './mine.toml' of a survey: photoz knows des_y6_gold"):
        load_survey("./mine.toml")


def test_a_survey_of_ones_own_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nbands = ["g"]\nidentifier = ["A", "B"]\n[photometry]\nkind = "mag"\ncolumn = "m_{lower}"\n'
    )
    survey = load_survey(str(tmp_path / "mine.toml"))
    assert (survey.identifiers, survey.photometry[0].column) == (("A", "B"), "m_{lower}")


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_survey(str(tmp_path / "mine.toml"))


def test_columns_by_band() -> None:
    assert find_column("{band}.{BAND}.{lower}{x}", "Ks") == "Ks.KS.ks{x}"
    assert find_column("MAG_{BAND}", "g", {"g": "gmag"}) == "gmag"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (change(colour="x"), "unknown field `colour`"),
        (change(bands=["g", "g"]), "name each band once"),
        (change(identifier=[]), "identifier names no column"),
        (change(ra="RA"), "name both or none"),
        (change(photometry=[]), "photometry is empty"),
        (change(z_min=2.0, z_max=1.0), "z_min = 2.0 must be below z_max = 1.0"),
        (change(z_quality="NQ"), "z_quality = 'NQ' without z_spec"),
        (change(carry=["flux_g"]), "names of columns that are made"),
        (change(cuts=["__import__('os')"]), "is not allowed"),
        (photometry(unit="nJy"), "is none of kind 'mag': give AB or Vega"),
        (photometry(kind="flux"), "is none of kind 'flux': give nJy, uJy"),
        (photometry(column="MAG"), r"is one column for the bands \['g', 'r'\]"),
        (photometry(unit="Vega"), r"ab_offsets lacks the bands \['g', 'r'\]"),
        (photometry(kind="luptitude", softening={"g": 1e-10}), r"softening lacks the bands \['r'\]"),
        (photometry(kind="flux", unit="counts"), "zeropoint goes with unit = 'counts'"),
        (photometry(zeropoint=25.0), "zeropoint goes with unit = 'counts'"),
        (photometry(kind="flux", unit="nJy", limit="LIM_{band}"), "are of magnitudes"),
        (photometry(kind="flux", unit="counts", zeropoint=-2000.0), "zeropoint = -2000.0 mag: give one of -100 to 100"),
        (photometry(unit="Vega", ab_offsets={"g": 0.1, "r": float("nan")}), "ab_offsets = nan mag"),
        (photometry(limit_sigma=float("nan")), "softening and limit_sigma must be positive and finite"),
        (
            extinction(kind="ebv", column="EBV", coefficients={"g": 3.0, "r": float("inf")}),
            r"of \['r'\] must be 0 or more",
        ),
        (extinction(kind="ebv", column="EBV", coefficients={"g": 3.0}), r"coefficients lacks the bands \['r'\]"),
        (extinction(kind="A_b"), "give both or neither"),
        (extinction(kind="transmission", column="MW"), "one column for all bands"),
        (extinction(kind="A_b", column="A_{band}", coefficients={"g": 3.0}), "goes with extinction.kind = 'ebv'"),
    ],
)
def test_what_does_not_fit_together_is_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_survey(values)


@pytest.mark.parametrize("column", ["EBV", "ebv_sfd98", "E_BV", "E(B-V)", "EBV_SFD98", "gal_ebmv", "SFD98", "E_B_V"])
def test_reddening_in_place_of_extinction_is_refused_with_the_remedy(column: str) -> None:
    with pytest.raises(ConfigError, match=r"holds E\(B-V\) by its name.*kind = 'ebv' and extinction.coefficients"):
        make_survey(extinction(kind="A_b", column=column))


@pytest.mark.parametrize("column", ["A_{band}", "EXTINCTION_{BAND}", "a_{lower}_sfd_corr", "ext_sfd_{band}"])
def test_extinctions_are_taken(column: str) -> None:
    assert make_survey(extinction(kind="A_b", column=column)).extinction.column == column


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + (b'name = "x"\nbands = ["g"]\nidentifier = "id"\n[photometry]\nkind = "mag"\n')
    (tmp_path / "x.toml").write_bytes(content + b'column = "g"\n')
    assert load_survey(str(tmp_path / "x.toml")).bands == ("g",)


@pytest.mark.parametrize(
    ("named", "shared"),
    [({"columns": {"g": "m_r"}}, "m_r"), ({"error": "m_{band}"}, "m_g"), ({"errors": {"g": "e_r"}}, "e_r")],
)
def test_no_column_is_read_for_two_things(named: dict[str, Any], shared: str) -> None:
    photometry = {"kind": "mag", "column": "m_{band}", "error": "e_{band}"} | named
    with pytest.raises(ConfigError, match=rf"photometry reads \['{shared}'.* more than once: name a column of its own"):
        make_survey({"name": "x", "bands": ["g", "r"], "identifier": "id", "photometry": photometry})
