"""Tables in memory as people have them: no rows, one row, arrays of any layout, values that are missing or wild."""

import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import QTable
from astropy.table import Table as AstropyTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_tables import Sky

import photoz
from photoz.errors import ConfigError, EstimatorError, PhotozError, TableError, TrainingError
from photoz.schema import Flag
from photoz.tables.load import make_survey

BANDS = ("g", "r", "i", "z")
BIG = [2**63 - 1 - row for row in range(3)]

wild = st.sampled_from([0.0, -1.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-30, 3000.0, 5.0])


def make_columns(count: int, seed: int = 2, *, redshifts: bool = False) -> dict[str, Any]:
    sky = Sky(",".join(BANDS), count, seed)
    columns: dict[str, Any] = {}
    for band in BANDS:
        columns |= {f"flux_{band}": sky.flux[band], f"fluxerr_{band}": sky.error[band]}
    return columns | ({"z_spec": sky.z} if redshifts else {})


@pytest.fixture(scope="module")
def model() -> photoz.Model:
    return photoz.fit(make_columns(300, 1, redshifts=True), bands=BANDS, estimator="knn")


def change(columns: dict[str, Any], how: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {name: how(np.asarray(values)) for name, values in columns.items()}


@pytest.mark.parametrize("kind", [dict, pa.table, pd.DataFrame, AstropyTable])
def test_no_rows_give_no_rows(model: photoz.Model, kind: Callable[[Any], Any]) -> None:
    result = photoz.estimate(model, kind(change(make_columns(3), lambda values: values[:0])))
    assert len(result) == len(result.table) == 0
    assert result.z_phot.shape == result.flags.shape == (0,)


@pytest.mark.parametrize("ending", ["parquet", "csv", "fits"])
def test_a_file_without_rows_gives_none_and_its_columns(model: photoz.Model, tmp_path: Path, ending: str) -> None:
    location = str(tmp_path / f"t.{ending}")
    columns = make_columns(3) | {"object_id": np.array(["a", "b", "c"])}
    nothing = change(columns, lambda values: values[:0])
    if ending == "parquet":
        pq.write_table(pa.table(nothing), location)
    elif ending == "csv":
        Path(location).write_text(",".join(nothing) + "\n")
    else:
        AstropyTable(nothing).write(location)
    result = photoz.estimate(model, location)
    assert len(result) == 0
    assert result.arrow.schema.equals(photoz.estimate(model, columns).arrow.schema)


def test_a_row_alone_is_estimated_as_among_others(model: photoz.Model) -> None:
    columns = make_columns(40)
    whole = photoz.estimate(model, columns).z_phot
    for row in (0, 17, 39):
        alone = photoz.estimate(model, change(columns, lambda values, row=row: values[row : row + 1]))
        assert alone.z_phot.tolist() == [whole[row]]


def test_the_size_of_batches_and_the_order_of_rows_change_nothing(model: photoz.Model) -> None:
    columns = make_columns(40)
    whole = photoz.estimate(model, columns).z_phot
    np.testing.assert_array_equal(photoz.estimate(model, columns, batch_size=7).z_phot, whole)
    order = np.random.default_rng(0).permutation(40)
    turned = photoz.estimate(model, change(columns, lambda values: values[order]))
    np.testing.assert_array_equal(turned.z_phot, whole[order])


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "every second of twice as many": lambda values: np.repeat(values, 2)[::2],
    "backwards": lambda values: values[::-1].copy()[::-1],
    "a column of a matrix": lambda values: np.stack([values, values], axis=1)[:, 0],
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
    "read-only": lambda values: np.frombuffer(values.tobytes(), values.dtype),
    "lists": lambda values: values.tolist(),
    "objects": lambda values: values.astype(object),
    "pandas": pd.Series,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_how_an_array_lies_in_memory_does_not_matter(model: photoz.Model, layout: str) -> None:
    columns = make_columns(20)
    result = photoz.estimate(model, change(columns, LAYOUTS[layout]))
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)


