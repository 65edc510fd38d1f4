"""Metrics: closed forms, properties, bins and bootstrap errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from photoz.binning import assign_bins, choose_round_edges
from photoz.errors import EvaluationError
from photoz.metrics import (
    STATISTICS,
    compute_binned,
    compute_dz,
    compute_metrics,
    compute_outlier_fraction,
    compute_paired_difference,
    compute_r2,
    compute_rail_outlier_cut,
    compute_sigma_iqr,
    compute_smad,
)

values = arrays(np.float64, st.integers(1, 60), elements=st.floats(-10, 10, width=32))
SPEC = np.array([0.1, 0.2, 0.3, 0.4])


def test_perfect_redshifts_have_no_error():
    metrics = compute_metrics(SPEC, SPEC)
    for name in ("mean_difference", "bias_mean", "bias_median", "std", "smad", "sigma_iqr", "mse", "mae"):
        assert metrics[name].value == 0.0
    assert metrics["r2"].value == 1.0
    assert metrics["outlier_fraction_005"].value == metrics["outlier_fraction_rail"].value == 0.0
    assert set(metrics.values) == set(STATISTICS)


def test_known_differences_give_known_figures():
    dz = np.array([-0.2, -0.1, 0.0, 0.1, 0.07])
    spec = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    phot = spec + dz * (1 + spec)
    metrics = compute_metrics(phot, spec)
    assert metrics["bias_mean"].value == pytest.approx(-0.026)
    assert metrics["bias_median"].value == pytest.approx(0.0)
    assert metrics["std"].value == pytest.approx(np.std(dz))
    assert metrics["smad"].value == pytest.approx(1.4826 * 0.1)
    assert metrics["outlier_fraction_005"].value == pytest.approx(0.8)
    assert metrics["outlier_fraction_015"].value == pytest.approx(0.2)
    assert metrics["sigma_iqr"].value == pytest.approx((0.07 + 0.1) / 1.349)
    assert metrics["outlier_fraction_rail"].value == 0.0  # the cut is 3 * 0.126
    assert metrics["mean_difference"].value == pytest.approx(np.mean(phot - spec))
    assert metrics["mse"].value == pytest.approx(np.mean((phot - spec) ** 2))
    assert metrics["mae"].value == pytest.approx(np.mean(np.abs(phot - spec)))
    assert metrics["r2"].value == pytest.approx(1 - np.sum((phot - spec) ** 2) / np.sum((spec - 0.3) ** 2))


def test_smad_and_sigma_iqr_of_a_gaussian_are_its_standard_deviation():
    sample = np.random.default_rng(4).normal(0.3, 0.02, 200_000)
    assert float(compute_smad(sample)) == pytest.approx(0.02, rel=0.01)
    assert float(compute_sigma_iqr(sample)) == pytest.approx(0.02, rel=0.01)


@given(values, st.floats(-5, 5), st.floats(0.01, 100))
def test_smad_ignores_a_shift_and_follows_a_scale(sample, shift, scale):
    expected = float(compute_smad(sample))
    assert float(compute_smad(sample + shift)) == pytest.approx(expected, abs=1e-6)
    assert float(compute_smad(sample * -scale)) == pytest.approx(scale * expected, rel=1e-6, abs=1e-6)


@given(values)
def test_outliers_become_fewer_as_the_threshold_grows(sample):
    fractions = [float(compute_outlier_fraction(sample, threshold)) for threshold in (0.0, 0.05, 0.15, 1.0)]
    assert fractions == sorted(fractions, reverse=True)
    assert all(0 <= fraction <= 1 for fraction in fractions)


@settings(max_examples=25)
@given(arrays(np.float64, 30, elements=st.floats(0, 1)), st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_the_order_of_galaxies(phot, random):
    spec = np.linspace(0.05, 0.5, 30)
    order = list(range(30))
    random.shuffle(order)
    before, after = compute_metrics(phot, spec, resamples=0), compute_metrics(phot[order], spec[order], resamples=0)
    for name in STATISTICS:
        assert before[name].value == pytest.approx(after[name].value, rel=1e-9, abs=1e-12)


def test_rail_cut_is_at_least_006():
    assert float(compute_rail_outlier_cut([0.0, 0.001, -0.001])) == 0.06
    wide = np.random.default_rng(1).normal(0, 0.1, 5000)
    assert float(compute_rail_outlier_cut(wide)) == pytest.approx(0.3, rel=0.05)


def test_missing_redshifts_count_against_completeness_only():
    phot = np.array([0.1, np.nan, 0.3, np.inf, 0.5])
    spec = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    metrics = compute_metrics(phot, spec)
    assert (metrics.rows, metrics.count, metrics.completeness) == (4, 2, 0.5)
    assert metrics["mae"].value == 0.0


@pytest.mark.parametrize("phot", [[], [math.nan, math.nan]])
def test_nothing_to_measure_gives_nan(phot):
    metrics = compute_metrics(phot, [0.1] * len(phot))
    assert metrics.count == 0
    assert all(math.isnan(m.value) and math.isnan(m.error) for m in metrics.values.values())


def test_one_galaxy_has_figures_without_errors():
    metrics = compute_metrics([0.2], [0.1])
    assert metrics["mae"].value == pytest.approx(0.1)
    assert math.isnan(metrics["mae"].error)
    assert math.isnan(metrics["r2"].value)  # one redshift has no spread to explain
    assert math.isnan(float(compute_r2([0.1, 0.2], [0.3, 0.3])))


def test_bootstrap_errors_match_theory_and_follow_the_seed():
    generator = np.random.default_rng(8)
    spec = generator.uniform(0, 0.5, 4000)
    phot = spec + 0.02 * generator.standard_normal(4000) * (1 + spec)
    metrics = compute_metrics(phot, spec, resamples=400, seed=3)
    assert metrics["bias_mean"].error == pytest.approx(0.02 / math.sqrt(4000), rel=0.15)
    assert metrics["std"].error == pytest.approx(0.02 / math.sqrt(8000), rel=0.15)
    assert compute_metrics(phot, spec, resamples=400, seed=3)["smad"] == metrics["smad"]
    assert compute_metrics(phot, spec, resamples=400, seed=4)["smad"].error != metrics["smad"].error


def test_bootstrap_in_blocks_uses_every_sample(monkeypatch):
    monkeypatch.setattr("photoz.metrics.bootstrap._BLOCK", 250)
    phot, spec = np.linspace(0.1, 0.4, 100), np.linspace(0.1, 0.5, 100)
    assert compute_metrics(phot, spec, resamples=51)["mae"].error > 0


def test_paired_difference_is_surer_than_the_two_apart():
    generator = np.random.default_rng(5)
    spec = generator.uniform(0, 0.5, 2000)
    common = 0.03 * generator.standard_normal(2000)
    first, second = spec + common, spec + 1.1 * common
    second[:10] = np.nan
    difference = compute_paired_difference(first, second, spec)["std"]
    apart = math.hypot(compute_metrics(first, spec)["std"].error, compute_metrics(second, spec)["std"].error)
    assert difference.value < 0
    assert difference.error < 0.3 * apart


def test_bins_hold_every_galaxy_once():
    generator = np.random.default_rng(2)
    spec, quantity = generator.uniform(0, 0.5, 500), generator.normal(18, 1, 500)
    quantity[:7] = np.nan
    edges = choose_round_edges(quantity, 6)
    bins = compute_binned(spec, spec, quantity, edges, resamples=0)
    assert sum(bin.metrics.rows for bin in bins) == 493
    assert (edges[0], edges[-1]) == (np.nanmin(quantity), np.nanmax(quantity))
    assert all(bin.low <= bin.centre <= bin.high for bin in bins)


def test_empty_bin_is_kept_and_empty():
    bins = compute_binned([0.1, 0.2], [0.1, 0.2], [1.0, 5.0], [0.0, 2.0, 4.0, 6.0])
    assert [bin.metrics.count for bin in bins] == [1, 0, 1]
    assert math.isnan(bins[1].centre)
    assert math.isnan(bins[1].metrics["smad"].value)


@given(arrays(np.float64, st.integers(0, 300), elements=st.floats(-100, 100)), st.integers(1, 12))
def test_edges_increase_and_span_the_values(sample, bins):
    edges = choose_round_edges(sample, bins)
    if edges.size:
        assert (np.diff(edges) > 0).all()
        assert (assign_bins(sample, edges) >= 0).all()
    else:
        assert sample.size == 0 or np.ptp(sample) < 1e-9


def test_lengths_and_edges_are_checked():
    with pytest.raises(EvaluationError, match=r"\(2,\) and \(3,\)"):
        compute_metrics([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(EvaluationError, match="increase"):
        assign_bins([0.1], [1.0, 0.0])


def test_dz_is_relative_to_one_plus_z():
    assert compute_dz([0.5], [0.0]).tolist() == [0.5]
    assert compute_dz([2.0], [1.0]).tolist() == [0.5]
    assert np.isnan(compute_dz([np.nan], [0.1])).all()
