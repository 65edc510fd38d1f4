"""Catalogue rows: selection, sentinels, fluxes, positions."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy_healpix import HEALPix
from tiny_survey import BANDS, make_catalogue, make_config, write_catalogue

from photoz.errors import SurveyFileError
from photoz.photometry import derive_magnitudes
from photoz.schema import Flag, make_source_schema
from photoz.settings.config import Config
from photoz.survey.sources import calibrate_mag_auto, make_sources, read_catalogue, read_zeropoint_offsets
from photoz.survey.table import FitsTable

REAL_ROWS = Path(__file__).parents[3] / "shared/data/catalogues/kids_dr4_fors2_15rows.csv"


def ingest(tmp_path: Path, table: Table, config: Config | None = None, **options: object) -> pa.Table:
    return ingest_and_reject(tmp_path, table, config, **options)[0]


def ingest_and_reject(
    tmp_path: Path, table: Table, config: Config | None = None, **options: object
) -> tuple[pa.Table, np.ndarray]:
    path = tmp_path / "KiDS_DR4.0_180.0_-0.5_ugriZYJHKs_cat.fits"
    write_catalogue(path, table, options.get("offsets"))  # type: ignore[arg-type]
    config = config or make_config(tmp_path)
    bright = options.get("bright_ids")
    found = make_sources(read(config, path), "KIDS_180.0_-0.5", config.survey, config.selection, bright_ids=bright)  # type: ignore[arg-type]
    return found.table, found.rejected


def read(config: Config, path: Path) -> FitsTable:
    return read_catalogue(str(path), config.survey, config.selection)


def by_id(sources: pa.Table) -> dict[str, dict]:
    return {row["object_id"]: row for row in sources.to_pylist()}


def get_magnitude(row: dict, band: str) -> tuple[float, float]:
    """Return the magnitude and its error that a row's flux stands for."""
    fluxes_NF, errors_NF = (np.array([[row[name]]]) for name in (f"flux_{band}", f"fluxerr_{band}"))
    found = derive_magnitudes(fluxes_NF, errors_NF)
    return float(found.magnitudes_NF[0, 0]), float(found.errors_NF[0, 0])


@pytest.fixture
def table() -> Table:
    return make_catalogue("180.0_-0.5", 20, width_deg=0.05, seed=1)


def test_schema_tile_and_order(tmp_path: Path, table: Table) -> None:
    sources = ingest(tmp_path, table)
    assert sources.schema.equals(make_source_schema(BANDS), check_metadata=True)
    assert set(sources["tile"].to_pylist()) == {"KIDS_180.0_-0.5"}
    index = sources["_healpix_29"].to_numpy()
    assert (np.diff(index) >= 0).all()


def test_healpix_agrees_with_astropy_healpix(tmp_path: Path, table: Table) -> None:
    sources = ingest(tmp_path, table)
    grid = HEALPix(nside=2**29, order="nested")
    expected = grid.lonlat_to_healpix(*(sources[c].to_numpy() * u for c, u in (("ra", deg()), ("dec", deg()))))
    np.testing.assert_array_equal(sources["_healpix_29"].to_numpy(), expected)


def deg() -> object:
    from astropy import units

    return units.deg


def test_magnitudes_become_fluxes_and_sentinels_0_or_nan(tmp_path: Path, table: Table) -> None:
    rows = by_id(ingest(tmp_path, table))
    y, ks, nothing, whole = (rows[str(table["ID"][n])] for n in range(4))
    assert y["flux_Y"] == 0
    assert np.isnan(y["fluxerr_Y"])
    assert y["flags"] == Flag.BAND_NOT_DETECTED
    assert np.isnan([ks["flux_Ks"], ks["fluxerr_Ks"]]).all()
    assert ks["flags"] == Flag.BAND_NOT_OBSERVED
    assert nothing["flags"] == Flag.BAND_NOT_DETECTED | Flag.NO_PHOTOMETRY
    assert whole["flags"] == 0
    assert get_magnitude(whole, "g") == pytest.approx((float(table["MAG_GAAP_g"][3]), 0.02), abs=1e-6)