def test_columns_of_a_fits_file_are_taken_as_they_come(model: photoz.Model, tmp_path: Path) -> None:
    columns = make_columns(20)
    AstropyTable(columns).write(tmp_path / "t.fits")
    records = fits.getdata(tmp_path / "t.fits")
    result = photoz.estimate(model, {name: records[name] for name in records.names})
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)


def test_a_masked_value_is_none_whatever_lies_beneath(model: photoz.Model) -> None:
    """A mask of numpy's own in a mapping, too: else the value beneath would pass for a measurement."""
    columns = make_columns(6)
    missing = columns | {"flux_g": np.where(np.arange(6) == 2, np.nan, columns["flux_g"])}
    masked = columns | {
        "flux_g": np.ma.masked_array(np.where(np.arange(6) == 2, 1e4, columns["flux_g"]), np.arange(6) == 2)
    }
    expected, found = (photoz.estimate(model, each) for each in (missing, masked))
    assert found.flags[2] & Flag.BAND_NOT_OBSERVED
    np.testing.assert_array_equal(found.z_phot, expected.z_phot)
    np.testing.assert_array_equal(found.flags, expected.flags)
    # A mask that hides nothing, as numpy makes it of none.
    bare = photoz.estimate(model, columns | {"flux_g": np.ma.masked_array(columns["flux_g"])})
    np.testing.assert_array_equal(bare.z_phot, photoz.estimate(model, columns).z_phot)


def test_other_columns_are_not_looked_at(model: photoz.Model) -> None:
    columns = make_columns(5)
    others = {"spectrum": np.ones((5, 30)), "note": ["ü"] * 5, "flux_of_no_band": np.full(5, np.nan)}
    result = photoz.estimate(model, others | columns)
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)
    assert "note" not in result.arrow.column_names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Größe", "星系 1", "a\tb"], ["Größe", "星系 1", "a\tb"]),
        (BIG, [str(number) for number in BIG]),
        (np.array(BIG, np.uint64), [str(number) for number in BIG]),
        ([1.0, 2.0, 3.0], ["1", "2", "3"]),
        (np.array([b"001", b"002", b"003"]), ["001", "002", "003"]),
    ],
)
def test_identifiers_come_back_exact(model: photoz.Model, names: Any, expected: list[str]) -> None:
    result = photoz.estimate(model, make_columns(3) | {"object_id": names})
    assert result.arrow["object_id"].to_pylist() == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(wild, min_size=8, max_size=8), min_size=1, max_size=6))
def test_whatever_stands_there_every_row_comes_out_with_a_redshift_or_a_reason(
    model: photoz.Model, rows: list[list[float]]
) -> None:
    values = np.array(rows).T
    columns = dict(zip([f"{kind}_{band}" for band in BANDS for kind in ("flux", "fluxerr")], values, strict=True))
    result = photoz.estimate(model, columns)
    assert len(result) == len(rows)
    failed = (result.flags & Flag.ESTIMATE_FAILED) != 0
    np.testing.assert_array_equal(np.isnan(result.z_phot), failed)
    assert (result.z_phot[~failed] >= 0).all()
    # Without a detection in any band there is nothing to estimate from, and with one there is.
    np.testing.assert_array_equal(failed, (result.flags & Flag.NO_PHOTOMETRY) != 0)
    observed = np.isfinite(values[::2]) & (np.abs(values[::2]) < 1e29)
    np.testing.assert_array_equal((result.flags & Flag.BAND_NOT_OBSERVED) != 0, ~observed.all(axis=0))


