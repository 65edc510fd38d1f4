"""Weights of the training galaxies: parts that depend on object and seed alone, and a smooth n(z)."""

import numpy as np

from photoz.training.weights import Smoothing, leave_out_parts

NAMES = [f"galaxy {number}" for number in range(20_000)]


def test_each_member_is_trained_without_a_part_of_its_own() -> None:
    weight_NK = leave_out_parts(NAMES, seed=1, members=5)
    assert ((weight_NK == 0).sum(axis=1) == 1).all()
    np.testing.assert_allclose((weight_NK == 0).mean(axis=0), 0.2, atol=0.01)
    assert set(np.unique(weight_NK).tolist()) == {0.0, 1.25}
    assert weight_NK.dtype == np.float32


def test_the_part_depends_on_object_and_seed_alone() -> None:
    some = leave_out_parts(NAMES[:50], seed=1, members=2)
    np.testing.assert_array_equal(leave_out_parts(NAMES[49::-1], seed=1, members=2)[::-1], some)
    assert not np.array_equal(leave_out_parts(NAMES[:50], seed=2, members=2), some)
    assert (leave_out_parts(NAMES[:50], seed=1, members=1) == 1).all()


def test_smoothing_weighs_a_spike_down() -> None:
    rng = np.random.default_rng(0)
    z_N = np.concatenate([rng.uniform(0.02, 0.5, 4000), rng.normal(0.25, 0.002, 1500)]).astype(np.float32)
    smoothing = Smoothing.fit(z_N, width=0.08)
    weight_N1 = smoothing.weigh(z_N)
    assert weight_N1.shape == (5500, 1)
    assert weight_N1.dtype == np.float32
    assert weight_N1[4000:].mean() < 0.4 * weight_N1[:4000].mean()
