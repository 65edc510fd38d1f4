"""Densities of the networks: closed forms, quantiles against cumulative densities, losses against densities."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from photoz.estimators.density import (
    BIN_REACH,
    LOG_WIDTHS,
    BinnedDensity,
    compute_binned_loss,
    compute_mixture_loss,
    mix_bins,
    mix_gaussians,
)
from photoz.estimators.mixture import Mixture
from photoz.schema import LEVELS

LEVELS_1Q = torch.tensor([LEVELS])


def test_quantiles_of_one_gaussian_are_the_normal_distributions():
    mixture = Mixture(torch.ones(2, 1), torch.tensor([[0.3], [-2.0]]), torch.tensor([[0.2], [1.5]]))
    found = mixture.find_quantiles(LEVELS_1Q.expand(2, -1))
    np.testing.assert_allclose(found[0], 0.3 + 0.2 * norm.ppf(LEVELS), atol=2e-5)
    np.testing.assert_allclose(found[1], -2.0 + 1.5 * norm.ppf(LEVELS), atol=2e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), components=st.integers(1, 20))
def test_quantiles_of_mixtures_invert_their_cumulative_density(seed, components):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(8, 1, 3 * components, generator=generator)
    raw[..., 2 * components :] -= 1.5  # widths of 0.03 to 1.5 of the targets' spread, as networks give them
    mixture = mix_gaussians(raw)
    levels = torch.rand(8, 27, generator=generator).clamp(1e-5, 1 - 1e-5).sort(dim=1).values
    found = mixture.find_quantiles(levels)
    assert (found.diff(dim=1) >= 0).all()
    exact = Mixture(*(part.double() for part in mixture))
    # 0.001 of the targets' spread is 1e-4 in z: the level must lie between the probabilities there.
    below, above = (exact.compute_cdf(found.double() + shift) for shift in (-1e-3, 1e-3))
    assert (below <= levels + 2e-6).all()
    assert (above >= levels - 2e-6).all()


def test_mixture_has_the_density_of_its_members_mean():
    raw = torch.randn(3, 4, 15, generator=torch.Generator().manual_seed(1))
    y_NM = torch.linspace(-3, 3, 50).expand(3, -1)
    single = torch.stack([mix_gaussians(raw[:, k : k + 1]).measure(y_NM)[1] for k in range(4)])
    torch.testing.assert_close(mix_gaussians(raw).measure(y_NM)[1], single.mean(dim=0))
    assert mix_gaussians(raw).widths.min() >= math.exp(LOG_WIDTHS[0])


@pytest.mark.parametrize(("mix", "loss", "parts"), [
    (mix_gaussians, compute_mixture_loss, 15), (mix_bins, compute_binned_loss, 40)
])  # fmt: skip
def test_losses_are_the_logarithm_of_the_density_which_has_integral_one(mix, loss, parts):
    raw = torch.randn(5, 1, parts, generator=torch.Generator().manual_seed(2))
    y_N = torch.tensor([-1.9, -0.31, 0.02, 0.8, 2.3])
    expected = -torch.log(mix(raw).measure(y_N[:, None])[1].squeeze(1))
    torch.testing.assert_close(loss(raw, y_N).squeeze(1), expected, rtol=1e-4, atol=1e-4)
    grid = torch.linspace(-30, 30, 60_001)
    integral = torch.trapezoid(mix(raw).measure(grid.expand(5, -1))[1], grid, dim=1)
    np.testing.assert_allclose(integral, 1.0, atol=5e-3)


def test_even_bins_are_the_uniform_distribution():
    density = mix_bins(torch.zeros(1, 3, 30))
    np.testing.assert_allclose(density.find_quantiles(LEVELS_1Q)[0], (2 * np.array(LEVELS) - 1) * BIN_REACH, atol=1e-5)
    y_NM = torch.tensor([[-10.0, -BIN_REACH, 0.0, BIN_REACH / 2, 10.0]])
    np.testing.assert_allclose(density.compute_cdf(y_NM), [[0.0, 0.0, 0.5, 0.75, 1.0]], atol=1e-6)
    np.testing.assert_allclose(density.measure(y_NM)[1][0, [0, 2, 4]], [0.0, 0.5 / BIN_REACH, 0.0], atol=1e-6)


def test_quantiles_of_bins_invert_their_cumulative_density_and_skip_empty_bins():
    edges = torch.linspace(0.0, 5.0, 6)
    density = BinnedDensity(torch.tensor([[0.5, 0.0, 0.0, 0.25, 0.25]]), edges)
    levels = torch.tensor([[0.25, 0.6, 0.75, 1.0]])
    np.testing.assert_allclose(density.find_quantiles(levels), [[0.5, 3.4, 4.0, 5.0]], atol=1e-5)
    np.testing.assert_allclose(density.compute_cdf(density.find_quantiles(levels)), levels, atol=1e-6)


def test_a_redshift_beyond_the_bins_counts_in_the_last():
    raw = torch.zeros(1, 1, 10)
    assert compute_binned_loss(raw, torch.tensor([50.0])).item() == pytest.approx(math.log(2 * BIN_REACH))