@pytest.mark.parametrize("place", [(np.nan, 1.0), (10.0, np.nan), (10.0, 91.0), (np.inf, 1.0)])
def test_a_row_without_a_position_is_estimated_all_the_same(place: tuple[float, float]) -> None:
    """Who hands over rows wants these rows back; where one lies matters to files of a sky, not to its redshift."""
    photometry = {"kind": "flux", "unit": "nJy", "column": "flux_{band}", "error": "fluxerr_{band}"}
    values = {"name": "placed", "bands": list(BANDS), "identifier": "id", "ra": "ra", "dec": "dec"}
    survey = make_survey(values | {"photometry": photometry, "z_spec": "z_spec", "optional": ["z_spec"]})
    train = make_columns(100, 1, redshifts=True) | {"id": np.arange(100), "ra": np.ones(100), "dec": np.ones(100)}
    fitted = photoz.fit(train, survey=survey, estimator="knn")
    placed = make_columns(3) | {"id": np.arange(3), "ra": np.full(3, 10.0), "dec": np.full(3, 1.0)}
    lost = placed | {"ra": np.array([10.0, place[0], 10.0]), "dec": np.array([1.0, place[1], 1.0])}
    result = photoz.estimate(fitted, lost)
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(fitted, placed).z_phot)
    assert np.isnan(result.arrow["ra"].to_numpy()).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("columns", "error", "told"),
    [
        ({"flux_g": [1.0, 2.0], "flux_r": [1.0]}, TableError, r"\{'flux_g': 2, 'flux_r': 1\}.*all of one length"),
        ({"flux_g": 1.0}, TableError, "flux_g is no array: give an array of each"),
        ({name: ["bright"] for name in make_columns(1)}, ConfigError, "is string, and numbers are wanted"),
        ({}, ConfigError, "lacks 4 of the columns"),
    ],
)
def test_a_mapping_that_is_no_table_is_refused(
    model: photoz.Model, columns: dict[str, Any], error: type[PhotozError], told: str
) -> None:
    with pytest.raises(error, match=told):
        photoz.estimate(model, columns)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"estimator": "knm"}, ConfigError, "knn"),
        ({"estimator": "hybrid"}, ConfigError, r"'hybrid' is trained on images.*photoz train"),
        ({"neighbors": 3}, TrainingError, r"knn has no settings \['neighbors'\]; it has \["),
        ({"valid_fraction": 1.0}, ConfigError, r"valid_fraction = 1\.0 must be at least 0 and below 1"),
        ({"valid_fraction": -0.1}, ConfigError, r"valid_fraction = -0\.1"),
        ({"z_max": 0.01}, TrainingError, r"no galaxy has a redshift \(.*'beyond_z_max': 100.*\): correct"),
        ({"survey": "des_y6"}, ConfigError, "did you mean 'des_y6_gold'"),
        ({"bands": "grK"}, ConfigError, "K"),
        ({"bands": ""}, ConfigError, r"bands \[\] are asked for: name some, each once"),
        ({"bands": "gg"}, ConfigError, r"bands \['g', 'g'\] are asked for: name some, each once"),
        ({"bands": [1, 2]}, ConfigError, r"bands = \[1, 2\]: give the names of bands"),
        ({"bands": 5}, ConfigError, "bands = 5: give the names of bands"),
        ({"survey": "$PHOTOZ_NOWHERE/s.toml"}, ConfigError, "survey .*PHOTOZ_NOWHERE"),
        ({"survey": "~/no/such.toml"}, ConfigError, "'/.*/no/such.toml'"),
        ({"bands": "g,,r"}, ConfigError, r"bands = 'g,,r': give the names of bands"),
        ({"z_max": "1"}, ConfigError, r"z_max = '1': give a redshift above 0"),
        ({"z_max": np.nan}, ConfigError, "z_max = nan: give a redshift above 0"),
        ({"z_max": -1}, ConfigError, "z_max = -1: give a redshift above 0"),
        ({"survey": 5}, ConfigError, "survey = 5: give a name, the path of a file"),
        ({"estimator": 5}, ConfigError, "estimator = '5' is no estimator"),
        ({"estimator": None}, ConfigError, "estimator = 'None' is no estimator"),
        ({"held_out": 2.0}, TrainingError, r"held_out = 2\.0 is nothing that it can be"),
        ({"held_out": 1}, TrainingError, r"1 of \d\d galaxies held out leaves none to learn from"),
        ({"estimator": "boosted", "held_out": 0.999}, TrainingError, r"0\.999 of \d\d galaxies held out leaves none"),
        ({"estimator": "boosted", "feature_fraction": 1.5}, TrainingError, r"feature_fraction = 1\.5 is nothing"),
    ],
)
def test_a_fit_that_cannot_be_is_refused_with_the_remedy(
    options: dict[str, Any], error: type[PhotozError], told: str
) -> None:
    with pytest.raises(error, match=told):
        photoz.fit(make_columns(100, redshifts=True), **({"bands": BANDS, "estimator": "knn"} | options))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"batch_size": size}, rf"batch_size = {size!r}: give a whole number of 1 or more")
        for size in (0, -1, 2.5, "a", None, True)
    ]
    + [({"absent_bands": "maybe"}, "absent_bands = 'maybe': give 'refuse' or 'accept'")],
)
def test_what_would_make_every_row_fail_is_refused(model: photoz.Model, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        photoz.estimate(model, make_columns(3), **options)


def test_a_location_is_no_model() -> None:
    with pytest.raises(ConfigError, match=r"model is a str: give what photoz.fit or photoz.load returned"):
        photoz.estimate("data/model", make_columns(3))  # type: ignore[arg-type]


def test_bands_may_be_written_as_the_command_has_them() -> None:
    columns = make_columns(100, redshifts=True)
    assert photoz.fit(columns, "g,r, i,z", estimator="knn").bands == ("g", "r", "i", "z")


def test_locations_mean_what_they_mean_in_settings(
    model: photoz.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home, a variable and a relative path are one place to a notebook and to the command; none is no place."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model.save("~/model")
    pq.write_table(pa.table(make_columns(9) | {"object_id": range(9)}), tmp_path / "t.parquet")
    for place in ("~", "$SCRATCH", f"file://{tmp_path}", ".", ""):
        beside = f"{place}/" if place else ""
        assert len(photoz.estimate(photoz.load(f"{beside}model"), f"{beside}t.parquet")) == 9
    for work in (model.save, photoz.load, lambda location: photoz.estimate(model, location)):
        with pytest.raises(ConfigError, match="is empty: give a path or a URL"):
            work("")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "t.parquet"]


def test_a_file_is_no_folder_of_a_model(model: photoz.Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"file' is a file: give a folder"):
        model.save(tmp_path / "file")
    with pytest.raises(EstimatorError, match=r"no trained estimator at .*file'"):
        photoz.load(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("make", [pd.arrays.SparseArray, lambda values: np.asarray(values, np.longdouble)])
def test_numbers_of_other_kinds_are_read(model: photoz.Model, make: Callable[[Any], Any]) -> None:
    columns = make_columns(9)
    other = columns | {"flux_g": make(columns["flux_g"])}
    for table in (other, pd.DataFrame(other)):
        np.testing.assert_array_equal(photoz.estimate(model, table).z_phot, photoz.estimate(model, columns).z_phot)


@pytest.mark.parametrize("name", ["flux_g", "fluxerr_g", "z_spec"])
def test_a_column_that_rows_are_made_of_is_not_left_out(name: str) -> None:
    """Of all bands the table has, a model would be fitted to the others."""
    columns = make_columns(100, redshifts=True)
    columns[name] = columns[name].astype(complex)
    with pytest.raises(TableError, match=f"column {name} cannot be read, for the reason in the log: give numbers"):
        photoz.fit(columns, estimator="knn")


@pytest.mark.parametrize("value", [">24.1", "20.1(3)", "flux_g", "'20.1'"])
def test_the_value_that_is_no_number_is_told_of_a_file(model: photoz.Model, tmp_path: Path, value: str) -> None:
    frame = pd.DataFrame(make_columns(9) | {"object_id": range(9)})
    frame["flux_g"] = [value if row == 5 else f"{flux:.3f}" for row, flux in enumerate(frame["flux_g"])]
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        ConfigError, match=rf"column flux_g is string, and numbers are wanted \({re.escape(repr(value))} is"
    ):
        photoz.estimate(model, str(tmp_path / "t.csv"))


def test_redshifts_that_are_none_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """In another unit: those beyond 15 are left out, and the others pass for redshifts."""
    columns = make_columns(100, redshifts=True)
    columns["z_spec"] = 40 * columns["z_spec"]
    count = int((columns["z_spec"] > 15).sum())
    photoz.fit(columns, "griz", estimator="knn")
    assert f"{count} of 100 rows have a redshift out of survey.z_min to z_max and are left out" in caplog.text


def test_all_galaxies_may_be_learnt_from() -> None:
    fitted = photoz.fit(make_columns(100, redshifts=True), bands=BANDS, estimator="knn", valid_fraction=0.0)
    assert fitted.accuracy == {"rows": 0, "smad": None, "r2": None}


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotozError, match=str(tmp_path)):
        photoz.load(str(tmp_path))


