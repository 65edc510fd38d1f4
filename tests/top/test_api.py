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
    grid = np.linspace(0, 2, 2001)
    # A density: it integrates to 1, and its quantiles are those told.
    density = result.pdf(grid)
    np.testing.assert_allclose(np.trapezoid(density, grid, axis=1), 1, atol=0.01)
    ensemble = result.to_qp()
    assert ensemble.npdf == 100
    np.testing.assert_allclose(ensemble.cdf(result.quantiles[:, len(LEVELS) // 2][:, None])[:, 0], 0.5, atol=0.06)


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
