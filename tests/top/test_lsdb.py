"""Redshifts of a catalogue that LSDB has open: lazily, by partitions, the same as inference gives."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import lsdb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pdf_double import DoubleEstimator, known
from tiny_catalogues import make_sky

import photoz.lsdb
from photoz.errors import ConfigError, EstimatorError
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.knn import KnnEstimator
from photoz.inference import estimate_rows
from photoz.lsdb import estimate, estimate_frame
from photoz.schema import LEVELS, PDF_COLUMNS, QUANTILES_TYPE, Flag
from photoz.settings.inference import Inference
from photoz.tables import convert
from photoz.tables.load import make_survey

BANDS = ("g", "r", "i")
COUNT = 400


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Fluxes [nJy] of galaxies, negative ones and none among them, under a survey's own names."""
    sky, rng = make_sky(COUNT), np.random.default_rng(1)
    fluxes = {band: 3631e9 * 10 ** (-0.4 * (sky.mag + rng.normal(0.3, 0.2, COUNT))) for band in BANDS}
    fluxes["r"][5], fluxes["g"][6] = -20.0, np.nan
    columns = {f"{band}_flux": values for band, values in fluxes.items()}
    columns |= {f"{band}_err": np.full(COUNT, 30.0) for band in BANDS}
    place = {"number": np.arange(COUNT) + 2**60, "ra": sky.ra, "dec": sky.dec}
    return pd.DataFrame(place | columns | {"star": (np.arange(COUNT) % 10 == 0).astype(np.int16), "comment": "x"})


@pytest.fixture(scope="module")
def survey() -> Any:
    photometry = {"kind": "flux", "unit": "nJy", "column": "{band}_flux", "error": "{band}_err", "dereddened": True}
    named = {"identifier": "number", "ra": "ra", "dec": "dec", "bands": [*BANDS, "z"], "photometry": photometry}
    return make_survey({"name": "made", **named})


@pytest.fixture(scope="module")
def catalog(frame: pd.DataFrame) -> lsdb.Catalog:
    made = lsdb.from_dataframe(frame, partition_rows=100, margin_threshold=60)
    assert len(made.get_healpix_pixels()) > 2
    return made


@pytest.fixture
def model(tmp_path: Path) -> Iterator[str]:
    DoubleEstimator(("g", "r")).save(str(tmp_path / "double"))
    photoz.lsdb._load.cache_clear()
    with known():
        yield str(tmp_path / "double")


def test_the_rows_are_those_of_inference(catalog: lsdb.Catalog, frame: pd.DataFrame, survey: Any, model: str) -> None:
    found = estimate(catalog, model, survey=survey, columns=["star"]).compute().sort_values("number")
    rows = convert(pa.Table.from_pandas(frame), survey, ("g", "r")).table
    expected = estimate_rows(photoz.lsdb._complete(rows), DoubleEstimator(("g", "r"))).table
    names = ["z_phot", "flags", *(f"double_{name}" for name in PDF_COLUMNS), "double_z_quantiles"]
    assert list(found.columns) == ["number", "ra", "dec", "star", *names]
    assert found["number"].tolist() == frame["number"].tolist()
    assert np.isnan(found["z_phot"].to_numpy()).sum() == 1
    assert found["flags"].iloc[5] & Flag.ESTIMATE_FAILED
    assert found["flags"].iloc[6] & Flag.BAND_NOT_OBSERVED
    for name in names[:-1]:
        np.testing.assert_array_equal(found[name].to_numpy(np.float64, na_value=np.nan), expected[name].to_numpy())
    assert found["double_z_quantiles"].tolist() == expected["double_z_quantiles"].to_pylist()


