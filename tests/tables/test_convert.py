"""From a survey's columns to fluxes in nJy: closed forms, sentinels, what is no measurement, identifiers exact."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from photoz.errors import ConfigError, TableError
from photoz.schema import Flag
from photoz.tables.convert import Converted, convert, open_survey_table, read_sources
from photoz.tables.load import make_survey
from photoz.tables.settings import TableSurvey

LN10 = math.log(10)


def make(photometry: dict[str, Any], *, bands: str = "g", **values: Any) -> TableSurvey:
    base = {"name": "x", "bands": list(bands), "identifier": "id", "duplicates": "keep"}
    return make_survey({**base, "photometry": photometry, **values})


def measure(photometry: dict[str, Any], f: list[Any], e: list[Any] | None = None, **more: Any) -> Converted:
    columns = {"id": pa.array(range(len(f))), "f": pa.array(f, pa.float64())}
    if e is not None:
        columns["e"] = pa.array(e, pa.float64())
        photometry = photometry | {"error": "e"}
    columns |= {name: pa.array(column) for name, column in more.pop("columns", {}).items()}
    return convert(pa.table(columns), make(photometry | {"column": "f"}, **more))


def get(found: Converted, name: str) -> list[float]:
    return [float(value) for value in found.table[name].to_pylist()]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("nJy", 1.0), ("uJy", 1e3), ("mJy", 1e6), ("Jy", 1e9), ("nanomaggy", 3631.0), ("maggy", 3631e9)],
)
def test_fluxes_of_every_unit(unit: str, factor: float) -> None:
    found = measure({"kind": "flux", "unit": unit}, [1000 / factor, -50 / factor, None], [10 / factor] * 3)
    assert get(found, "flux_g")[:2] == pytest.approx([1000, -50])
    assert get(found, "fluxerr_g")[:2] == pytest.approx([10, 10])
    assert np.isnan(get(found, "flux_g")[2])
    assert np.isnan(get(found, "fluxerr_g")[2])
    assert found.table["flags"].to_pylist() == [
        0,
        Flag.BAND_NOT_DETECTED | Flag.NO_PHOTOMETRY,
        Flag.BAND_NOT_OBSERVED | Flag.NO_PHOTOMETRY,
    ]


def test_counts_with_a_zero_point() -> None:
    # At 25 mag one count is 3631e9 * 10^-10 nJy = 363.1 nJy.
    assert get(measure({"kind": "flux", "unit": "counts", "zeropoint": 25.0}, [2.0]), "flux_g") == pytest.approx(
        [726.2]
    )
    by_band = {"kind": "flux", "unit": "counts", "zeropoint": {"g": 22.5}}
    assert get(measure(by_band, [1.0]), "flux_g") == pytest.approx([3631.0])


def test_magnitudes_ab_and_vega() -> None:
    found = measure({"kind": "mag"}, [22.5, 20.0], [0.1, 0.2])
    assert get(found, "flux_g") == pytest.approx([3631.0, 36310.0])
    assert get(found, "fluxerr_g") == pytest.approx([3631.0 * 0.1 * LN10 / 2.5, 36310.0 * 0.2 * LN10 / 2.5])
    vega = {"kind": "mag", "unit": "Vega", "ab_offsets": {"g": 2.5}}
    assert get(measure(vega, [20.0], [0.1]), "flux_g") == pytest.approx([3631.0])


def test_luptitudes() -> None:
    b = 1.4e-10
    photometry = {"kind": "luptitude", "softening": {"g": b}}
    # No flux has the luptitude -2.5 log10 b, with an error of 2.5 / ln 10 * df / 2b; one of 2b sinh 1 is 2.5 / ln 10
    # below it.
    zero = -2.5 * math.log10(b)
    found = measure(photometry, [zero, zero - 2.5 / LN10, zero + 2.5 / LN10], [0.1, 0.1, 0.1])
    one = 3631e9 * 2 * b * math.sinh(1)
    assert get(found, "flux_g") == pytest.approx([0.0, one, -one], rel=1e-6, abs=1e-3)
    slope = 3631e9 * 0.1 * LN10 / 2.5 * 2 * b
    assert get(found, "fluxerr_g") == pytest.approx([slope, slope * math.cosh(1), slope * math.cosh(1)])


def test_errors_as_inverse_variance_and_signal_to_noise() -> None:
    found = measure({"kind": "flux", "unit": "nJy", "error_kind": "ivar"}, [100.0] * 5, [0.25, 0.0, -1.0, None, 4.0])
    np.testing.assert_array_equal(get(found, "flux_g"), [100, np.nan, 100, 100, 100])
    np.testing.assert_array_equal(get(found, "fluxerr_g"), [2, np.nan, np.nan, np.nan, 0.5])
    assert (found.counts["not_observed_g"], found.counts["bad_error_g"]) == (1, 1)
    found = measure({"kind": "flux", "unit": "nJy", "error_kind": "snr"}, [100.0, -10.0, 100.0, 100.0], [50, -2, -1, 0])
    np.testing.assert_array_equal(get(found, "fluxerr_g"), [2, 5, np.nan, np.nan])
    assert found.counts["bad_error_g"] == 2


def test_signal_to_noise_of_magnitudes_is_that_of_their_flux() -> None:
    found = measure({"kind": "mag", "error_kind": "snr"}, [22.5], [10.0])
    assert get(found, "fluxerr_g") == pytest.approx([363.1])
    zero = {"kind": "luptitude", "error_kind": "snr", "softening": {"g": 1e-10}}
    found = measure(zero, [25 - 2.5 / LN10, 25 + 2.5 / LN10, 25 + 2.5 / LN10], [2.0, -2.0, 2.0])
    half = 3631e9 * 1e-10 * math.sinh(1)
    np.testing.assert_allclose(get(found, "fluxerr_g"), [half, half, np.nan], rtol=1e-6)


def test_errors_of_nothing_or_less_are_not_known_and_counted() -> None:
    found = measure({"kind": "flux", "unit": "nJy"}, [100.0] * 4, [0.0, -1350.0, 1e30, 5.0])
    np.testing.assert_array_equal(get(found, "fluxerr_g"), [np.nan, np.nan, np.nan, 5])
    assert found.counts["bad_error_g"] == 3
    found = measure({"kind": "mag"}, [20.0] * 4, [0.0, -0.1, 12.0, 99.0])
    assert np.isnan(get(found, "fluxerr_g")).all()
    assert not np.isnan(get(found, "flux_g")).any()
    assert found.counts["bad_error_g"] == 4


def test_values_that_nobody_measured_are_nan_and_counted() -> None:
    found = measure({"kind": "mag"}, [57.3, -3.4e38, 4.9, 20.0, math.inf], [0.1] * 5)
    assert np.isnan(get(found, "flux_g")).tolist() == [True, True, True, False, True]
    assert found.counts["implausible_g"] == 4
    found = measure({"kind": "flux", "unit": "nJy"}, [1e30, -1e30, 5.0, math.inf], [1.0] * 4)
    assert np.isnan(get(found, "flux_g")).tolist() == [True, True, False, True]
    assert found.counts["implausible_g"] == 3


def test_sentinels_say_not_detected_and_not_observed() -> None:
    photometry = {"kind": "mag", "not_detected": [99.0], "not_observed": [-99.0]}
    found = measure(photometry, [99.0, 98.9, -99.0, None, 22.5], [99.0, 0.1, -99.0, None, 0.1])
    np.testing.assert_allclose(get(found, "flux_g"), [0, 0, np.nan, np.nan, 3631.0])
    assert np.isnan(get(found, "fluxerr_g")).tolist() == [True] * 4 + [False]
    assert (found.counts["not_detected_g"], found.counts["not_observed_g"], found.counts["bad_error_g"]) == (2, 2, 0)
    assert found.table["flags"].to_pylist() == [
        *[Flag.BAND_NOT_DETECTED | Flag.NO_PHOTOMETRY] * 2,
        *[Flag.BAND_NOT_OBSERVED | Flag.NO_PHOTOMETRY] * 2,
        0,
    ]


def test_a_limit_is_the_error_of_what_was_not_detected() -> None:
    photometry = {"kind": "mag", "not_detected": [99.0]}
    # 26.4 mag is 100 nJy, to three digits.
    limit = 3631e9 * 10 ** (-0.4 * 26.4)
    in_error = measure(photometry | {"limit_in_error": True}, [99.0, 99.0], [26.4, 99.0])
    np.testing.assert_allclose(get(in_error, "fluxerr_g"), [limit, np.nan], rtol=1e-6)
    found = measure(
        photometry | {"limit": "lim_{band}", "limit_sigma": 5.0},
        [99.0, 20.0],
        [99.0, 0.1],
        columns={"lim_g": [26.4, 26.4]},
    )
    assert get(found, "fluxerr_g")[0] == pytest.approx(limit / 5)


@pytest.mark.parametrize(
    ("extinction", "column", "values"),
    [
        ({"kind": "A_b", "column": "ext_{band}"}, "ext_g", [2.5, 0.0]),
        ({"kind": "ebv", "column": "EBV", "coefficients": {"g": 2.5}}, "EBV", [1.0, 0.0]),
        ({"kind": "transmission", "column": "mw_{BAND}"}, "mw_G", [0.1, 1.0]),
    ],
)
def test_extinction_of_each_kind(extinction: dict[str, Any], column: str, values: list[float]) -> None:
    for kind, value, error in (("flux", 100.0, 5.0), ("mag", -2.5 * math.log10(100 / 3631e9), 0.05 * 2.5 / LN10)):
        unit = {"unit": "nJy"} if kind == "flux" else {}
        found = measure(
            {"kind": kind} | unit, [value] * 2, [error] * 2, extinction=extinction, columns={column: values}
        )
        assert get(found, "flux_g") == pytest.approx([1000.0, 100.0])
        assert get(found, "fluxerr_g") == pytest.approx([50.0, 5.0])
    done = measure(
        {"kind": "flux", "unit": "nJy", "dereddened": True}, [100.0], extinction=extinction, columns={column: [0.5]}
    )
    assert get(done, "flux_g") == [100.0]


@pytest.mark.parametrize(
    ("extinction", "column", "value"),
    [
        ({"kind": "A_b", "column": "x"}, "x", -0.1),
        ({"kind": "A_b", "column": "x"}, "x", 20.1),
        ({"kind": "A_b", "column": "x"}, "x", math.nan),
        ({"kind": "ebv", "column": "x", "coefficients": {"g": 3.0}}, "x", 20.1),
        ({"kind": "ebv", "column": "x", "coefficients": {"g": 3.0}}, "x", -1.0),
        ({"kind": "transmission", "column": "x"}, "x", 0.0),
        ({"kind": "transmission", "column": "x"}, "x", 1.5),
    ],
)
def test_an_extinction_that_is_none_leaves_no_flux(extinction: dict[str, Any], column: str, value: float) -> None:
    found = measure({"kind": "flux", "unit": "nJy"}, [100.0], [5.0], extinction=extinction, columns={column: [value]})
    assert np.isnan(get(found, "flux_g") + get(found, "fluxerr_g")).all()
    assert found.counts["bad_extinction_g"] == 1


TABLE = pa.table(
    {
        "id": ["a", "b", None, "d", "e"],
        "RA": [10.0, -10.0, 30.0, 400.0, 50.0],
        "DEC": [1.0, 2.0, 3.0, 4.0, -5.0],
        "flux": [1.0, 2.0, 3.0, 4.0, 5.0],
        "flag": pa.array([0, 0, 0, 0, 1], pa.int8()),
    }
)
SKY = {"ra": "RA", "dec": "DEC"}


def test_rows_are_set_aside_with_a_reason() -> None:
    survey = make({"kind": "flux", "unit": "nJy", "column": "flux"}, cuts=["flag == 0"], **SKY)
    found = convert(TABLE, survey, positions=True)
    assert found.table["object_id"].to_pylist() == ["a", "b"]
    assert found.table["ra"].to_pylist() == [10.0, 350.0]
    counts = {key: found.counts[key] for key in ("rows", "cut", "no_identifier", "no_position", "rows_out")}
    assert counts == {"rows": 5, "cut": 1, "no_identifier": 1, "no_position": 1, "rows_out": 2}
    kept = convert(TABLE, survey).table
    assert kept["object_id"].to_pylist() == ["a", "b", "d"]
    assert np.isnan(kept["ra"][2].as_py())
    assert np.isnan(kept["dec"][2].as_py())
    with pytest.raises(ConfigError, match="names no position"):
        convert(TABLE, make({"kind": "flux", "unit": "nJy", "column": "flux"}), positions=True)


@pytest.mark.parametrize(
    ("unit", "stated", "expected"),
    [("hourangle", "", (180.0, 30.0)), ("", "rad", None), ("rad", "", None), ("", "hourangle", (180.0, 30.0))],
)
def test_units_of_positions(unit: str, stated: str, expected: tuple[float, float] | None) -> None:
    values = (12.0, 30.0) if expected else (math.pi / 2, -math.pi / 4)
    meta = [{"unit": stated} if stated else None, {"unit": "deg" if stated == "hourangle" else stated}]
    schema = pa.schema(
        [
            pa.field("id", pa.int64()),
            pa.field("RA", pa.float64(), metadata=meta[0]),
            pa.field("DEC", pa.float64(), metadata=meta[1]),
            pa.field("flux", pa.float64()),
        ]
    )
    table = pa.table([[1], [values[0]], [values[1]], [1.0]], schema=schema)
    found = convert(table, make({"kind": "flux", "unit": "nJy", "column": "flux"}, position_unit=unit, **SKY)).table
    assert (found["ra"][0].as_py(), found["dec"][0].as_py()) == pytest.approx(expected or (90.0, -45.0))


def test_redshifts_of_bad_quality_or_out_of_range_are_nan_and_counted() -> None:
    table = pa.table(
        {"id": range(6), "f": [1.0] * 6, "z": [0.1, -9.0, 0.3, 2.5, None, 0.5], "nq": pa.array([4, 4, 2, 4, 4, None])}
    )
    survey = make(
        {"kind": "flux", "unit": "nJy", "column": "f"}, z_spec="z", z_quality="nq", z_quality_least=3, z_max=2.0
    )
    found = convert(table, survey)
    np.testing.assert_array_equal(get(found, "z_spec"), np.float32([0.1, np.nan, np.nan, np.nan, np.nan, np.nan]))
    names = ("no_redshift", "low_quality", "redshift_out_of_range")
    assert [found.counts[name] for name in names] == [1, 2, 2]


def test_columns_are_carried_along_as_they_are() -> None:
    table = pa.table({"id": [1], "f": [1.0], "note": ["x"], "n": pa.array([7], pa.uint8()), "list": [[1]]})
    flux = {"kind": "flux", "unit": "nJy", "column": "f"}
    found = convert(table, make(flux, carry=["note", "n"])).table
    assert (found["note"].to_pylist(), found["n"].to_pylist(), str(found["n"].type)) == (["x"], [7], "uint8")
    with pytest.raises(ConfigError, match="column list is nested"):
        convert(table, make(flux, carry=["list"]))


def test_totals_and_tiles_are_there_where_the_survey_has_them() -> None:
    table = pa.table({"id": [1, 2], "f": [1.0, 1.0], "t": ["T1", None], "m": [20.0, 99.0], "a": [1.0, 1.0]})
    survey = make(
        {"kind": "flux", "unit": "nJy", "column": "f", "dereddened": True},
        tile="t",
        total={"kind": "mag", "column": "m", "not_detected": [99.0]},
        extinction={"kind": "A_b", "column": "a"},
    )
    found = convert(table, survey).table
    assert found["tile"].to_pylist() == ["T1", ""]
    np.testing.assert_allclose(found["mag_auto"].to_numpy(), [19.0, np.nan])
    assert found.schema.names == [
        "object_id", "tile", "mag_auto", "magerr_auto", "flux_g", "fluxerr_g", "flags",
    ]  # fmt: skip
    assert found["flux_g"].to_pylist() == [1.0, 1.0]


def test_more_than_31_bands_and_a_choice_of_them() -> None:
    bands = [f"b{i}" for i in range(40)]
    table = pa.table({"id": [1]} | {f"f_{band}": [float(i + 1)] for i, band in enumerate(bands)})
    survey = make_survey(
        {
            "name": "x",
            "bands": bands,
            "identifier": "id",
            "photometry": {"kind": "flux", "unit": "nJy", "column": "f_{band}"},
        }
    )
    found = convert(table, survey)
    assert found.table["flux_b39"].to_pylist() == [40.0]
    assert found.table["flags"].to_pylist() == [0]
    assert convert(table, survey, ["b3", "b1"]).table.schema.names[1:5] == [
        "flux_b3", "fluxerr_b3", "flux_b1", "fluxerr_b1",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"bands \['q'\] are asked for"):
        convert(table, survey, ["q"])


def test_a_column_of_text_for_numbers_is_refused() -> None:
    with pytest.raises(ConfigError, match="column f is string, and numbers are wanted"):
        convert(pa.table({"id": [1], "f": ["x"]}), make({"kind": "flux", "unit": "nJy", "column": "f"}))


# Identifiers

IDS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20, unique=True),
    st.lists(st.from_regex(r"0{0,3}[0-9]{1,20}", fullmatch=True), min_size=1, max_size=20, unique=True),
    # Blanks at the ends do not outlive FITS, nor does NUL; CSV's own marks are quoted by its writers.
    st.lists(
        st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12),
        min_size=1,
        max_size=20,
        unique=True,
    ).filter(lambda texts: all(text.strip() == text for text in texts)),
)
FLUX = {"kind": "flux", "unit": "nJy", "column": "f"}


def write_fits(path: Path, ids: list[Any]) -> None:
    if isinstance(ids[0], int):
        column = fits.Column("id", "K", array=np.array(ids, np.int64))
    else:
        cells = np.array([text.encode() for text in ids])
        column = fits.Column("id", f"{cells.itemsize}A", array=cells)
    fits.BinTableHDU.from_columns([column, fits.Column("f", "D", array=np.ones(len(ids)))]).writeto(
        path, overwrite=True
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=IDS)
def test_identifiers_stay_exact_through_every_format(tmp_path: Path, ids: list[Any]) -> None:
    table = pa.table({"id": ids, "f": [1.0] * len(ids)})
    pq.write_table(table, tmp_path / "t.parquet")
    pacsv.write_csv(table, tmp_path / "t.csv")
    write_fits(tmp_path / "t.fits", ids)
    survey = make(FLUX, duplicates="refuse")
    for name in ("t.parquet", "t.csv", "t.fits"):
        opened = open_survey_table(str(tmp_path / name), survey)
        found = [
            row
            for part in opened.parts
            for batch in read_sources(opened, part, survey)
            for row in batch.table["object_id"].to_pylist()
        ]
        assert found == [str(value) for value in ids], name


def test_identifiers_of_several_columns_are_joined() -> None:
    table = pa.table({"a": [1, 2], "b": [2**62 + 1, None], "c": ["x", "y"], "f": [1.0, 1.0]})
    found = convert(table, make(FLUX, identifier=["a", "b", "c"]))
    assert found.table["object_id"].to_pylist() == [f"1-{2**62 + 1}-x"]
    assert found.counts["no_identifier"] == 1


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (pa.array([1.0, 2.0**53]), "rounded beyond 2.53"),
        (pa.array([1.5]), "which is no identifier"),
        (pa.array([True]), "bool, which is no identifier"),
    ],
)
def test_identifiers_that_are_none_are_refused(ids: pa.Array, problem: str) -> None:
    with pytest.raises(TableError, match=problem):
        convert(pa.table({"id": ids, "f": [1.0] * len(ids)}), make(FLUX))


def test_doubles_that_hold_whole_numbers_are_identifiers() -> None:
    ids = pa.array([7.0, None, math.nan, 2.0**53 - 1])
    found = convert(pa.table({"id": ids, "f": [1.0] * 4}), make(FLUX))
    assert found.table["object_id"].to_pylist() == ["7", str(2**53 - 1)]


def test_duplicates_are_refused_or_counted_over_a_part(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 1, 3, 2, 1], "f": [1.0] * 6})
    pq.write_table(table, tmp_path / "t.parquet")
    refuse, keep = make(FLUX, duplicates="refuse"), make(FLUX)
    with pytest.raises(TableError, match="3 rows have the identifier of another row"):
        convert(table, refuse)
    assert convert(table, keep).counts["duplicates"] == 3
    opened = open_survey_table(str(tmp_path / "t.parquet"), keep)
    batches = list(read_sources(opened, opened.parts[0], keep, rows=2))
    assert [batch.counts["duplicates"] for batch in batches] == [0, 1, 2]
    with pytest.raises(TableError, match="1 rows have the identifier"):
        list(read_sources(opened, opened.parts[0], refuse, rows=2))


# Fluxes


@settings(max_examples=60, deadline=None)
@given(st.floats(12.0, 30.0), st.floats(1e-3, 2.0), st.floats(-1.0, 3.0), st.floats(1e-11, 1e-9))
def test_the_same_brightness_in_every_system_is_the_same_flux(
    magnitude: float, error: float, offset: float, softening: float
) -> None:
    maggies = 10 ** (-0.4 * magnitude)
    relative = error * LN10 / 2.5
    luptitude = -2.5 / LN10 * (math.asinh(maggies / (2 * softening)) + math.log(softening))
    luptitude_error = 2.5 / LN10 * maggies * relative / math.hypot(maggies, 2 * softening)
    found = [
        measure({"kind": "mag"}, [magnitude], [error]),
        measure({"kind": "mag", "unit": "Vega", "ab_offsets": {"g": offset}}, [magnitude - offset], [error]),
        measure({"kind": "luptitude", "softening": {"g": softening}}, [luptitude], [luptitude_error]),
        measure({"kind": "flux", "unit": "nanomaggy"}, [maggies * 1e9], [maggies * 1e9 * relative]),
        measure(
            {"kind": "flux", "unit": "nanomaggy", "error_kind": "ivar"},
            [maggies * 1e9],
            [(maggies * 1e9 * relative) ** -2],
        ),
        measure(
            {"kind": "flux", "unit": "counts", "zeropoint": 27.0}, [maggies * 10**10.8], [maggies * 10**10.8 * relative]
        ),
    ]
    for each in found:
        # A luptitude far above the scale loses digits to the exponent.
        assert get(each, "flux_g") == pytest.approx([3631e9 * maggies], rel=1e-5)
        assert get(each, "fluxerr_g") == pytest.approx([3631e9 * maggies * relative], rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=30),
    st.lists(st.floats(width=32), min_size=30, max_size=30),
    st.sampled_from(["flux", "mag", "luptitude"]),
    st.sampled_from(["error", "ivar", "snr"]),
)
def test_whatever_stands_there_the_rows_keep_their_contract(
    values: list[float], errors: list[float], kind: str, error_kind: str
) -> None:
    photometry: dict[str, Any] = {
        "kind": kind,
        "error_kind": error_kind,
        "not_detected": [99.0],
        "not_observed": [-99.0],
    }
    photometry |= {"flux": {"unit": "nJy"}, "mag": {}, "luptitude": {"softening": {"g": 1e-10}}}[kind]
    found = measure(photometry, values, errors[: len(values)]).table
    flux_N, error_N, flags_N = (found[name].to_numpy() for name in ("flux_g", "fluxerr_g", "flags"))
    assert not np.isinf(flux_N).any()
    assert not np.isinf(error_N).any()
    assert not (error_N <= 0).any()
    assert np.isnan(error_N[np.isnan(flux_N)]).all()
    np.testing.assert_array_equal((flags_N & Flag.BAND_NOT_OBSERVED) > 0, np.isnan(flux_N))


def test_a_table_can_be_read_for_its_redshifts_alone() -> None:
    """As a survey's file cannot say: without photometry, and without identifiers."""
    survey = make({"kind": "flux", "unit": "nJy", "column": "f"}, z_spec="z", ra="ra", dec="dec", optional=["position"])
    table = pa.table({"id": [1, 2, 1], "z": [0.1, None, 0.3], "ra": [10.0, 11.0, 12.0], "dec": [0.0, 0.0, 99.0]})
    bare = msgspec.structs.replace(survey, bands=(), photometry=())
    found = convert(table, bare)
    assert found.table.column_names == ["object_id", "ra", "dec", "z_spec"]
    assert (found.counts["duplicates"], found.counts["no_redshift"]) == (1, 1)
    nameless = msgspec.structs.replace(bare, identifier=(), duplicates="refuse")
    found = convert(table.drop_columns(["id"]), nameless, positions=True)
    assert found.table["object_id"].to_pylist() == [None, None]
    assert (found.counts["duplicates"], found.counts["no_position"]) == (0, 1)