def test_identifiers_of_an_astropy_table_that_are_objects_are_not_numbered_anew(model: photoz.Model) -> None:
    names = np.array(["b-2", "a-1"], object)
    result = photoz.estimate(
        model, AstropyTable(make_columns(2) | {"object_id": names, "things": np.array([{}, 1], object)})
    )
    assert result.arrow["object_id"].to_pylist() == ["b-2", "a-1"]
    assert "things" not in result.arrow.column_names


def test_units_that_a_table_in_memory_states_count(model: photoz.Model) -> None:
    """As those of a file: a flux in mJy is a millionth of what it would be in nJy, and no less plausible a number."""
    columns = make_columns(5)
    places = {"ra": np.linspace(10, 11, 5), "dec": np.linspace(-5, -4, 5)}
    right = {name: values * (units.nJy if name.startswith("flux") else 1) for name, values in columns.items()}
    turned = {name: (values * units.deg).to(units.rad) for name, values in places.items()}
    expected = photoz.estimate(model, columns)
    for table in (right | turned, QTable(right | turned)):
        result = photoz.estimate(model, table)
        np.testing.assert_array_equal(result.z_phot, expected.z_phot)
        np.testing.assert_allclose(result.arrow["ra"].to_numpy(), places["ra"])
    wrong = right | {"flux_g": right["flux_g"].to(units.mJy)}
    for table in (wrong, QTable(wrong), AstropyTable(QTable(wrong))):
        with pytest.raises(ConfigError, match=r"fluxes in several units \(flux_g in 'mJy', flux_r in 'nJy'"):
            photoz.estimate(model, table)