def test_error_without_magnitude_is_dropped_and_bare_sentinel_errors_too(tmp_path: Path, table: Table) -> None:
    table["MAGERR_GAAP_Y"][0] = 0.3
    table["MAGERR_GAAP_u"][3] = -99
    rows = by_id(ingest(tmp_path, table))
    assert np.isnan(rows[str(table["ID"][0])]["fluxerr_Y"])
    assert np.isnan(rows[str(table["ID"][3])]["fluxerr_u"])
    assert rows[str(table["ID"][3])]["flags"] == 0


@pytest.mark.parametrize("dereddened", [True, False])
def test_a_limit_is_the_error_of_what_was_not_detected(tmp_path: Path, table: Table, dereddened: bool) -> None:
    for band in BANDS:
        table[f"LIM_{band}"] = np.float32(25.0)
    table["MAGERR_GAAP_Y"][0] = 26.5  # as BPZ's catalogues have it: the column of limits goes before it
    columns = {"limit": "LIM_{band}"}
    survey = {"magnitudes_dereddened": dereddened}
    limits = {}
    for name, options in (("column", {**survey, "columns": columns}), ("error", survey)):
        row = by_id(ingest(tmp_path, table, make_config(tmp_path, survey=options)))[str(table["ID"][0])]
        assert row["flux_Y"] == 0
        limits[name] = derive_magnitudes(np.array([[row["fluxerr_Y"]]]), np.full((1, 1), np.nan)).magnitudes_NF[0, 0]
    faint = 0.0 if dereddened else 0.1
    assert limits == pytest.approx({"column": 25.0 - faint, "error": 26.5 - faint}, abs=1e-5)
    with pytest.raises(SurveyFileError, match=r"lacks the column MAG_LIM_u \(survey\.columns\.limit"):
        ingest(tmp_path, table, make_config(tmp_path, survey={"columns": {"limit": "MAG_LIM_{band}"}}))


def test_what_is_no_measurement_is_missing_and_counted(tmp_path: Path, table: Table) -> None:
    table["MAG_GAAP_u"][3:7] = -3.4e38, 4.9, 57.3, np.inf
    table["MAGERR_GAAP_g"][3:8] = 0.0, -1350.0, 10.1, np.inf, np.nan
    table["MAG_AUTO"][8] = 3.0
    table["MAGERR_AUTO"][3] = 0.0
    config, path = make_config(tmp_path), tmp_path / "a_cat.fits"
    write_catalogue(path, table)
    found = make_sources(read(config, path), "T", config.survey, config.selection)
    assert found.implausible == {**dict.fromkeys(BANDS, 0), "u": 4, "g": 4, "mag_auto": 1}
    rows = by_id(found.table)
    lost = [rows[str(table["ID"][n])] for n in range(3, 8)]
    assert np.isnan([[row["flux_u"], row["fluxerr_u"]] for row in lost[:4]]).all()
    assert [row["flags"] for row in lost] == [Flag.BAND_NOT_OBSERVED] * 4 + [0]
    assert np.isnan([row["fluxerr_g"] for row in lost]).all()
    assert np.isfinite([row["flux_g"] for row in lost]).all()
    assert np.isnan(lost[0]["magerr_auto"])
    assert str(table["ID"][8]) not in rows


def test_a_magnitude_that_many_sources_share_is_told(tmp_path: Path) -> None:
    table = make_catalogue("180.0_-0.5", 200, width_deg=0.05, seed=1)
    config, path = make_config(tmp_path), tmp_path / "a_cat.fits"
    table["MAG_GAAP_g"][3:43] = 35.0
    table["MAG_GAAP_i"][3:43] = 99.0  # which is declared
    write_catalogue(path, table)
    found = make_sources(read(config, path), "T", config.survey, config.selection)
    assert found.repeated == f"40 of {len(found.table) - 1} rows have exactly the magnitude in g 35.0"


