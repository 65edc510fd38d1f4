"""The list of estimators: what its classes declare, and that an image estimator is a file and a line in it."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ReadySurvey
from runs import change, read_all
from tiny_training import BANDS, make_config, write_training_set

from cluster.inference.run import infer_catalogue
from cluster.training.plan import TrainingPlan, plan_training, save_estimator
from photoz.errors import EstimatorError
from photoz.estimators import load_estimator, registry
from photoz.estimators.networks.base import NetworkEstimator
from photoz.estimators.networks.batches import Batch, prepare_batch
from photoz.estimators.networks.paper import PAPERS_SCHEDULE
from photoz.estimators.photometric.base import Parts, PhotometricEstimator
from photoz.estimators.photometric.knn import KnnEstimator
from photoz.inputs import make_inputs
from photoz.training.epoch import make_learner, train_epoch, validate
from photoz.training.set import list_columns, read_split


@pytest.mark.parametrize("name", sorted(registry.CLASSES))
def test_every_class_says_how_it_is_trained_and_goes_by_its_name(name: str) -> None:
    kind = registry.load_class(name)
    base = {"fitted": PhotometricEstimator, "spread": NetworkEstimator}[kind.trained]
    assert issubclass(kind, base)
    assert kind.name == name


def test_fitted_estimators_are_those_without_images() -> None:
    fitted = registry.list_fitted()
    assert {"mlp", "knn"} <= set(fitted)
    assert set(registry.CLASSES) - set(fitted) == {"hybrid", "photometry", "hybrid-paper"}


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(EstimatorError, match=r"named 'hybird'; known are \['annz'.*'hybrid'"):
        registry.load_class("hybird")


def test_an_estimator_does_not_change() -> None:
    arrays = {"points": np.zeros((3, 1)), "z": np.zeros(3), "shift": np.zeros(1), "spread": np.ones(1)}
    estimator = KnnEstimator(Parts(("r",), {"features": "magnitudes", "neighbours": 2}, arrays))
    recorded = estimator.with_record({"key": "k"})
    assert (estimator.parts.record, recorded.parts.record) == ({}, {"key": "k"})
    with pytest.raises(FrozenInstanceError):
        estimator.parts = recorded.parts  # type: ignore[misc]


def test_the_papers_training_has_the_papers_settings_whatever_is_said(tmp_path: Path) -> None:
    config = make_config(tmp_path, estimator="hybrid-paper", workers=7, huber_delta=0.5, decay=0.5)
    resolved = registry.load_class("hybrid-paper").resolve_settings(config.training)
    assert {name: getattr(resolved.schedule, name) for name in PAPERS_SCHEDULE} == PAPERS_SCHEDULE
    assert (resolved.loss.huber_delta, resolved.loss.smooth_nz_width) == (1e-4, 0.0)
    assert (resolved.schedule.max_epochs, resolved.spreading.workers) == (2, 7)
    assert registry.load_class("hybrid").resolve_settings(config.training) == config.training


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> type[NetworkEstimator]:
    monkeypatch.setitem(registry.CLASSES, "tiny", "tiny_estimator:TinyEstimator")
    return registry.load_class("tiny")


def read_batches(plan: TrainingPlan, split: str) -> Iterator[Batch]:
    """As a worker of Ray Train reads them, without Ray."""
    for table in read_split(plan.config.locations.training, split, list_columns(BANDS, images=True)):
        z_N = table["z_spec"].to_numpy()
        options = {"preparation": plan.preparation, "device": torch.device("cpu")}
        yield prepare_batch(make_inputs(table, BANDS), z_N, **options)


def test_an_image_estimator_is_a_file_and_a_line_in_the_list(
    kind: type[NetworkEstimator], ready_survey: ReadySurvey, tmp_path: Path
) -> None:
    config = make_config(tmp_path, estimator="tiny", learning_rate=0.03, shape="exponential", average=0.0)
    write_training_set(config)
    plan = plan_training(config, kind)
    torch.manual_seed(0)
    network, objective = plan.make_network(), plan.make_objective()
    learner = make_learner(network, config.training.schedule, steps=plan.steps)
    batches = list(read_batches(plan, "train"))
    before = validate(network, read_batches(plan, "valid"), objective=objective).compute_metrics()
    for _ in range(30):
        train_epoch(learner, batches, objective=objective, generator=torch.Generator())
    after = validate(network, read_batches(plan, "valid"), objective=objective).compute_metrics()
    assert after["mae"] < 0.5 * before["mae"]
    location = str(tmp_path / "models" / "tiny")
    save_estimator(plan, network.state_dict(), location, {"key": "k"})
    assert load_estimator(location).image_bands == ready_survey.config.survey.image_bands
    places = {"locations__models": str(tmp_path / "models"), "locations__catalogue": str(tmp_path / "catalogue")}
    record = infer_catalogue(change(ready_survey.config, inference__estimator="tiny", **places))
    rows = read_all(str(tmp_path / "catalogue"))
    assert record.estimated == np.isfinite(rows["z_phot"].to_numpy()).sum() > 0.9 * len(rows)