def test_nothing_is_read_before_it_is_computed_and_the_model_is_loaded_once(
    catalog: lsdb.Catalog, survey: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, estimated = [], []
    prepare = photoz.lsdb.prepare_estimator
    rows = photoz.lsdb.estimate_rows
    monkeypatch.setattr(photoz.lsdb, "prepare_estimator", lambda *args: loaded.append(args) or prepare(*args))
    monkeypatch.setattr(
        photoz.lsdb,
        "estimate_rows",
        lambda table, *args, **more: estimated.append(len(table)) or rows(table, *args, **more),
    )
    result = estimate(catalog, model, survey=survey)
    assert not any(estimated)  # but a table without rows, for its columns
    assert len(result.get_healpix_pixels()) == len(catalog.get_healpix_pixels())
    with dask.config.set(scheduler="synchronous"):
        result.compute()
    assert sum(estimated) == COUNT
    assert len(loaded) == 1


def test_a_model_that_was_fitted_anew_in_its_place_is_the_one_that_estimates(
    frame: pd.DataFrame, survey: Any, tmp_path: Path
) -> None:
    """As in a notebook, whose process has loaded the earlier one."""
    sample = convert(pa.Table.from_pandas(frame), survey, BANDS).table
    fluxes, errors = (
        np.stack([sample[f"{name}_{band}"].to_numpy() for band in BANDS], axis=1) for name in ("flux", "fluxerr")
    )
    found = []
    for low, high in ((0.1, 0.2), (0.6, 0.7)):
        redshifts = np.linspace(low, high, len(sample))
        KnnEstimator.fit(Sample(BANDS, fluxes, errors, redshifts)).save(str(tmp_path))
        rows = estimate_frame(frame, str(tmp_path), survey, Inference(), ["number"])
        found.append(float(np.nanmedian(rows["z_phot"].to_numpy(np.float64, na_value=np.nan))))
    assert 0.1 < found[0] < 0.2
    assert 0.6 < found[1] < 0.7


def test_what_comes_out_is_a_catalogue_of_lsdb(catalog: lsdb.Catalog, survey: Any, model: str, tmp_path: Path) -> None:
    result = estimate(catalog, model, survey=survey)
    assert result.dtypes["double_z_quantiles"].pyarrow_dtype == QUANTILES_TYPE
    near = result.cone_search(180.0, 0.0, 1800)
    assert 0 < len(near.compute()) < COUNT
    nested = result.nest_lists(list_columns=["double_z_quantiles"], name="pdf").compute()
    assert len(nested["pdf.double_z_quantiles"]) == COUNT * len(LEVELS)
    assert result.margin is not None
    assert "z_phot" in result.margin.columns
    assert len(result.margin.compute()) == len(catalog.margin.compute()) > 0
    result.write_catalog(tmp_path / "written", as_collection=False)
    assert len(lsdb.open_catalog(tmp_path / "written").compute()) == COUNT


def test_rows_that_the_survey_cuts_are_left_out(
    catalog: lsdb.Catalog, frame: pd.DataFrame, survey: Any, model: str
) -> None:
    cut = msgspec.structs.replace(survey, cuts=("star == 0",))
    found = estimate(catalog, model, survey=cut).compute()
    assert sorted(found["number"]) == frame["number"][frame["star"] == 0].tolist()


def test_redshifts_alone_are_given_where_no_density_is_wanted(
    catalog: lsdb.Catalog, survey: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    z_N = rng.uniform(0.05, 0.5, 60)
    fluxes = np.stack([1e5 * (1 + z_N), 2e5 * (1 + 2 * z_N)], axis=1)
    KnnEstimator.fit(Sample(("g", "r"), fluxes, fluxes * 0.01, z_N)).save(str(tmp_path / "knn"))
    found = estimate(catalog, str(tmp_path / "knn"), survey=survey, settings=Inference(pdf=False)).compute()
    assert list(found.columns) == ["number", "ra", "dec", "z_phot", "flags"]
    assert np.isfinite(found["z_phot"].to_numpy()).sum() > COUNT / 2


def test_what_does_not_fit_is_told_before_anything_is_computed(
    catalog: lsdb.Catalog, survey: Any, model: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="plain"):
        estimate(catalog, model)
    DoubleEstimator(("r", "z")).save(str(tmp_path / "other"))
    with pytest.raises(ConfigError, match="z_flux"):
        estimate(catalog, str(tmp_path / "other"), survey=survey)
    with pytest.raises(EstimatorError, match="no trained estimator"):
        estimate(catalog, str(tmp_path / "none"), survey=survey)


def test_without_lsdb_the_extra_is_named(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lsdb", None)
    with pytest.raises(ImportError, match=r"photoz\[lsdb\]"):
        estimate(None, model)