def test_an_extinction_that_is_none_costs_its_band(tmp_path: Path, table: Table) -> None:
    table["EXTINCTION_g"][3:7] = np.nan, -0.1, 20.1, np.inf
    table["EXTINCTION_Y"][0] = np.nan
    config, path = make_config(tmp_path, survey={"magnitudes_dereddened": False}), tmp_path / "a_cat.fits"
    write_catalogue(path, table)
    found = make_sources(read(config, path), "T", config.survey, config.selection)
    assert (found.implausible["g"], found.implausible["Y"]) == (4, 1)
    rows = by_id(found.table)
    assert np.isnan([rows[str(table["ID"][n])]["flux_g"] for n in range(3, 7)]).all()
    assert {rows[str(table["ID"][n])]["flags"] for n in (0, 3, 4, 5, 6)} == {Flag.BAND_NOT_OBSERVED}
    table["EXTINCTION_r"][9] = np.nan  # that of mag_auto
    assert str(table["ID"][9]) not in by_id(ingest(tmp_path, table))


def test_forty_bands(tmp_path: Path, table: Table) -> None:
    bands = [f"n{number}" for number in range(40)]
    for number, band in enumerate(bands):
        for kind, like in (("MAG_GAAP", "g"), ("MAGERR_GAAP", "g"), ("EXTINCTION", "r")):
            table[f"{kind}_{band}"] = table[f"{kind}_{like}"]
        table[f"MAG_GAAP_{band}"][3] = 99 if number == 39 else 20
    config = make_config(tmp_path, survey={"bands": [*"ugri", *bands]})
    row = by_id(ingest(tmp_path, table, config))[str(table["ID"][3])]
    assert row["flux_n39"] == 0
    assert get_magnitude(row, "n38")[0] == pytest.approx(20.0)
    assert row["flags"] == Flag.BAND_NOT_DETECTED


def test_limit_is_strict(tmp_path: Path, table: Table) -> None:
    table["MAG_AUTO"] = np.float32(20.0)
    table["MAG_AUTO"][5] = np.nextafter(np.float32(20), np.float32(0))
    table["EXTINCTION_r"] = np.float32(0)
    sources = ingest(tmp_path, table, offsets={"R": 0.0})
    assert sources["object_id"].to_pylist() == [str(table["ID"][5])]


@pytest.mark.parametrize("value", [99.0, -99.0, np.nan, np.inf])
def test_no_total_magnitude_is_not_bright(tmp_path: Path, table: Table, value: float) -> None:
    table["MAG_AUTO"][7] = value
    assert str(table["ID"][7]) not in by_id(ingest(tmp_path, table))


def test_total_magnitude_is_calibrated_as_kids_bright_is(tmp_path: Path, table: Table) -> None:
    rows = by_id(ingest(tmp_path, table, offsets={"R": 0.03}))
    expected = float(table["MAG_AUTO"][3]) + 0.03 - 0.1
    assert rows[str(table["ID"][3])]["mag_auto"] == pytest.approx(expected, abs=1e-5)
    plain = make_config(tmp_path, survey={"mag_auto_dereddened": True, "mag_auto_offset_sign": 0})
    catalogue = read(plain, tmp_path / "KiDS_DR4.0_180.0_-0.5_ugriZYJHKs_cat.fits")
    np.testing.assert_array_equal(calibrate_mag_auto(catalogue, plain.survey), table["MAG_AUTO"])


@pytest.mark.parametrize(
    ("column", "value"), [("SG_FLAG", 0), ("SG2DPHOT", 1), ("CLASS_STAR", 0.5), ("MASK", 4), ("MASK", 16384)]
)
def test_default_cuts(tmp_path: Path, table: Table, column: str, value: float) -> None:
    table[column][4] = value
    table["MASK"][5] = 3  # bits that the cut does not ask for
    rows = by_id(ingest(tmp_path, table))
    assert str(table["ID"][4]) not in rows
    assert str(table["ID"][5]) in rows


def test_bright_sample_replaces_the_cuts_and_not_the_limit(tmp_path: Path, table: Table) -> None:
    table["SG_FLAG"] = 0
    ids = {str(table["ID"][4]), str(table["ID"][19]), "not in this tile"}
    assert set(by_id(ingest(tmp_path, table, bright_ids=ids))) == {str(table["ID"][4])}