def test_late_fractions_of_a_csv_file_are_numbers_and_bits_of_a_cut_stay_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photoz.tables.text._HEAD_BYTES", 64)
    rows = ["id,f,e,flags", *(f"{i},23,1,{i % 2}" for i in range(30)), "30,22.5,0.5,0"]
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    survey = make({"kind": "mag", "unit": "AB", "column": "f", "error": "e"}, cuts=["(flags & 1) == 0"])
    table = open_survey_table(str(tmp_path / "t.csv"), survey)
    found = pa.concat_tables(batch.table for part in table.parts for batch in read_sources(table, part, survey))
    assert found["object_id"].to_pylist() == [str(i) for i in range(0, 31, 2)]
    magnitudes = -2.5 * np.log10(found["flux_g"].to_numpy() / 3631e9)
    np.testing.assert_allclose(magnitudes, [23.0] * 15 + [22.5], rtol=1e-6)


def test_blanks_are_no_identifier() -> None:
    table = pa.table({"id": ["a", "  ", "", None], "f": [20.0] * 4})
    survey = make({"kind": "mag", "unit": "AB", "column": "f"})
    found = convert(table, survey)
    assert (found.table["object_id"].to_pylist(), found.counts["no_identifier"]) == (["a"], 3)
    kept = convert(table, survey, nameless=True)
    assert (kept.table["object_id"].to_pylist(), kept.counts["no_identifier"]) == (["a", None, None, None], 0)
