"""Five lines in a notebook: tables of any library in, redshifts out, of the same kind and in the same order."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as AstropyTable
from made_tables import Sky

import photoz
from photoz.errors import ConfigError, EstimatorError, TableError, TrainingError
from photoz.schema import LEVELS, Flag
from photoz.tables.load import make_survey

BANDS = "griz"


def make_columns(count: int, seed: int, *, redshifts: bool = True) -> dict[str, Any]:
    sky = Sky(",".join(BANDS), count, seed)
    columns: dict[str, Any] = {"name": [f"galaxy {row}" for row in range(count)]}
    for band in BANDS:
        columns |= {f"flux_{band}": sky.flux[band], f"fluxerr_{band}": sky.error[band]}
    return columns | ({"z_spec": sky.z} if redshifts else {})


@pytest.fixture(scope="module")
def model() -> photoz.Model:
    return photoz.fit(make_columns(400, 1), bands=BANDS, estimator="knn")


@pytest.fixture(scope="module")
def dense() -> photoz.Model:
    """A model that gives p(z), fitted in a second or two."""
    return photoz.fit(make_columns(400, 1), bands=BANDS, members=2, hidden=[24], most_steps=200, least_steps=150)


KINDS = {"arrow": pa.table, "pandas": pd.DataFrame, "astropy": AstropyTable, "mapping": dict}


def test_five_lines(dense: photoz.Model) -> None:
    model, target = dense, make_columns(100, 2)
    result = photoz.estimate(model, target)
    dz = (result.z_phot - target["z_spec"]) / (1 + target["z_spec"])
    assert np.median(np.abs(dz)) < 0.1
    assert model.accuracy["rows"] == 400 - int(model.estimator.parts.record["training_rows"])
    assert result.flags.shape == (100,)
    assert result.quantiles.shape == (100, len(LEVELS))
    grid = np.linspace(0, 2, 20_001)  # finer than the narrowest of them
    # A density: it integrates to 1, and its quantiles are those told.
    density = result.pdf(grid)
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=1), 1, atol=0.01)
    ensemble = result.to_qp()
    assert ensemble.npdf == 100
    # qp draws its own density through the quantiles, which does not meet narrow ones.
    np.testing.assert_allclose(ensemble.cdf(result.quantiles[:, len(LEVELS) // 2][:, None])[:, 0], 0.5, atol=0.1)


@pytest.mark.parametrize("kind", [dict, AstropyTable])
def test_no_rows_have_no_densities(dense: photoz.Model, kind: Any) -> None:
    result = photoz.estimate(dense, kind({name: np.asarray(values)[:0] for name, values in make_columns(3, 2).items()}))
    assert result.quantiles.shape == (0, len(LEVELS))
    assert result.pdf([0.1, 0.2]).shape == (0, 2)
    assert len(result.table) == 0


def test_one_galaxy_is_drawn(dense: photoz.Model) -> None:
    result = photoz.estimate(dense, make_columns(5, 2))
    [axes] = result.plot(3).axes
    assert axes.get_xlabel() == "redshift $z$"
    assert axes.get_title() == "3"
    drawn = axes.get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn[:, 1], result.pdf(drawn[:, 0])[3], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_gives_the_same(model: photoz.Model, kind: str) -> None:
    columns = make_columns(50, 3, redshifts=False)
    result = photoz.estimate(model, KINDS[kind](columns))
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, pa.table(columns)).z_phot)
    expected = {"arrow": pa.Table, "pandas": pd.DataFrame, "astropy": AstropyTable, "mapping": pa.Table}[kind]
    assert isinstance(result.table, expected)
    assert len(result.table) == len(result) == 50


def test_polars(model: photoz.Model) -> None:
    polars = pytest.importorskip("polars")
    columns = make_columns(50, 3, redshifts=False)
    result = photoz.estimate(model, polars.DataFrame(columns))
    assert isinstance(result.table, polars.DataFrame)
    np.testing.assert_array_equal(result.table["z_phot"].to_numpy(), result.z_phot.astype(np.float32))


def test_missing_values_of_each_kind(model: photoz.Model) -> None:
    columns = make_columns(6, 4, redshifts=False)
    columns["flux_g"][2] = np.nan
    by_nan = photoz.estimate(model, columns)
    arrow = pa.table(columns)
    place = arrow.schema.get_field_index("flux_g")
    by_null = photoz.estimate(model, arrow.set_column(place, "flux_g", pa.array(columns["flux_g"], from_pandas=True)))
    masked = AstropyTable(columns, masked=True)
    masked["flux_g"][2] = 1e9
    masked["flux_g"].mask[2] = True
    by_mask = photoz.estimate(model, masked)
    assert by_nan.flags[2] & Flag.BAND_NOT_OBSERVED
    for other in (by_null, by_mask):
        np.testing.assert_array_equal(other.z_phot, by_nan.z_phot)
        np.testing.assert_array_equal(other.flags, by_nan.flags)


def test_identifiers_are_kept_and_rows_are_numbered_without(model: photoz.Model) -> None:
    columns = make_columns(4, 5, redshifts=False)
    assert photoz.estimate(model, columns).arrow["object_id"].to_pylist() == ["0", "1", "2", "3"]
    big = [2**62 + row for row in range(4)]
    named = photoz.estimate(model, columns | {"object_id": np.array(big)})
    assert named.arrow["object_id"].to_pylist() == [str(number) for number in big]
    # Even one that comes twice: who hands over rows wants these rows back.
    twice = photoz.estimate(model, columns | {"object_id": ["a", "a", "b", "c"]})
    assert twice.arrow["object_id"].to_pylist() == ["a", "a", "b", "c"]


def test_a_model_is_saved_and_loaded_whole(model: photoz.Model, tmp_path: Path) -> None:
    model.save(str(tmp_path / "model"))
    again = photoz.load(str(tmp_path / "model"))
    columns = make_columns(20, 6)
    np.testing.assert_array_equal(photoz.estimate(again, columns).z_phot, photoz.estimate(model, columns).z_phot)
    assert again.survey == model.survey
    assert again.accuracy == model.accuracy
    assert again.bands == tuple(BANDS)


def test_files_by_their_location(model: photoz.Model, tmp_path: Path) -> None:
    columns = make_columns(400, 1) | {"object_id": [str(row) for row in range(400)]}
    location = str(tmp_path / "t.parquet")
    pq.write_table(pa.table(columns), location)
    of_file = photoz.fit(location, bands=BANDS, estimator="knn")
    np.testing.assert_array_equal(photoz.estimate(of_file, location).z_phot, photoz.estimate(model, columns).z_phot)


def test_locations_may_be_paths(model: photoz.Model, tmp_path: Path) -> None:
    columns = make_columns(100, 5) | {"object_id": [f"{row}" for row in range(100)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    model.save(tmp_path / "model")
    result = photoz.estimate(photoz.load(tmp_path / "model"), tmp_path / "t.parquet")
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)
    assert photoz.fit(tmp_path / "t.parquet", bands=BANDS, estimator="knn").bands == tuple(BANDS)


def test_a_survey_of_its_own() -> None:
    columns = make_columns(300, 1)
    nanomaggies = {f"FLUX_{band.upper()}": columns[f"flux_{band}"] / 3631 for band in "griz"}
    ivar = {f"FLUX_IVAR_{band.upper()}": (3631 / columns[f"fluxerr_{band}"]) ** 2 for band in "griz"}
    dust = {f"MW_TRANSMISSION_{band.upper()}": np.ones(300) for band in "griz"}
    ids = {"RELEASE": np.full(300, 10), "BRICKID": np.arange(300), "OBJID": np.arange(300)}
    place = {"RA": np.zeros(300), "DEC": np.zeros(300)}
    table = nanomaggies | ivar | dust | ids | place | {"z_spec": columns["z_spec"]}
    fitted = photoz.fit(table, bands="griz", survey="legacy_dr10", estimator="knn")
    result = photoz.estimate(fitted, table)
    assert result.arrow["object_id"][7].as_py() == "10-7-7"
    # As of the fluxes in nJy: with the same identifiers the same galaxies are held back.
    plain = photoz.fit(columns | {"object_id": result.arrow["object_id"].to_pylist()}, bands="griz", estimator="knn")
    np.testing.assert_allclose(result.z_phot, photoz.estimate(plain, columns).z_phot, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda columns: columns.pop("z_spec"), ConfigError, "z_spec"),
        (lambda columns: columns.pop("flux_g"), ConfigError, "flux_g"),
        (lambda columns: columns.update(z_spec=np.full(400, np.nan)), TrainingError, "no galaxy has a redshift"),
    ],
)
def test_a_table_that_cannot_be_learnt_from(change: Any, error: type[Exception], message: str) -> None:
    columns = make_columns(400, 1)
    change(columns)
    with pytest.raises(error, match=message):
        photoz.fit(columns, bands=BANDS, estimator="knn")


def test_what_is_no_table_is_refused(model: photoz.Model) -> None:
    with pytest.raises(TableError, match="a table of type list cannot be read: give one of pandas"):
        photoz.estimate(model, [1, 2, 3])


def test_an_estimator_without_densities_says_so() -> None:
    fitted = photoz.fit(make_columns(100, 1), bands=BANDS, estimator="fcnn", max_epochs=1)
    with pytest.raises(EstimatorError, match=r"gives no p\(z\)"):
        _ = photoz.estimate(fitted, make_columns(3, 2)).quantiles


def test_redshifts_are_never_below_0() -> None:
    columns = make_columns(300, 1)
    columns["z_spec"] = columns["z_spec"] / 100
    fitted = photoz.fit(columns, bands=BANDS, estimator="annz", members=1, kept=1, max_epochs=1)
    assert photoz.estimate(fitted, make_columns(500, 9)).z_phot.min() >= 0


def test_galaxies_beyond_z_max_are_left_out() -> None:
    fitted = photoz.fit(make_columns(400, 1), bands=BANDS, estimator="knn", z_max=0.3)
    assert photoz.estimate(fitted, make_columns(200, 2)).z_phot.max() <= 0.3


def test_rows_without_identifier_or_position_come_out_all_the_same(model: photoz.Model, caplog, tmp_path: Path) -> None:
    columns = make_columns(6, 5, redshifts=False)
    place = {"ra": [10.0, np.nan, 20.0, 400.0, 30.0, 40.0], "dec": [0.0, 0.0, -999.0, 0.0, 90.0, np.inf]}
    table = pa.table(columns | place | {"object_id": ["a", None, "", "d", "e", " "]})
    result = photoz.estimate(model, table)
    assert result.arrow["object_id"].to_pylist() == ["a", None, None, "d", "e", None]
    np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, columns).z_phot)
    assert np.isnan(result.arrow["ra"].to_numpy()).tolist() == [False, True, True, True, False, True]
    pq.write_table(table, tmp_path / "t.parquet")
    assert len(photoz.estimate(model, str(tmp_path / "t.parquet"))) == 3
    assert "rows that are set aside: no_identifier 3" in caplog.text


def test_columns_that_nobody_asks_for_may_hold_anything(model: photoz.Model, caplog) -> None:
    columns = make_columns(4, 5, redshifts=False)
    expected = photoz.estimate(model, columns).z_phot
    swapped = {name: np.asarray(values).astype(">f8") for name, values in columns.items() if name != "name"}
    odd = {"shape": np.ones(4) * 1j, "spectrum": np.ones((4, 3)), "notes": np.array([1, "a", None, b"b"], object)}
    np.testing.assert_array_equal(photoz.estimate(model, swapped | odd).z_phot, expected)
    frame = pd.DataFrame(columns)
    frame["notes"], frame[7] = odd["notes"], 1.0
    np.testing.assert_array_equal(photoz.estimate(model, frame).z_phot, expected)
    # Nobody has looked at them.
    assert "notes" not in caplog.text
    with pytest.raises(ConfigError, match=r"lacks 1 of the columns.*flux_g"):
        photoz.estimate(model, columns | {"flux_g": odd["spectrum"]})
    with pytest.raises(TableError, match="all of one length"):
        photoz.estimate(model, columns | {"flux_g": np.ones(3)})


class Unread:
    """A column of a table that is far away: whoever reads it gets nothing."""

    def __len__(self) -> int:
        return 4

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise AssertionError("read, and nobody asks for it")


class Stream:
    """A table of some library that Arrow alone knows how to read."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(schema)


