"""Figures of Gaussian mixtures against their closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from photoz.estimators.density import find_local_median
from photoz.estimators.mixture import (
    Mixture,
    compute_density,
    compute_mapped_density,
    compute_pit,
    find_median,
    find_quantiles,
    split_members,
)
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble, sum_losses
from photoz.schema import LEVELS


def make_mixture(weights, centres, widths) -> Mixture:
    return Mixture(*(torch.tensor(np.array([values])) for values in (weights, centres, widths)))


def test_density_and_cdf_of_one_gaussian():
    mixture = make_mixture([1.0], [0.3], [0.2])
    values = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    np.testing.assert_allclose(compute_density(mixture, values)[0], norm.pdf(values, 0.3, 0.2))
    np.testing.assert_allclose(compute_pit(mixture, values[:1])[0], norm.cdf(0.1, 0.3, 0.2))


@settings(max_examples=40, deadline=None)
@example([(1.0, 0.0, 1.0), (1.0, 2.0, 0.5), (0.5, 1.5, 0.125)])  # Newton's steps led from one end to the other and back
@given(st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(-3.0, 3.0), st.floats(0.02, 1.0)), min_size=1, max_size=5))
def test_median_halves_the_probability(parts):
    weights, centres, widths = (np.array(values) for values in zip(*parts, strict=True))
    mixture = make_mixture(weights / weights.sum(), centres, widths)
    assert compute_pit(mixture, find_median(mixture, steps=40)) == pytest.approx(0.5, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(-4.0, 4.0), st.floats(0.005, 2.0)), min_size=1, max_size=6),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5),
)
def test_quantiles_are_where_the_levels_are_reached(parts, levels):
    weights, centres, widths = (np.array(values) for values in zip(*parts, strict=True))
    mixture = make_mixture(weights / weights.sum(), centres, widths)
    found = find_quantiles(mixture, torch.tensor([sorted(levels)], dtype=torch.float64))[0]
    below, above = (compute_pit(mixture, found + step) for step in (-1e-3, 1e-3))
    due = torch.tensor(sorted(levels), dtype=torch.float64)
    assert ((below <= due + 1e-6) & (due <= above + 1e-6)).all()
    assert (torch.diff(found) >= 0).all()


@pytest.mark.parametrize("narrowest", [0.004, 0.02, 0.2])
def test_quantiles_in_float32_are_exact_to_a_stored_step(narrowest):
    rng = np.random.default_rng(1)
    shape = (500, 25)  # five members of five Gaussians
    weights, centres = rng.dirichlet(np.full(25, 0.3), 500), rng.normal(0, 1, shape)
    widths = narrowest * 10 ** rng.uniform(0, 1.2, shape)
    exact = Mixture(*(torch.from_numpy(values) for values in (weights, centres, widths)))
    levels = torch.tensor([LEVELS], dtype=torch.float64).expand(500, -1)
    due = find_quantiles(exact, levels, tolerance=1e-12)
    found = find_quantiles(Mixture(*(values.float() for values in exact)), levels.float())
    # Between peaks hardly any probability lies, and a quantile is as uncertain as float32's probabilities: 1e-6.
    reach = [find_quantiles(exact, (levels + shift).clamp(1e-9, 1 - 1e-9), tolerance=1e-9) for shift in (-1e-6, 1e-6)]
    step = 1e-4 / 0.08  # in units of a bright sample's spread
    assert (found >= reach[0] - 0.5 * step).all()
    assert (found <= reach[1] + 0.5 * step).all()
    assert (found - due).abs().median() < 0.01 * step


def test_quantiles_of_many_galaxies_are_those_of_each():
    rng = np.random.default_rng(0)
    mixture = Mixture(torch.full((50, 4), 0.25), *(torch.from_numpy(rng.uniform(0.01, 1, (50, 4))) for _ in range(2)))
    levels = torch.from_numpy(np.sort(rng.uniform(0.001, 0.999, (50, 7)), axis=1))
    alone = [find_quantiles(Mixture(*(v[i : i + 1] for v in mixture)), levels[i : i + 1]) for i in range(50)]
    torch.testing.assert_close(find_quantiles(mixture, levels), torch.cat(alone))


def test_even_recalibration_leaves_the_density_alone():
    mixture = make_mixture([0.6, 0.4], [0.0, 1.0], [0.1, 0.3])
    grid = torch.linspace(-2, 3, 501, dtype=torch.float64)
    levels = torch.tensor([LEVELS], dtype=torch.float64)
    torch.testing.assert_close(compute_mapped_density(mixture, grid, levels), compute_density(mixture, grid))


def test_recalibrated_density_is_normalised_and_follows_the_map():
    mixture = make_mixture([1.0], [0.0], [1.0])
    grid = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    levels = torch.tensor(norm.cdf(1.5 * norm.ppf([LEVELS])))  # H widens the Gaussian by 1.5
    density = compute_mapped_density(mixture, grid, levels)[0].numpy()
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)
    assert density[1000] == pytest.approx(norm.pdf(0, 0, 1.5), rel=0.05)


def test_members_apart_average_to_the_whole():
    torch.manual_seed(0)
    network = MixtureEnsemble(4, EnsembleRecipe(members=3, hidden=(8,), components=2)).eval()
    mixture, grid = network.mix(torch.randn(5, 4)), torch.linspace(-2, 2, 9)
    apart = compute_density(split_members(mixture, 3), grid).view(5, 3, 9)
    torch.testing.assert_close(apart.mean(dim=1), compute_density(mixture, grid))


def locate(mixture: Mixture, reach: float) -> torch.Tensor:
    return find_local_median(mixture, find_median(mixture), reach, steps=30)


def test_local_median_of_a_symmetric_peak_is_its_centre():
    assert locate(make_mixture([1.0], [0.4], [0.1]), 0.3) == pytest.approx(0.4, abs=1e-6)


def test_far_peak_pulls_the_median_and_not_the_local_median():
    mixture = make_mixture([0.7, 0.3], [0.0, 3.0], [0.1, 0.1])
    assert find_median(mixture, steps=40).item() > 0.03
    assert abs(locate(mixture, 0.5).item()) < 1e-4


def test_local_median_has_the_least_expected_loss():
    mixture = make_mixture([0.5, 0.3, 0.2], [0.0, 0.2, 0.9], [0.1, 0.2, 0.1])
    grid = torch.linspace(-2, 3, 5001, dtype=torch.float64)
    density = compute_density(mixture, grid)[0]
    losses = [(torch.clamp((grid - y).abs(), max=0.4) * density).sum().item() for y in grid[1500:3500]]
    best = grid[1500 + int(np.argmin(losses))].item()
    assert locate(mixture, 0.4).item() == pytest.approx(best, abs=2e-3)


def test_loss_is_the_negative_log_likelihood():
    log_weights, centres, logs = torch.zeros(1, 4, 1), torch.zeros(1, 4, 1), torch.full((1, 4, 1), np.log(0.5))
    targets = torch.tensor([[0.0, 0.5, -1.0, 2.0]])
    due = -norm.logpdf(targets.numpy(), 0, 0.5).mean() - 0.5 * np.log(2 * np.pi)
    assert sum_losses((log_weights, centres, logs), targets).item() == pytest.approx(due, rel=1e-5)


def test_ensemble_gives_the_mean_of_its_members():
    torch.manual_seed(0)
    recipe = EnsembleRecipe(members=3, hidden=(8,), components=2)
    network = MixtureEnsemble(4, recipe).eval()
    features, grid = torch.randn(5, 4), torch.linspace(-2, 2, 9)
    log_weights, centres, logs = network(features)
    members = [
        compute_density(Mixture(w.exp(), c, s.exp()), grid) for w, c, s in zip(log_weights, centres, logs, strict=True)
    ]
    torch.testing.assert_close(compute_density(network.mix(features), grid), torch.stack(members).mean(0))
