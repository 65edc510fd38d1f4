"""Photometric estimators fitted to the survey's training set and run over the survey, as the two jobs do."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from astropy.table import Table
from conftest import ReadySurvey
from runs import assert_same_rows, change, read_all

from cluster.inference.run import infer_catalogue
from cluster.lock import hold_lock
from cluster.training.networks import train_estimator
from cluster.training.photometric import check_task, compute_photometric_key, use_threads
from cluster.training.set import build_training_set
from photoz.catalogue.hats import list_partitions, read_partition
from photoz.errors import ConfigError, EstimatorError, TrainingError
from photoz.estimators import load_estimator
from photoz.estimators.base import check_bands
from photoz.estimators.registry import list_fitted
from photoz.inference import estimate_rows
from photoz.schema import Flag
from photoz.settings.config import Config
from photoz.training.crossmatch import SPLITS
from photoz.training.photometric import read_sample
from photoz.training.settings import Spreading

SMALL = {
    "mlp": {"members": 2, "hidden": [24], "least_steps": 60, "epochs": 1},
    "annz": {"max_epochs": 3},
    "boosted": {"max_trees": 20},
    "cnn1d": {"max_epochs": 3},
    "fcnn": {"max_epochs": 3},
    "gat": {"max_epochs": 3},
}


@pytest.fixture(scope="module")
def trained_on(ready_survey: ReadySurvey, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings with a training set: every source of the tiny survey with a redshift, and a folder for models."""
    folder = tmp_path_factory.mktemp("photometric")
    places = {f"locations__{name}": str(folder / name) for name in ("survey", "training", "models", "catalogue")}
    config = change(ready_survey.config, **places, training__fit=SMALL)
    rows = [read_partition(config.locations.sources, part) for part in list_partitions(config.locations.sources)]
    sources = pa.concat_tables(rows)
    z_N = np.linspace(0.05, 0.4, len(sources))
    spectra = {"RAcen": sources["ra"].to_numpy(), "Deccen": sources["dec"].to_numpy(), "Z": z_N}
    (folder / "survey").mkdir()
    table = Table({**spectra, "NQ": np.full(len(z_N), 4), "duplicate": np.zeros(len(z_N), int)})
    table.write(f"{config.locations.survey}/{config.crossmatch.file}")
    build_training_set(config)
    return config


@pytest.mark.parametrize("name", list_fitted())
def test_every_estimator_is_trained_on_the_survey_and_run_over_it(trained_on: Config, name: str) -> None:
    config = change(trained_on, training__estimator=name)
    location = train_estimator(config)
    estimator = load_estimator(location)
    assert (estimator.name, estimator.bands, estimator.cutout_size) == (name, config.survey.bands, 0)
    check_bands(estimator, config.survey)
    sources = read_partition(config.locations.sources, list_partitions(config.locations.sources)[0])
    table = estimate_rows(sources, estimator).table
    assert table["object_id"].to_pylist() == sources["object_id"].to_pylist()
    z_N, flags_N = table["z_phot"].to_numpy(), table["flags"].to_numpy()
    lost_N = (flags_N & Flag.NO_PHOTOMETRY) != 0
    assert np.isfinite(z_N[~lost_N]).all()
    assert np.isnan(z_N[lost_N]).all()
    assert lost_N.sum() == 1


def test_sample_holds_the_training_split_alone(trained_on: Config) -> None:
    samples = {split: read_sample(trained_on.locations.training, trained_on.survey.bands, split) for split in SPLITS}
    summary = json.loads((Path(trained_on.locations.training) / "set.json").read_text())
    assert {split: len(sample) for split, sample in samples.items()} == summary["splits"]
    assert samples["train"].bands == trained_on.survey.bands
    assert samples["train"].fluxes_NF.shape == samples["train"].errors_NF.shape == (len(samples["train"]), 9)
    assert not set(samples["train"].z_N.tolist()) & set(samples["test"].z_N.tolist())


def test_the_same_fit_is_not_repeated_and_another_not_overwritten(trained_on: Config, tmp_path: Path) -> None:
    config = change(trained_on, training__estimator="knn", locations__models=str(tmp_path))
    manifest = tmp_path / "knn" / "manifest.json"
    train_estimator(config)
    record = json.loads(manifest.read_text())["record"]
    assert record["valid"]["rows"] == len(read_sample(config.locations.training, config.survey.bands, "valid"))
    written = manifest.stat().st_mtime_ns
    train_estimator(
        change(config, training__schedule={"batch_size": 16}, training__spreading={"threads_per_worker": 1})
    )
    assert manifest.stat().st_mtime_ns == written
    other = change(config, training__fit={"knn": {"neighbours": [3]}})
    with pytest.raises(EstimatorError, match=r"training\.overwrite=true"):
        train_estimator(other)
    train_estimator(change(other, training__overwrite=True))
    assert json.loads(manifest.read_text())["settings"]["neighbours"] == 3


