"""An estimator fitted to any table with redshifts: which galaxies are learnt from, and what is kept of the rest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_tables import BIG, Sky, make_rubin

from photoz.errors import ConfigError, EstimatorError, TableError, TrainingError
from photoz.estimators import load_estimator
from photoz.estimators.registry import list_fitted
from photoz.settings import convert_settings
from photoz.tables import load_survey, open_survey_table
from photoz.training.recorded import read_record
from photoz.training.settings import Fit
from photoz.training.table import choose_class, fit_galaxies, fit_table, gather_galaxies, read_galaxies

BANDS = ("u", "g", "r", "i", "z", "y")
SKY = Sky(",".join(BANDS), 200, seed=4)


def make_settings(folder: Path, **values: Any) -> Fit:
    table = {"location": str(folder / "t.parquet"), "survey": "rubin_dp1"}
    return convert_settings(Fit, {"table": table, "estimator": "knn", "model": str(folder / "model"), **values})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pq.write_table(make_rubin(SKY, redshifts=True), tmp_path / "t.parquet")
    return tmp_path


def make_batch(redshifts: list[float | None], first: int = 0, flux: float = 1e4) -> tuple[pa.Table, Mapping[str, int]]:
    """Rows as `photoz.tables` converts them, in one band."""
    count = len(redshifts)
    columns = {
        "object_id": [f"g{first + row}" for row in range(count)],
        "flux_r": pa.array([flux] * count, pa.float32()),
        "fluxerr_r": pa.array([10.0] * count, pa.float32()),
        "flags": pa.array([0] * count, pa.int32()),
        "z_spec": pa.array(redshifts, pa.float32()),
    }
    return pa.table(columns), {"rows": count, "rows_out": count}


def test_galaxies_with_a_redshift_are_gathered_in_order_and_the_others_counted() -> None:
    batches = [make_batch([0.1, np.nan, 0.9]), make_batch([np.nan]), make_batch([], 4), make_batch([0.3, 2.0], 4)]
    found = gather_galaxies(batches, ("r",), z_max=1.0)
    assert found.object_id.to_pylist() == ["g0", "g2", "g4"]
    np.testing.assert_array_equal(found.sample.z_N, np.float32([0.1, 0.9, 0.3]))
    assert found.sample.fluxes_NF.tolist() == [[1e4]] * 3
    assert found.counts == {"rows": 6, "rows_out": 6, "without_redshift": 2, "beyond_z_max": 1}


def test_a_redshift_at_the_limit_is_learnt_from() -> None:
    """As a float32 it is not quite the number that was set."""
    found = gather_galaxies([make_batch([0.3, 0.30001])], ("r",), z_max=0.3)
    assert found.object_id.to_pylist() == ["g0"]


@pytest.mark.parametrize("batches", [[], [make_batch([])], [make_batch([np.nan, np.nan])]])
def test_without_any_redshift_nothing_is_learnt_and_the_counts_say_why(batches: list[Any]) -> None:
    with pytest.raises(TrainingError, match=r"no galaxy has a redshift \(.*\): correct survey\.z_spec"):
        gather_galaxies(batches, ("r",))


def test_a_table_without_the_column_names_the_setting() -> None:
    table, counts = make_batch([0.1])
    with pytest.raises(ConfigError, match="has no z_spec: name the column of spectroscopic redshifts"):
        gather_galaxies([(table.drop_columns(["z_spec"]), counts)], ("r",))


def test_a_value_that_stands_for_no_redshift_is_told(caplog: pytest.LogCaptureFixture) -> None:
    redshifts = [*np.linspace(0.1, 0.9, 200), *[9.99] * 30]
    gather_galaxies([make_batch(redshifts)], ("r",))
    assert "30 of 230 rows have exactly the redshift 9.99: leave out by a cut" in caplog.text


def test_what_is_held_back_depends_on_identifiers_alone() -> None:
    """A table in another order, or with more rows, holds back the same galaxies: accuracies can be compared."""
    rng = np.random.default_rng(0)
    redshifts = rng.uniform(0.1, 0.9, 400)
    galaxies = gather_galaxies([make_batch(redshifts.tolist())], ("r",))
    learnt: list[set[float]] = []

    class Double:
        """Keeps the redshifts that it is fitted to."""

        @classmethod
        def fit(cls, sample: Any, **_: Any) -> Any:
            learnt.append(set(sample.z_N.tolist()))
            raise TrainingError("enough")

    for count in (400, 200):
        part = gather_galaxies([make_batch(redshifts[:count].tolist())], ("r",))
        with pytest.raises(TrainingError, match="enough"):
            fit_galaxies(Double, part, seed=3, valid_fraction=0.25, settings={})
    whole, half = learnt
    assert half == whole & set(np.float32(redshifts[:200]).tolist())
    assert len(galaxies.sample) - len(whole) == pytest.approx(100, abs=30)


def test_a_fit_writes_a_folder_that_tells_what_it_was_fitted_to(folder: Path) -> None:
    fitted = fit_table(make_settings(folder, bands=["g", "r", "i"], valid_fraction=0.2))
    again = load_estimator(str(folder / "model"))
    assert again.bands == ("g", "r", "i")
    record = read_record(again)
    assert record["survey"]["name"] == "Rubin DP1 Object"
    assert record["valid"] == fitted.valid
    assert fitted.valid["rows"] + record["training_rows"] == 200
    assert fitted.counts["rows"] == 200
    # JSON that any reader takes: no NaN, no infinity.
    json.loads((folder / "model" / "manifest.json").read_text(), parse_constant=pytest.fail)


def test_a_seed_gives_the_same_model_and_another_holds_back_others(folder: Path) -> None:
    def fit(name: str, seed: int) -> dict[str, Any]:
        fit_table(make_settings(folder, model=str(folder / name), seed=seed))
        manifest: dict[str, Any] = json.loads((folder / name / "manifest.json").read_text())
        return manifest

    assert fit("one", 1) == fit("same", 1)
    assert fit("one-more", 1)["record"] != fit("other", 2)["record"]


def test_another_model_is_replaced_only_where_that_is_asked_for(folder: Path) -> None:
    fit_table(make_settings(folder, bands=["g", "r"]))
    with pytest.raises(ConfigError, match=r"model' holds a model: give another folder, or replace it with --set over"):
        fit_table(make_settings(folder, bands=["r", "i"]))
    assert load_estimator(str(folder / "model")).bands == ("g", "r")
    fit_table(make_settings(folder, bands=["r", "i"], overwrite=True))
    assert load_estimator(str(folder / "model")).bands == ("r", "i")


def test_a_fit_that_fails_leaves_the_model_that_is_there(folder: Path) -> None:
    fit_table(make_settings(folder))
    with pytest.raises(TrainingError, match="no galaxy has a redshift"):
        fit_table(make_settings(folder, overwrite=True, z_max=0.001))
    assert load_estimator(str(folder / "model")).bands == BANDS


@pytest.mark.parametrize(
    ("values", "error", "told"),
    [
        ({"table": {"location": "/nowhere/t.parquet"}}, TableError, "there is no table at '/nowhere/t.parquet'"),
        ({"bands": ["r", "K"]}, ConfigError, r"bands \['r', 'K'\] are asked for, and survey Rubin DP1 Object has"),
        ({"estimator": "mpl"}, ConfigError, "mlp"),
        ({"settings": {"k": 3}}, TrainingError, r"knn has no settings \['k'\]"),
    ],
)
def test_what_cannot_be_fitted_is_refused_before_a_folder_is_made(
    folder: Path, values: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        fit_table(make_settings(folder, **values))
    assert not (folder / "model").exists()


@pytest.mark.parametrize("values", [{"valid_fraction": 0.0}, {"valid_fraction": 1.0}, {"model": ""}, {"table": {}}])
def test_settings_that_make_no_sense_are_refused_by_name(folder: Path, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"valid_fraction = |is not set: give it with --set"):
        make_settings(folder, **values).check()


def test_a_table_without_redshifts_says_which_setting_names_them(folder: Path) -> None:
    pq.write_table(make_rubin(SKY, redshifts=False), folder / "t.parquet")
    with pytest.raises(ConfigError, match=r"spectroscopic redshift is there: set survey\.z_spec"):
        fit_table(make_settings(folder))


def test_a_whole_table_is_read_for_its_redshifts_with_exact_identifiers(folder: Path) -> None:
    survey = load_survey("rubin_dp1")
    table = open_survey_table(str(folder / "t.parquet"), survey)
    found = read_galaxies(table, survey, ("g", "r"))
    assert found.object_id.to_pylist() == [str(BIG + row) for row in range(200)]
    np.testing.assert_allclose(found.sample.z_N, SKY.z, rtol=1e-6)
    np.testing.assert_allclose(found.sample.fluxes_NF[:, 1], SKY.flux["r"], rtol=1e-5)


@pytest.mark.parametrize("name", list_fitted())
def test_every_fitted_estimator_can_be_chosen(name: str) -> None:
    assert choose_class(name).name == name


def test_a_folder_of_networks_has_no_record_of_a_fit() -> None:
    assert read_record(object()) == {}  # type: ignore[arg-type]


def test_an_unfinished_folder_is_no_estimator(folder: Path) -> None:
    fit_table(make_settings(folder))
    (folder / "model" / "manifest.json").unlink()
    with pytest.raises(EstimatorError):
        load_estimator(str(folder / "model"))