def test_of_a_wide_table_only_what_is_asked_for_is_read(model: photoz.Model, caplog) -> None:
    columns = make_columns(4, 5, redshifts=False)
    expected = photoz.estimate(model, columns).z_phot
    ragged = [[1.0], [2.0, 3.0], [], [4.0]]
    spectra = {"spectrum": ragged, "lines": [{"w": 1.0}] * 4, "wide": [[1.0] * 500] * 4}
    wide = pa.table(columns | spectra)
    for table in (wide, Stream(wide), columns | {"spectrum": ragged, "far": Unread()}, wide.to_pandas()):
        np.testing.assert_array_equal(photoz.estimate(model, table).z_phot, expected)
    twice = wide.append_column("name", wide["name"])
    np.testing.assert_array_equal(photoz.estimate(model, twice).z_phot, expected)
    assert caplog.text == ""
    with pytest.raises(TableError, match="several columns of the name 'flux_g': rename"):
        photoz.estimate(model, twice.append_column("flux_g", twice["flux_r"]))
    train = pa.table(make_columns(100, 1) | {"spectrum": [[1.0]] * 100})
    assert photoz.fit(train, bands=BANDS, estimator="knn").bands == tuple(BANDS)


def test_fluxes_in_another_unit_are_told(model: photoz.Model, caplog) -> None:
    columns = make_columns(40, 5, redshifts=False)
    photoz.estimate(model, columns)
    assert caplog.text == ""
    dim = columns | {"flux_g": columns["flux_g"] / 3631}
    photoz.estimate(model, dim)
    assert "the table: the median magnitude of band g is 3" in caplog.text
    bright = make_columns(100, 5)
    with pytest.raises(TrainingError, match=r"the bands \['r'\] have no flux in any of the 100 galaxies"):
        photoz.fit(bright | {"flux_r": bright["flux_r"] * 1e9}, bands=BANDS, estimator="knn")
    assert "most values of band r are outside 5 to 40 mag and left out: is its unit right?" in caplog.text


