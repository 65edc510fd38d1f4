"""n(z) of arrays: bins, shares of p(z), bootstrap, sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pdf_double import SPREAD, make_quantiles
from scipy.special import ndtr

from photoz.nz.distribution import (
    assign_tomographic_bins,
    choose_equal_edges,
    compute_shares,
    count_redshifts,
    draw_bootstrap_weights,
    make_distribution,
    place_redshifts,
    stack,
)
from photoz.schema import LEVELS

EDGES = np.round(np.arange(101) * 0.01, 9)


def test_shares_are_those_of_the_gaussian_and_add_up():
    centre_N = np.array([0.2, 0.453, 0.99])
    shares_NZ = compute_shares(make_quantiles(centre_N), EDGES)
    expected_NZ = np.diff(ndtr((EDGES - centre_N[:, None]) / SPREAD), axis=1)
    np.testing.assert_allclose(shares_NZ, expected_NZ, atol=2e-4)
    assert shares_NZ[0].sum() == pytest.approx(1, abs=1e-6)
    assert shares_NZ[2].sum() == pytest.approx(ndtr((1 - 0.99) / SPREAD), abs=2e-3)
    assert np.isnan(compute_shares(np.full((1, len(LEVELS)), np.nan), EDGES)).all()


def test_place_redshifts():
    assert place_redshifts([0.0, 0.25, 1.0, 1.2, np.nan], [0.0, 0.5, 1.0]).tolist() == [
        [1, 0],
        [1, 0],
        [0, 1],
        [0, 0],
        [0, 0],
    ]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(-0.5, 8, width=32), min_size=1, max_size=60), st.integers(1, 7))
def test_every_redshift_lies_in_one_of_equally_full_bins(z, bins):
    edges = choose_equal_edges(count_redshifts(z), bins)
    bin_N = assign_tomographic_bins(z, edges)
    assert bin_N.min() >= 1
    assert bin_N.max() <= bins
    if len(set(np.round(np.array(z), 3))) == len(z):  # no two in one cell
        assert np.ptp(np.bincount(bin_N, minlength=bins + 1)[1:]) <= 1


def test_edges_of_parts_are_those_of_the_whole():
    z = np.random.default_rng(1).gamma(4, 0.06, 5000)
    parts = sum(count_redshifts(part) for part in np.array_split(z, 7))
    np.testing.assert_array_equal(choose_equal_edges(parts, 4), choose_equal_edges(count_redshifts(z), 4))
    np.testing.assert_allclose(choose_equal_edges(parts, 4)[1:-1], np.quantile(z, [0.25, 0.5, 0.75]), atol=3e-4)
    assert choose_equal_edges(count_redshifts([]), 2).tolist() == [0, 0, 0]


def test_bins_hold_their_lower_edge_and_the_last_its_upper():
    assert assign_tomographic_bins([0.1, 0.2, 0.4, 0.05, 0.41, np.nan], [0.1, 0.2, 0.4]).tolist() == [1, 2, 2, 0, 0, 0]


def test_bootstrap_weights_depend_on_object_and_seed_alone():
    ids = [f"g{i}" for i in range(4000)]
    weights_NR = draw_bootstrap_weights(ids, seed=1, resamples=50)
    np.testing.assert_array_equal(draw_bootstrap_weights(ids[30:40], seed=1, resamples=50), weights_NR[30:40])
    np.testing.assert_array_equal(draw_bootstrap_weights(ids[:9], seed=1, resamples=3), weights_NR[:9, :3])
    assert (draw_bootstrap_weights(ids, seed=2, resamples=50) != weights_NR).mean() > 0.5
    # Poisson of mean 1: mean and variance 1, a share of exp(-1) zeros; samples and galaxies are unrelated.
    assert weights_NR.mean() == pytest.approx(1, abs=0.01)
    assert weights_NR.var() == pytest.approx(1, abs=0.03)
    assert (weights_NR == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    assert np.abs(np.corrcoef(weights_NR.T) - np.eye(50)).max() < 0.08
    assert np.abs(np.corrcoef(weights_NR[:-1].ravel(), weights_NR[1:].ravel())[0, 1]) < 0.01


@settings(deadline=None, max_examples=20)  # the machine may be busy
@given(st.lists(st.integers(0, 300), min_size=0, max_size=6))
def test_sums_of_parts_are_exactly_those_of_the_whole(cuts):
    rng = np.random.default_rng(2)
    z_N = rng.uniform(0.1, 0.9, 300)
    shares_NZ = compute_shares(make_quantiles(z_N), EDGES)
    weights_NR = draw_bootstrap_weights([str(i) for i in range(300)], seed=3, resamples=5)
    bin_N = assign_tomographic_bins(z_N, [0.1, 0.5, 0.9])
    whole = stack(bin_N, shares_NZ, weights_NR, bins=2)
    order = rng.permutation(300)
    sums = stack(bin_N[:0], shares_NZ[:0], weights_NR[:0], bins=2)
    for rows in np.split(order, sorted(cuts)):
        sums = sums.add(stack(bin_N[rows], shares_NZ[rows], weights_NR[rows], bins=2))
    np.testing.assert_array_equal(sums.shares_BRZ, whole.shares_BRZ)
    np.testing.assert_array_equal(sums.counts_BR, whole.counts_BR)


def test_errors_are_those_of_counting():
    rng = np.random.default_rng(6)
    z_N = rng.uniform(0, 1, 20_000)
    weights_NR = draw_bootstrap_weights([str(i) for i in range(len(z_N))], seed=1, resamples=300)
    edges = np.linspace(0, 1, 11)
    found = make_distribution(stack(np.ones(len(z_N), int), place_redshifts(z_N, edges), weights_NR, bins=1), edges)
    # The share p = 0.1 of n galaxies has the error sqrt(p (1 - p) / n); the mean of a uniform one, sqrt(1 / 12 n).
    expected = np.sqrt(0.1 * 0.9 / len(z_N)) / 0.1
    assert found.error_BZ.mean() == pytest.approx(expected, rel=0.1)
    assert found.mean_error_B[0] == pytest.approx((12 * len(z_N)) ** -0.5, rel=0.2)
    assert (found.nz_BZ.mean(), found.mean_B[0]) == pytest.approx((1, 0.5), abs=0.01)


def test_what_lies_beyond_the_cells_is_told_and_the_rest_normalised():
    shares_NZ = compute_shares(make_quantiles(np.array([0.5, 1.0])), EDGES)  # half of the second lies beyond
    found = make_distribution(stack(np.array([1, 1]), shares_NZ, np.ones((2, 2)), bins=1), EDGES)
    assert found.outside_B[0] == pytest.approx(0.25, abs=1e-3)
    assert found.nz_BZ[0].sum() * 0.01 == pytest.approx(1)
    assert found.error_BZ[0].max() == pytest.approx(0, abs=1e-9)  # both bootstrap samples are the sample itself