def test_dereddening_where_the_survey_has_not_done_it(tmp_path: Path, table: Table) -> None:
    config = make_config(tmp_path, survey={"magnitudes_dereddened": False})
    rows = by_id(ingest(tmp_path, table, config))
    dereddened, _ = get_magnitude(rows[str(table["ID"][3])], "g")
    assert dereddened == pytest.approx(float(table["MAG_GAAP_g"][3]) - 0.1, abs=1e-5)
    assert rows[str(table["ID"][0])]["flux_Y"] == 0


def test_missing_column_names_column_file_and_setting(tmp_path: Path, table: Table) -> None:
    config = make_config(tmp_path, survey={"bands": [*BANDS, "q"]})
    with pytest.raises(SurveyFileError, match=r"_cat\.fits lacks the column MAG_GAAP_q .*band q of survey\.bands"):
        ingest(tmp_path, table, config)
    table.remove_column("SG2DPHOT")
    with pytest.raises(SurveyFileError, match=r"SG2DPHOT \(selection\.cuts\)"):
        ingest(tmp_path, table)


def test_bits_of_a_column_without_bits(tmp_path: Path, table: Table) -> None:
    config = make_config(tmp_path, selection={"cuts": [{"column": "CLASS_STAR", "bits_clear": 4}]})
    with pytest.raises(SurveyFileError, match="CLASS_STAR, which holds float32"):
        ingest(tmp_path, table, config)


# Rows without a position -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("DECJ2000", -999.0),
        ("DECJ2000", 90.0000001),
        ("DECJ2000", np.nan),
        ("DECJ2000", -np.inf),
        ("RAJ2000", -999.0),
        ("RAJ2000", 361.0000001),
        ("RAJ2000", np.nan),
        ("RAJ2000", np.inf),
    ],
)
def test_a_row_without_a_position_costs_itself_alone(tmp_path: Path, table: Table, column: str, value: float) -> None:
    whole = ingest(tmp_path, table)
    table[column][3] = value
    table[column][19] = value  # too faint to be selected, so not rejected either
    sources, rejected = ingest_and_reject(tmp_path, table)
    assert rejected.tolist() == [3]
    others = [object_id != str(table["ID"][3]) for object_id in whole["object_id"].to_pylist()]
    assert sources.to_pandas().equals(whole.filter(pa.array(others)).to_pandas())


def test_no_row_with_a_position_is_an_empty_table(tmp_path: Path, table: Table) -> None:
    selected = len(ingest(tmp_path, table))
    table["DECJ2000"] = -999.0
    sources, rejected = ingest_and_reject(tmp_path, table)
    assert (len(sources), len(rejected)) == (0, selected)
    assert sources.schema.equals(make_source_schema(BANDS), check_metadata=True)


def test_right_ascension_from_minus_180_is_the_same_place(tmp_path: Path) -> None:
    table = make_catalogue("0.0_-0.5", 20, width_deg=0.05, seed=1)
    assert (table["RAJ2000"] < 0).any()
    signed = by_id(ingest(tmp_path, table))
    table["RAJ2000"] = np.where(table["RAJ2000"] < 0, table["RAJ2000"] + 360, table["RAJ2000"])
    table["RAJ2000"][0], signed_zero = 360.0, table["ID"][0]
    rows = by_id(ingest(tmp_path, table))
    assert rows[signed_zero]["ra"] == 0
    del rows[signed_zero], signed[signed_zero]
    assert {name: (row["ra"], row["_healpix_29"]) for name, row in signed.items()} == {
        name: (row["ra"], row["_healpix_29"]) for name, row in rows.items()
    }


# Catalogues that are not what they should be -----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["n/a", "nan", True, 1 + 2j, -99.0, 1e30])
def test_an_offset_that_is_no_number_is_named(tmp_path: Path, table: Table, value: object) -> None:
    config, path = make_config(tmp_path), tmp_path / "a_cat.fits"
    write_catalogue(path, table, {"R": value})  # type: ignore[dict-item]
    catalogue = read(config, path)
    match = r"a_cat\.fits: its header has DMAG_R = .*correct the header, or set survey\.zeropoint_offset"
    for offsets_of in (calibrate_mag_auto, read_zeropoint_offsets):
        with pytest.raises(SurveyFileError, match=match) as caught:
            offsets_of(catalogue, config.survey)
        assert repr(value) in str(caught.value)
    unused = make_config(tmp_path, survey={"mag_auto_offset_sign": 0, "mag_auto_dereddened": True})
    np.testing.assert_array_equal(calibrate_mag_auto(catalogue, unused.survey), table["MAG_AUTO"])
    elsewhere = make_config(tmp_path, survey={"zeropoint_offset": "NO_{BAND}"})
    assert read_zeropoint_offsets(catalogue, elsewhere.survey) == dict.fromkeys("ugri")