def test_units_of_a_file_that_a_notebook_names_count(model: photoz.Model, tmp_path: Path) -> None:
    table = AstropyTable(make_columns(5, redshifts=True) | {"object_id": np.arange(5)})
    table["flux_g"].unit = "uJy"
    table.write(tmp_path / "t.fits")
    with pytest.raises(ConfigError, match="set unit = 'uJy'"):
        photoz.estimate(model, str(tmp_path / "t.fits"))
    with pytest.raises(ConfigError, match="set unit = 'uJy'"):
        photoz.fit(str(tmp_path / "t.fits"), BANDS, estimator="knn")


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, AstropyTable])
@pytest.mark.parametrize("names", [[2**70, 2**70 + 1], ["a", 2], [(1, 2), "b"]])
def test_identifiers_that_cannot_be_taken_are_refused_and_not_numbered_anew(
    model: photoz.Model, kind: Callable[[Any], Any], names: list[Any]
) -> None:
    """They would come back as 0, 1, 2, which are some other galaxies."""
    table = kind(make_columns(2) | {"object_id": np.array(names, object)})
    with pytest.raises(TableError, match=r"column object_id cannot be read, .*: give whole numbers of 64 bits or text"):
        photoz.estimate(model, table)


def test_a_flux_that_many_rows_share_is_told_by_value(model: photoz.Model, caplog: pytest.LogCaptureFixture) -> None:
    """A sentinel that nobody has named; a table of distinct fluxes has none."""
    columns = make_columns(300, 1, redshifts=True)
    photoz.estimate(model, columns)
    photoz.fit(columns, BANDS, estimator="knn")
    assert "have exactly" not in caplog.text
    columns["flux_r"] = np.where(np.arange(300) % 10 == 0, -999.0, columns["flux_r"])
    for work in (lambda: photoz.estimate(model, columns), lambda: photoz.fit(columns, BANDS, estimator="knn")):
        caplog.clear()
        work()
        assert "30 of 300 rows have exactly the flux [nJy] in r -999.0: name the value in" in caplog.text


