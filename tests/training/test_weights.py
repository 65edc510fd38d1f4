"""Weights of the training galaxies: bootstrap samples that depend on object and seed alone, and a smooth n(z)."""

import numpy as np

from photoz.training.weights import Smoothing, draw_bootstrap

NAMES = [f"galaxy {number}" for number in range(20_000)]


def test_bootstrap_counts_are_poisson_and_differ_between_members() -> None:
    weight_NK = draw_bootstrap(NAMES, seed=1, members=3)
    np.testing.assert_allclose(weight_NK.mean(axis=0), 1.0, atol=0.02)
    np.testing.assert_allclose(weight_NK.var(axis=0), 1.0, atol=0.04)
    np.testing.assert_allclose((weight_NK == 0).mean(axis=0), np.exp(-1), atol=0.01)
    assert np.abs(np.corrcoef(weight_NK.T) - np.eye(3)).max() < 0.03


def test_bootstrap_depends_on_object_and_seed_alone() -> None:
    some = draw_bootstrap(NAMES[:50], seed=1, members=2)
    np.testing.assert_array_equal(draw_bootstrap(NAMES[49::-1], seed=1, members=2)[::-1], some)
    assert not np.array_equal(draw_bootstrap(NAMES[:50], seed=2, members=2), some)
    assert (draw_bootstrap(NAMES[:50], seed=1, members=1) == 1).all()


def test_smoothing_weighs_a_spike_down() -> None:
    rng = np.random.default_rng(0)
    z_N = np.concatenate([rng.uniform(0.02, 0.5, 4000), rng.normal(0.25, 0.002, 1500)]).astype(np.float32)
    smoothing = Smoothing.fit(z_N, width=0.08)
    weight_N1 = smoothing.weigh(z_N)
    assert weight_N1.shape == (5500, 1)
    assert weight_N1.dtype == np.float32
    assert weight_N1[4000:].mean() < 0.4 * weight_N1[:4000].mean()
