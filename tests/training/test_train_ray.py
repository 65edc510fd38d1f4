"""Ray Train around the training: two gloo workers on two CPUs, resuming after a killed worker, the estimator folder."""

import json
import threading
import time

import from_magnitudes
import numpy as np
import psutil
import pytest
from tiny_training import BANDS, make_config, write_training_set
from training_settings import make_settings

from cluster.training.networks import train_estimator
from cluster.training.plan import check_training_set, check_workers, compute_training_key
from photoz.errors import ConfigError, EstimatorError, TrainingError
from photoz.estimators import load_estimator
from photoz.estimators.networks.hybrid import PhotometryEstimator
from photoz.settings import config_to_dict


def make_galaxies(z_N, *, images):
    magnitudes_NF = np.stack([18 + 4 * z_N * (1 - i / 9) for i in range(9)], axis=1).astype(np.float32)
    cutouts_NBYX = np.ones((len(z_N), 4, 36, 36), np.float32) if images else None
    return from_magnitudes.make_inputs(magnitudes_NF, np.nan, cutouts_NBYX)


@pytest.mark.slow
def test_two_workers_train_the_combined_network(tmp_path, ray_cluster):
    config = make_config(tmp_path, estimator="hybrid")
    write_training_set(config)
    location = train_estimator(config)
    estimator = load_estimator(location)
    assert (estimator.name, estimator.bands) == ("hybrid", BANDS)
    assert np.isfinite(estimator.estimate(make_galaxies(np.array([0.1, 0.3]), images=True)).z_phot_N).all()
    history = json.loads((tmp_path / "training" / "history-hybrid.json").read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2]
    assert (tmp_path / "training" / "history-hybrid.png").read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "training" / "runs").iterdir())


@pytest.mark.slow
def test_the_same_training_is_not_repeated_and_another_not_overwritten(tmp_path, ray_cluster):
    config = make_config(tmp_path, workers=1, hold_gib=0.0)
    write_training_set(config)
    manifest = tmp_path / "models" / "photometry" / "manifest.json"
    train_estimator(config)
    written = manifest.stat().st_mtime_ns
    train_estimator(make_config(tmp_path, workers=2))
    assert manifest.stat().st_mtime_ns == written
    with pytest.raises(EstimatorError, match=r"training\.overwrite=true"):
        train_estimator(make_config(tmp_path, max_epochs=3))


@pytest.mark.slow
@pytest.mark.faults
def test_killed_worker_resumes_from_the_last_checkpoint(tmp_path, ray_cluster, capfd):
    config = make_config(tmp_path, max_epochs=5, batch_size=16)
    write_training_set(config)
    killed = threading.Event()
    killer = threading.Thread(target=kill_a_worker, args=(tmp_path / "training" / "runs", killed), daemon=True)
    killer.start()
    train_estimator(config)
    killer.join(timeout=5)
    assert killed.is_set()
    history = json.loads((tmp_path / "training" / "history-photometry.json").read_text())
    assert [epoch["epoch"] for epoch in history["epochs"]] == [1, 2, 3, 4, 5]


def kill_a_worker(runs, killed):
    """Send SIGKILL to one training process of this test's Ray once a checkpoint is there."""
    deadline = time.monotonic() + 600  # a busy machine takes minutes to the first checkpoint
    while time.monotonic() < deadline and not killed.is_set():
        if list(runs.glob("*/checkpoint_*/state.pt")):
            own = psutil.Process().children(recursive=True)
            workers = [process for process in own if "RayTrainWorker" in process.name()]
            if workers:
                workers[-1].kill()
                killed.set()
        time.sleep(0.05)


def test_workers_must_leave_a_cpu_to_the_readers():
    check_workers(make_settings(workers=2, cpus_per_worker=0.5), {"CPU": 2.0})
    with pytest.raises(ConfigError, match="leaves less than one"):
        check_workers(make_settings(workers=2, cpus_per_worker=1.0), {"CPU": 2.0})
    with pytest.raises(ConfigError, match="0 GPUs"):
        check_workers(make_settings(workers=1, use_gpu=True), {"CPU": 4.0})
    with pytest.raises(ConfigError, match="fewer than 2 galaxies"):
        check_workers(make_settings(workers=2, batch_size=2), {"CPU": 4.0})


def test_too_few_galaxies_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="10 galaxies to train"):
        check_training_set(make_config(tmp_path).training, {"train": 10, "valid": 5, "test": 5})
    with pytest.raises(TrainingError, match="no training set"):
        train_estimator(make_config(tmp_path))


def test_how_the_work_is_spread_makes_no_other_estimator(tmp_path):
    def key(**training):
        config = make_config(tmp_path, **training)
        assert config_to_dict(config)["training"]
        layout = PhotometryEstimator.make_layout(config.survey, config.training)
        return compute_training_key(config.training, layout, seed=config.run.seed, set_hash="hash")

    assert key() == key(workers=7, max_failures=0, overwrite=True)
    assert len({key(), key(batch_size=64), key(learning_rate=0.1), key(precision="bfloat16")}) == 4
