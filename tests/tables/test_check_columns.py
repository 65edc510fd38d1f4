"""A table held against its survey's file before any work: each mistake is one error with column and remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from photoz.errors import ConfigError, TableError
from photoz.tables.check import Checked, check_columns
from photoz.tables.convert import open_survey_table
from photoz.tables.load import make_survey

MAG = {"kind": "mag", "column": "m_{band}", "error": "e_{band}"}
FLUX = {"kind": "flux", "unit": "nJy", "column": "f_{band}", "error": "fe_{band}"}
ROWS = 50


def make_columns(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(1)
    columns: dict[str, Any] = {
        "id": np.arange(ROWS),
        "ra": random.uniform(0, 360, ROWS),
        "dec": random.uniform(-90, 90, ROWS),
    }
    for band in "gr":
        columns[f"m_{band}"] = random.uniform(20, 24, ROWS)
        columns[f"e_{band}"] = np.full(ROWS, 0.1)
        columns[f"f_{band}"] = 3631e9 * 10 ** (-0.4 * columns[f"m_{band}"])
        columns[f"fe_{band}"] = columns[f"f_{band}"] * 0.1
    return {name: values for name, values in {**columns, **changes}.items() if values is not None}


def check(
    path: Path, photometry: dict[str, Any], columns: dict[str, Any], units: dict[str, str] | None = None, **values: Any
) -> Checked:
    options = {name: values.pop(name) for name in ("bands", "need", "rows") if name in values}
    fields = []
    arrays = [pa.array(values) for values in columns.values()]
    for name, array in zip(columns, arrays, strict=True):
        unit = (units or {}).get(name)
        fields.append(pa.field(name, array.type, metadata={"unit": unit} if unit else None))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path / "t.parquet")
    survey = {"name": "x", "bands": ["g", "r"], "identifier": "id", "ra": "ra", "dec": "dec", "photometry": photometry}
    made = make_survey(survey | values)
    return check_columns(open_survey_table(str(path / "t.parquet"), made), made, **options)


def test_what_fits_is_told(tmp_path: Path) -> None:
    found = check(tmp_path, FLUX, make_columns(), {"f_g": "nJy", "fe_g": "nJy", "ra": "deg", "dec": "degrees"})
    assert (found.bands, found.warnings) == (("g", "r"), ())
    assert found.columns == ("id", "ra", "dec", "f_g", "fe_g", "f_r", "fe_r")
    assert (found.counts["rows"], found.counts["rows_out"]) == (ROWS, ROWS)


def test_missing_columns_are_told_together_with_settings_and_the_nearest_names(tmp_path: Path) -> None:
    columns = make_columns(m_g=None, M_G=np.ones(ROWS), dec=None, decl=np.ones(ROWS))
    with pytest.raises(
        ConfigError,
        match=r"lacks 2 of the columns that survey 'x' names: dec \(dec; nearest: decl\), "
        r"m_g \(photometry.column, band g; nearest: .*M_G|m_r",
    ):
        check(tmp_path, MAG, columns)


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m_g \(photometry.column, band g\) is string, and numbers are wanted"):
        check(tmp_path, MAG, make_columns(m_g=["x"] * ROWS))
    with pytest.raises(ConfigError, match=r"m_g \(photometry.column, band g\) is nested"):
        check(tmp_path, MAG, make_columns(m_g=[[1.0]] * ROWS))
    with pytest.raises(ConfigError, match=r"note \(carry\) is nested"):
        check(tmp_path, MAG, make_columns(note=[[1.0]] * ROWS), carry=["note"])


@pytest.mark.parametrize(
    ("photometry", "units", "problem"),
    [
        (
            MAG,
            {"m_g": "nJy"},
            r"column m_g \(photometry.column\) is in 'nJy', and magnitudes are wanted: set kind = 'flux'",
        ),
        (MAG, {"e_g": "nJy"}, r"column e_g \(photometry.error\) is in 'nJy'"),
        (FLUX, {"f_g": "mag"}, "is in 'mag', and fluxes are wanted: set kind = 'mag'"),
        (FLUX, {"f_g": "mag(AB)"}, "and fluxes are wanted"),
        (FLUX, {"f_g": "uJy"}, "says otherwise, by a factor 1000: set unit = 'uJy'"),
        (FLUX, {"f_g": "nanomaggies"}, "by a factor 3631: set unit = 'nanomaggy'"),
        (FLUX, {"fe_r": "Jy"}, "by a factor 1e.09: set unit = 'Jy'"),
        (FLUX, {"f_g": "km / s"}, "which is no unit of a flux density"),
        (FLUX | {"error_kind": "ivar"}, {"fe_g": "1/uJy^2"}, "by a factor 1000: set unit = 'uJy'"),
        (
            MAG | {"unit": "Vega", "ab_offsets": {"g": 0.0, "r": 0.0}},
            {"m_g": "mag(AB)"},
            "unit = 'Vega' says otherwise: set unit = 'AB'",
        ),
        (MAG, {"m_g": "Vega mag"}, "unit = 'AB' says otherwise: set unit = 'Vega'"),
        (MAG, {"e_g": "mag(ST)"}, "unit = 'AB' says otherwise: convert it to AB"),
        (MAG, {"m_g": "STmag"}, "convert it to AB"),
        (MAG, {"m_g": "dex"}, "and magnitudes are wanted: set kind"),
        (MAG, {"m_g": "mmag"}, "and magnitudes are wanted"),
    ],
)
def test_a_unit_of_the_file_that_says_otherwise_is_refused(
    tmp_path: Path, photometry: dict[str, Any], units: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        check(tmp_path, photometry, make_columns(), units)


@pytest.mark.parametrize("unit", ["", "whatever", "dimensionless", "1"])
def test_a_unit_that_says_nothing_is_passed_over(tmp_path: Path, unit: str) -> None:
    assert check(tmp_path, FLUX, make_columns(), {"f_g": unit}).bands == ("g", "r")
    assert check(tmp_path, MAG, make_columns(), {"m_g": unit}).bands == ("g", "r")


@pytest.mark.parametrize("unit", ["mag", "ABmag", "mag(AB)", "AB mag", "mag (AB)", "AB", "magnitude"])
def test_a_unit_of_magnitudes_is_taken_however_it_is_spelt(tmp_path: Path, unit: str) -> None:
    assert check(tmp_path, MAG, make_columns(), {"m_g": unit}).bands == ("g", "r")


def test_positions_in_another_unit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="column ra is in 'mag', which is no angle"):
        check(tmp_path, MAG, make_columns(), {"ra": "mag"})
    with pytest.raises(ConfigError, match=r"column ra is in 'rad', and survey.position_unit = 'deg' says otherwise"):
        check(tmp_path, MAG, make_columns(), {"ra": "rad"}, position_unit="deg")


def test_an_extinction_in_another_unit_is_refused(tmp_path: Path) -> None:
    columns = make_columns(a_g=np.zeros(ROWS), a_r=np.zeros(ROWS))
    with pytest.raises(
        ConfigError, match=r"column a_g \(extinction.column, band g\) is in nJy, which is no extinction"
    ):
        check(tmp_path, MAG, columns, {"a_g": "nJy"}, extinction={"kind": "A_b", "column": "a_{band}"})


@pytest.mark.parametrize("unit", ["Jy", "maggy"])
def test_fluxes_of_another_unit_are_refused_with_those_that_fit(tmp_path: Path, unit: str) -> None:
    problem = "most values of column f_g, band g, are outside 5 to 40 mag with unit = '{}'; as 'nJy' or 'uJy' they are"
    with pytest.raises(ConfigError, match=problem.format(unit)):
        check(tmp_path, FLUX | {"unit": unit}, make_columns())


def test_fluxes_in_jansky_said_to_be_in_nanojansky_are_refused(tmp_path: Path) -> None:
    columns = make_columns()
    columns = {name: values * 1e-9 if name[:2] in ("f_", "fe") else values for name, values in columns.items()}
    with pytest.raises(ConfigError, match=r"column f_g, .* with unit = 'nJy'; as 'Jy'"):
        check(tmp_path, FLUX, columns)


def test_fluxes_said_to_be_magnitudes_are_refused(tmp_path: Path) -> None:
    columns = make_columns()
    columns["m_g"] = columns["f_g"] * 100
    with pytest.raises(ConfigError, match=r"column m_g, .* are they fluxes"):
        check(tmp_path, MAG, columns)


def test_an_odd_median_is_a_warning(tmp_path: Path) -> None:
    # Nanomaggies said to be nJy: 8.9 mag too faint, which is not impossible.
    columns = make_columns()
    columns = {name: values / 3631 if name[:2] in ("f_", "fe") else values for name, values in columns.items()}
    found = check(tmp_path, FLUX, columns)
    assert len(found.warnings) == 2
    assert "the median magnitude of band g is 30" in found.warnings[0]


def test_an_empty_band_is_refused_by_name_and_can_be_left_out(tmp_path: Path) -> None:
    columns = make_columns(m_r=pa.nulls(ROWS, pa.float32()))
    with pytest.raises(
        ConfigError, match=r"the bands \['r'\] have no value in any of 50 rows of a sample: leave them out"
    ):
        check(tmp_path, MAG, columns)
    assert check(tmp_path, MAG, columns, bands=["g"]).bands == ("g",)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no rows"):
        check(tmp_path, MAG, {name: values[:0] for name, values in make_columns().items()})


def test_cuts_that_leave_nothing_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of the 50 rows of a sample is left: 50 by survey.cuts"):
        check(tmp_path, MAG, make_columns(), cuts=["m_g > 90"])
    with pytest.raises(ConfigError, match="the cut 'm_g == \"x\"' cannot be applied to m_g double"):
        check(tmp_path, MAG, make_columns(), cuts=['m_g == "x"'])


def test_duplicates_are_refused_or_counted(tmp_path: Path) -> None:
    columns = make_columns(id=[1] * ROWS)
    with pytest.raises(TableError, match="49 rows have the identifier of another row"):
        check(tmp_path, MAG, columns)
    assert check(tmp_path, MAG, columns, duplicates="keep").counts["duplicates"] == 49


def test_what_is_needed_and_not_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no spectroscopic redshift is there: set survey\.z_spec to their column"):
        check(tmp_path, MAG, make_columns(), need=["z_spec"])


def test_errors_that_are_none_are_a_warning(tmp_path: Path) -> None:
    found = check(tmp_path, MAG, make_columns(e_g=np.full(ROWS, -1.0)))
    assert found.warnings == (f"{tmp_path}/t.parquet: no row of a sample has a usable error in band g",)
    assert found.counts["bad_error_g"] == ROWS


def test_the_sample_is_taken_from_the_whole_table(tmp_path: Path) -> None:
    # A band that the first file lacks altogether.
    for i in range(3):
        columns = make_columns(id=np.arange(ROWS) + 100 * i)
        if i < 2:
            columns["m_r"] = np.full(ROWS, np.nan)
        pq.write_table(pa.table(columns), tmp_path / f"{i}.parquet")
    survey = make_survey({"name": "x", "bands": ["g", "r"], "identifier": "id", "photometry": MAG})
    found = check_columns(open_survey_table(str(tmp_path), survey), survey, rows=30)
    assert found.counts["rows"] == 30


@pytest.mark.parametrize(
    ("text", "told"), [(">24.1", "'>24.1' is none"), ("2.1D+01", "'2.1D.01' is none"), ("21.5", "written as text")]
)
def test_text_for_numbers_is_told_by_its_value(tmp_path: Path, text: str, told: str) -> None:
    columns = make_columns(m_g=["20.5", "nan"] + [text] * (ROWS - 2))
    with pytest.raises(ConfigError, match=rf"m_g .* is string, and numbers are wanted \(.*{told}\): correct the table"):
        check(tmp_path, MAG, columns)


def test_thousandths_of_a_magnitude_are_refused_with_the_factor(tmp_path: Path) -> None:
    columns = make_columns()
    with pytest.raises(ConfigError, match=r"'mmag', and magnitudes are wanted: multiply it by 0.001 in the table"):
        check(tmp_path, MAG, columns | {"m_g": 1000 * columns["m_g"]}, {"m_g": "mmag"})


def test_bands_in_different_units_are_refused_together(tmp_path: Path) -> None:
    """The unit of the survey's file is that of all bands: set to one of them it would be wrong for the other."""
    units = {"f_g": "uJy", "f_r": "nJy"}
    for unit in ("nJy", "uJy"):
        with pytest.raises(ConfigError, match=r"in several units \(f_g in 'uJy', f_r in 'nJy'\): convert them to one"):
            check(tmp_path, FLUX | {"unit": unit}, make_columns(), units)
    check(tmp_path, FLUX, make_columns(), {"f_g": "nJy", "f_r": "nJy"})
