"""The loop that fits small networks: which weights are kept, when it ends, and what a seed decides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from from_magnitudes import make_sample
from torch import nn

from photoz.estimators.photometric.annz import AnnzEstimator
from photoz.estimators.photometric.fcnn import FcnnEstimator
from photoz.estimators.photometric.fitting import Recipe, fit_network, make_defaults, predict

RECIPE = Recipe(optimizer="adam", learning_rate=0.05, batch_size=16, max_epochs=30, patience=30)


class Line(nn.Module):
    """One straight line through the features; notes how many rows each step had."""

    def __init__(self, features: int = 2, start: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(features, 1)
        nn.init.constant_(self.layer.weight, start)
        nn.init.zeros_(self.layer.bias)
        self.seen: list[torch.Tensor] = []

    def forward(self, features_NF: torch.Tensor) -> torch.Tensor:
        """Return one value a row."""
        if self.training:
            self.seen.append(features_NF.detach().clone())
        return self.layer(features_NF).squeeze(1)


def make_rows(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    features = np.random.default_rng(seed).normal(size=(count, 2))
    return features, 0.5 + features @ np.array([1.0, -2.0])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_line_is_found_whatever_the_optimizer_and_loss(optimizer: str, loss: str) -> None:
    network = Line()
    recipe = replace(RECIPE, optimizer=optimizer, loss=loss, max_epochs=40)
    best = fit_network(network, make_rows(64), make_rows(40, 1), recipe=recipe, seed=1)
    np.testing.assert_allclose(network.layer.weight.detach().cpu().numpy(), [[1.0, -2.0]], atol=0.1)
    assert best < 0.01
    assert not network.training


def test_the_loss_returned_is_that_of_the_weights_kept() -> None:
    network, held = Line(), make_rows(40, 1)
    best = fit_network(network, make_rows(64), held, recipe=replace(RECIPE, max_epochs=3), seed=1)
    assert best == pytest.approx(np.mean((predict(network, held[0]) - held[1]) ** 2), rel=1e-5)


def test_weights_are_those_of_the_best_epoch_and_not_of_the_last() -> None:
    # Held-out rows say the opposite of the training rows, so that every epoch is worse than the first.
    features, targets = make_rows(64)
    network = Line()
    recipe = replace(RECIPE, batch_size=64, max_epochs=12, patience=12)
    best = fit_network(network, (features, targets), (features, -targets), recipe=recipe, seed=1)
    first = Line()
    expected = fit_network(
        first, (features, targets), (features, -targets), recipe=replace(recipe, max_epochs=1), seed=1
    )
    assert best == pytest.approx(expected)
    torch.testing.assert_close(network.layer.weight, first.layer.weight)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_ends_after_so_many_epochs_without_a_better_loss(patience: int) -> None:
    features, targets = make_rows(32)
    network = Line()
    recipe = replace(RECIPE, batch_size=32, max_epochs=50, patience=patience)
    fit_network(network, (features, targets), (features, -targets), recipe=recipe, seed=1)
    assert len(network.seen) == 1 + patience  # a step an epoch: the first is the best


def test_a_loss_that_is_no_number_keeps_the_first_weights() -> None:
    network = Line(start=0.25)
    features, targets = make_rows(32)
    recipe = replace(RECIPE, patience=2)
    best = fit_network(network, (features, targets * np.nan), make_rows(8, 1), recipe=recipe, seed=1)
    assert best == np.inf
    assert network.layer.weight.flatten().tolist() == [0.25, 0.25]


def test_each_epoch_takes_every_row_once_in_another_order() -> None:
    network = Line()
    features, targets = make_rows(48)
    fit_network(network, (features, targets), make_rows(8, 1), recipe=replace(RECIPE, max_epochs=2), seed=1)
    epochs = torch.cat(network.seen[:3]), torch.cat(network.seen[3:])
    for rows in epochs:
        np.testing.assert_allclose(np.sort(rows[:, 0].cpu()), np.sort(features[:, 0]), rtol=1e-6)
    assert not torch.equal(*epochs)


def test_a_single_row_that_is_left_over_is_passed_by() -> None:
    network = Line()
    fit_network(network, make_rows(33), make_rows(8, 1), recipe=replace(RECIPE, max_epochs=2), seed=1)
    assert {len(rows) for rows in network.seen} == {16}
    # Where there is no other row it is learnt from all the same.
    alone = Line()
    fit_network(alone, make_rows(1), make_rows(8, 1), recipe=replace(RECIPE, max_epochs=2), seed=1)
    assert [len(rows) for rows in alone.seen] == [1, 1]


def test_the_order_of_rows_follows_the_seed_and_not_torchs_own() -> None:
    orders = []
    for seed, noise in ((1, 0), (1, 5), (2, 0)):
        torch.manual_seed(noise)
        network = Line()
        fit_network(network, make_rows(32), make_rows(8, 1), recipe=replace(RECIPE, max_epochs=1), seed=seed)
        orders.append(torch.cat(network.seen))
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_how_many_rows_go_at_a_time_changes_no_value(rows: int) -> None:
    network, features = Line(start=0.3).eval(), make_rows(10)[0]
    found = predict(network, features, rows=rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, 0.3 * features.sum(axis=1), rtol=1e-5, atol=1e-6)


def test_no_rows_give_no_values() -> None:
    assert predict(Line().eval(), np.empty((0, 2))).shape == (0,)


def test_fit_takes_every_field_of_the_recipe_and_the_share_held_out() -> None:
    defaults = make_defaults(RECIPE)
    assert Recipe(**{name: value for name, value in defaults.items() if name != "held_out"}) == RECIPE
    assert 0 < defaults["held_out"] < 1


def test_equal_redshifts_are_estimated_as_that_redshift() -> None:
    rng = np.random.default_rng(0)
    sample = make_sample(("g", "r"), rng.normal(19, 1, (40, 2)), 0.02, np.full(40, 0.25))
    fitted = FcnnEstimator.fit(sample, max_epochs=2)
    assert fitted.parts.arrays["target"].tolist() == [pytest.approx(np.log(1.25)), 1.0]
    assert fitted.estimate(sample.make_inputs()).z_phot_N == pytest.approx(0.25, abs=0.6)


@pytest.mark.parametrize(("kind", "settings"), [(FcnnEstimator, {}), (AnnzEstimator, {"members": 2, "kept": 1})])
def test_a_fit_leaves_the_callers_random_numbers_alone(kind, settings: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    sample = make_sample(("g", "r"), rng.normal(19, 1, (40, 2)), 0.02, rng.uniform(0.1, 0.4, 40))
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    kind.fit(sample, max_epochs=1, **settings)
    assert torch.equal(torch.rand(3), expected)