def test_bands_that_a_table_lacks_may_be_accepted(model: photoz.Model, tmp_path: Path) -> None:
    columns = make_columns(4, 5, redshifts=False) | {"object_id": ["a", "b", "c", "d"]}
    missing = columns | {"flux_z": np.full(4, np.nan)}
    few = {name: values for name, values in columns.items() if not name.endswith("_z")}
    pq.write_table(pa.table(few), tmp_path / "t.parquet")
    for table in (few, str(tmp_path / "t.parquet")):
        with pytest.raises(ConfigError, match=r"lacks 2 of the columns.*flux_z"):
            photoz.estimate(model, table)
        result = photoz.estimate(model, table, absent_bands="accept")
        assert (result.flags & Flag.BAND_NOT_OBSERVED != 0).all()
        np.testing.assert_array_equal(result.z_phot, photoz.estimate(model, missing).z_phot)
    with pytest.raises(ConfigError, match="lacks 4 of the columns"):
        photoz.estimate(model, {"object_id": ["a"]}, absent_bands="accept")


def test_columns_of_objects_of_a_polars_frame_are_left_alone(model: photoz.Model) -> None:
    polars = pytest.importorskip("polars")
    columns = make_columns(4, 5, redshifts=False)
    frame = polars.DataFrame(columns).with_columns(polars.Series("things", [{1}, {2}, {3}, {4}], dtype=polars.Object))
    np.testing.assert_array_equal(photoz.estimate(model, frame).z_phot, photoz.estimate(model, columns).z_phot)