def test_a_folder_in_another_format_does_not_pass_for_trained(trained_on: Config, tmp_path: Path) -> None:
    config = change(trained_on, training__estimator="knn", locations__models=str(tmp_path))
    manifest = Path(train_estimator(config)) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format_version": 0}))
    with pytest.raises(EstimatorError, match=r"another version of photoz \(format 0, .*training\.overwrite=true"):
        train_estimator(config)
    load_estimator(train_estimator(change(config, training__overwrite=True)))


def test_trainings_that_begin_at_once_make_one_training_set(trained_on: Config, tmp_path: Path, caplog) -> None:
    config = change(trained_on, locations__training=str(tmp_path))
    with ThreadPoolExecutor(1) as thread:
        with hold_lock(str(tmp_path)), caplog.at_level("INFO"):
            waiting = thread.submit(build_training_set, config)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=2)
            assert [file.name for file in tmp_path.iterdir()] == ["lock.json"]
        assert waiting.result().rows
    assert f"waiting for process {os.getpid()}" in caplog.text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["set", "set.json"]


def test_key_holds_what_the_fit_depends_on(trained_on: Config) -> None:
    def key(set_hash: str = "a", **changes: object) -> str:
        config = change(trained_on, training__estimator="knn", **changes)
        bands, seed = config.survey.bands, config.run.seed
        return compute_photometric_key(config.training, bands, seed=seed, set_hash=set_hash)

    same = {key(), key(training__spreading={"workers": 7}), key(training__fit={"mlp": {"members": 9}})}
    assert len(same) == 1
    others = {key("b"), key(run__seed=2), key(training__fit={"knn": {"neighbours": [3]}})}
    assert len(same | others) == 4


def test_wrong_settings_of_a_fit_are_refused(trained_on: Config) -> None:
    knn = change(trained_on, training__estimator="knn", training__overwrite=True)
    with pytest.raises(TrainingError, match="knn has no settings"):
        train_estimator(change(knn, training__fit={"knn": {"neighbors": [3]}}))
    with pytest.raises(ConfigError, match="knnn"):
        train_estimator(change(knn, training__fit={"knnn": {}}))


def test_no_training_set_is_told(trained_on: Config, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"run jobs/train_dr4\.py"):
        train_estimator(change(trained_on, training__estimator="mlp", locations__training=str(tmp_path)))


def test_a_task_that_would_wait_for_ever_is_refused() -> None:
    check_task(Spreading(), {"CPU": 1.0})
    with pytest.raises(ConfigError, match="cpus_per_worker"):
        check_task(Spreading(cpus_per_worker=4), {"CPU": 2.0})
    with pytest.raises(ConfigError, match="no GPU"):
        check_task(Spreading(use_gpu=True), {"CPU": 2.0})


def test_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    for found in ("3", None):
        monkeypatch.setenv("OMP_NUM_THREADS", "3") if found else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with use_threads(1):
            assert (torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]) == (1, "1")
        assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == (before, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "knn"])
def test_every_engine_trains_and_estimates_alike(
    trained_on: Config, ray_cluster: None, tmp_path: Path, name: str
) -> None:
    catalogues = {}
    for engine in ("serial", "ray", "dask"):
        places = {"locations__models": str(tmp_path / engine), "locations__catalogue": str(tmp_path / f"{engine}-z")}
        chosen = {"training__estimator": name, "inference__estimator": name, "engine__name": engine}
        config = change(trained_on, **places, **chosen)
        train_estimator(config)
        record = infer_catalogue(config)
        assert record.estimated == record.rows - 3  # one a tile has no magnitude at all
        catalogues[engine] = read_all(config.locations.catalogue)
    assert_same_rows(catalogues["ray"], catalogues["serial"])
    assert_same_rows(catalogues["dask"], catalogues["serial"])


@pytest.mark.slow
def test_an_error_in_rays_task_is_told_in_one_line(trained_on: Config, ray_cluster: None) -> None:
    config = change(trained_on, training__estimator="knn", training__overwrite=True, engine__name="ray")
    with pytest.raises(TrainingError) as found:
        train_estimator(change(config, training__fit={"knn": {"neighbors": [3]}}))
    assert "\n" not in str(found.value)