def test_an_offset_that_is_no_fits_value_is_named(tmp_path: Path, table: Table) -> None:
    path = tmp_path / "a_cat.fits"
    write_catalogue(path, table, {"R": 0.03})
    path.write_bytes(path.read_bytes().replace(b"0.03 ", b"0.0.3", 1))
    config = make_config(tmp_path)
    with pytest.raises(SurveyFileError, match=r"a_cat\.fits.*DMAG_R"):
        calibrate_mag_auto(read(config, path), config.survey)


def test_an_offset_without_a_value_is_none(tmp_path: Path, table: Table) -> None:
    path = tmp_path / "a_cat.fits"
    write_catalogue(path, table, {"R": None, "U": 0.02})  # type: ignore[dict-item]
    config = make_config(tmp_path)
    assert read_zeropoint_offsets(read(config, path), config.survey) == {
        "u": 0.02,
        "g": None,
        "r": None,
        "i": None,
    }


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("MAG_AUTO", "17.0", r"MAG_AUTO \(survey\.columns\.mag_auto\) holds <U4, not a number a row"),
        ("MAG_GAAP_g", "faint", r"MAG_GAAP_g \(survey\.columns\.mag, band g of survey\.bands\) holds <U5"),
        ("RAJ2000", "12:00", r"RAJ2000 \(survey\.columns\.ra\) holds <U5"),
        ("EXTINCTION_r", "none", r"EXTINCTION_r \(survey\.columns\.extinction.*holds <U4"),
        ("SG_FLAG", "1", r"SG_FLAG \(selection\.cuts\) holds <U1"),
        ("MAG_GAAP_u", [20.0, 21.0], r"MAG_GAAP_u .*holds float64 of shape \(2,\) a row"),
        ("MAGERR_AUTO", 1 + 1j, r"MAGERR_AUTO .*holds complex128"),
        ("ID", [1, 2], r"ID .*holds int64 of shape \(2,\) a row, not an identifier"),
    ],
)
def test_a_column_without_a_number_a_row_is_named(
    tmp_path: Path, table: Table, column: str, value: object, text: str
) -> None:
    table[column] = [value] * len(table)
    with pytest.raises(SurveyFileError, match=rf"_cat\.fits: column {text}"):
        ingest(tmp_path, table)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (2.0**53 + np.arange(20.0), r"as float64, 9007199254740992 among them, .* exact to 2\^53 alone: write them"),
        ((2.0**24 + np.arange(20.0)).astype(np.float32), r"as float32, 16777216 among them, .* exact to 2\^24 alone"),
        (np.arange(20) + 0.5, r"as float64, 0\.5 among them"),
        (np.where(np.arange(20) == 3, np.inf, np.arange(20.0)), r"as float64, inf among them"),
    ],
)
def test_identifiers_that_a_float_has_rounded_are_refused(
    tmp_path: Path, table: Table, values: np.ndarray, text: str
) -> None:
    table["ID"] = values
    with pytest.raises(SurveyFileError, match=rf"column ID \(survey\.columns\.object_id\) holds identifiers {text}"):
        ingest(tmp_path, table)


def test_identifiers_that_are_whole_as_floats_are_written_as_such(tmp_path: Path, table: Table) -> None:
    table["ID"] = np.arange(20.0) + 7
    assert set(ingest(tmp_path, table)["object_id"].to_pylist()) <= {str(number) for number in range(7, 27)}