def test_what_only_a_fit_or_a_file_needs_is_not_asked_of_rows_to_estimate() -> None:
    """Neither a redshift, which is what is wanted, nor the columns of cuts, which are not applied to rows in memory."""
    survey = make_survey(
        {
            "name": "mine",
            "bands": list(BANDS),
            "identifier": "name",
            "z_spec": "z_spec",
            "z_quality": "nq",
            "z_quality_least": 3,
            "cuts": ["bad == 0"],
            "photometry": {"kind": "flux", "unit": "nJy", "column": "flux_{band}", "error": "fluxerr_{band}"},
        }
    )
    train = make_columns(100, 1) | {"nq": np.full(100, 4), "bad": np.zeros(100)}
    fitted = photoz.fit(train, survey=survey, estimator="knn")
    assert len(photoz.estimate(fitted, make_columns(4, 5, redshifts=False))) == 4


def test_a_table_without_rows(model: photoz.Model, tmp_path: Path) -> None:
    empty = pa.table(make_columns(4, 5, redshifts=False)).slice(0, 0)
    assert len(photoz.estimate(model, empty)) == 0
    pq.write_table(empty.append_column("object_id", pa.array([], pa.string())), tmp_path / "t.parquet")
    assert len(photoz.estimate(model, str(tmp_path / "t.parquet"))) == 0