@pytest.mark.parametrize("kind", [dict, pd.DataFrame, pa.table])
def test_uuids_are_identifiers_as_everybody_writes_them(model: photoz.Model, kind: Any, tmp_path: Path) -> None:
    names = [uuid.UUID(int=2**127 + 3**60 * row) for row in range(3)]
    try:
        pa.array(names)
    except pa.ArrowInvalid:
        pytest.skip("this pyarrow takes no UUID of Python's")
    columns = make_columns(3)
    table = kind(columns | {"object_id": np.array(names, object) if kind is not pa.table else pa.array(names)})
    assert photoz.estimate(model, table).arrow["object_id"].to_pylist() == [str(name) for name in names]
    pq.write_table(pa.table(columns | {"object_id": pa.array(names)}), tmp_path / "t.parquet")
    found = photoz.estimate(model, str(tmp_path / "t.parquet"))
    assert found.arrow["object_id"].to_pylist() == [str(name) for name in names]


def test_columns_of_one_name_are_refused(model: photoz.Model, tmp_path: Path) -> None:
    table = pa.table(make_columns(3) | {"object_id": ["a", "b", "c"]})
    table = table.append_column("flux_g", table["flux_r"])
    pq.write_table(table, tmp_path / "t.parquet")
    for place in (table, str(tmp_path / "t.parquet")):
        with pytest.raises(TableError, match="columns of the name 'flux_g': rename all but one"):
            photoz.estimate(model, place)


def test_runs_of_values_are_read(model: photoz.Model) -> None:
    columns = make_columns(3)
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(columns["flux_g"]))
    result = photoz.estimate(model, pa.table(columns).set_column(0, "flux_g", runs))
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)


def test_a_series_is_no_table(model: photoz.Model) -> None:
    with pytest.raises(TableError, match="a Series is no table of columns"):
        photoz.estimate(model, pd.Series([1.0, 2.0], name="flux_g"))


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=f"seed = {seed!r}: give a whole number of 0 or more"):
        photoz.fit(make_columns(50, redshifts=True), "griz", estimator="knn", seed=seed)


@pytest.mark.parametrize("share", [-0.1, 1, np.nan, "a tenth"])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction = .* must be at least 0 and below 1"):
        photoz.fit(make_columns(50, redshifts=True), "griz", estimator="knn", valid_fraction=share)


def test_numbers_of_numpy_are_taken_as_pythons_own(tmp_path: Path) -> None:
    columns = make_columns(200, redshifts=True)
    model = photoz.fit(
        columns, np.array(BANDS), estimator="knn", seed=np.int64(3), valid_fraction=np.float32(0.25),
        z_max=np.float32(0.7), neighbours=(np.int64(5), np.int32(9)),
    )  # fmt: skip
    model.save(tmp_path / "model")
    plain = photoz.fit(
        columns, "griz", estimator="knn", seed=3, valid_fraction=0.25, z_max=float(np.float32(0.7)), neighbours=(5, 9)
    )
    expected = photoz.estimate(plain, columns).z_phot
    np.testing.assert_array_equal(photoz.estimate(photoz.load(tmp_path / "model"), columns).z_phot, expected)


@pytest.mark.parametrize("location", [5, b"x", None])
def test_what_is_no_location_is_refused(location: object) -> None:
    with pytest.raises(ConfigError, match=r"location = .*: give a path or a URL"):
        photoz.load(location)  # type: ignore[arg-type]