@pytest.mark.parametrize("how", ["blank", "nan", "tnull"])
def test_a_row_without_an_identifier_costs_itself_alone(tmp_path: Path, table: Table, how: str) -> None:
    nameless = np.isin(np.arange(20), (3, 4, 19))  # the last is too faint to be selected
    if how == "blank":
        table["ID"] = np.where(nameless, "   ", table["ID"])
    elif how == "nan":
        table["ID"] = np.where(nameless, np.nan, np.arange(20.0) + 7)
    else:
        table["ID"] = MaskedColumn(np.arange(20) + 7, mask=nameless, fill_value=-1)
    sources, rejected = ingest_and_reject(tmp_path, table)
    assert rejected.tolist() == [3, 4]
    selected = np.flatnonzero((table["MAG_AUTO"] + 0.03 - 0.1 < 20) & ~nameless)
    names = [str(table["ID"][row]).removesuffix(".0") for row in selected]
    assert sorted(sources["object_id"].to_pylist()) == sorted(names)
    # A list of bright galaxies has none of them, either.
    assert len(ingest(tmp_path, table, bright_ids=frozenset({"", names[0]}))) == 1


def test_whole_numbers_that_are_tnull_are_missing_and_meet_no_cut(tmp_path: Path, table: Table) -> None:
    whole = by_id(ingest(tmp_path, table))
    path = tmp_path / "KiDS_DR4.0_180.0_-0.5_ugriZYJHKs_cat.fits"
    with fits.open(path) as units:
        columns = []
        for column in units[1].columns:
            values = units[1].data[column.name]
            if column.name == "MAG_GAAP_g":
                values = np.rint(np.clip(values, -99, 99)).astype(np.int16)
                values[3] = -32768
                column = fits.Column(column.name, "I", array=values, null=-32768)
            elif column.name == "SG_FLAG":
                values = values.astype(np.int32)
                values[4] = -1
                column = fits.Column(column.name, "J", array=values, null=-1)
            columns.append(column)
        fits.HDUList([units[0].copy(), fits.BinTableHDU.from_columns(columns)]).writeto(path, overwrite=True)
    config = make_config(tmp_path)
    found = by_id(make_sources(read(config, path), "T", config.survey, config.selection).table)
    assert set(found) == set(whole) - {str(table["ID"][4])}
    assert np.isnan(found[str(table["ID"][3])]["flux_g"])
    others = [row["flux_g"] for name, row in found.items() if name != str(table["ID"][3])]
    assert np.isfinite(others).sum() >= len(others) - 1


@pytest.mark.parametrize(("first", "text"), [(-2880, "truncated"), (None, "corrupt")])
def test_damaged_catalogue_is_named(tmp_path: Path, table: Table, first: int | None, text: str) -> None:
    path = tmp_path / "c_cat.fits"
    write_catalogue(path, table)
    content = bytearray(path.read_bytes()[:first])
    content[-4000] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(SurveyFileError, match=rf"c_cat\.fits is {text}"):
        read(make_config(tmp_path), path)


def test_image_is_no_catalogue(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "i_cat.fits")
    with pytest.raises(SurveyFileError, match=r"i_cat\.fits holds no table"):
        read(make_config(tmp_path), tmp_path / "i_cat.fits")


@pytest.mark.skipif(not REAL_ROWS.exists(), reason="../shared/data with real KiDS rows is not there")
def test_real_rows_keep_their_numbers_and_gaps(tmp_path: Path) -> None:
    with REAL_ROWS.open() as file:
        real = list(csv.DictReader(file))
    table = make_catalogue("13.5_-28.4", len(real), width_deg=0.05, seed=1)
    table["MAG_AUTO"] = np.float32(18)
    for band in BANDS:
        values = [row[f"MAG_GAAP_{band}"] for row in real]
        table[f"MAG_GAAP_{band}"] = np.array([float(v) if v else 99.0 for v in values], np.float32)
    rows = by_id(ingest(tmp_path, table))
    assert len(rows) == 15
    for n, row in enumerate(real):
        ours = rows[str(table["ID"][n])]
        for band in BANDS:
            text, (magnitude, _) = row[f"MAG_GAAP_{band}"], get_magnitude(ours, band)
            gap = not text or abs(abs(float(text)) - 99) < 0.5
            assert np.isnan(magnitude) if gap else magnitude == pytest.approx(float(text), abs=1e-5)
