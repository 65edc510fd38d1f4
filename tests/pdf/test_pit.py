"""PIT and what is made of it, against scipy and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from photoz.pdf.pit import (
    compute_coverage,
    compute_ks,
    compute_pit,
    compute_pit_coverage,
    compute_qq,
    count_pit,
    score_quantiles,
)
from photoz.schema import LEVELS

PITS = st.lists(st.floats(0, 1), min_size=1, max_size=60)


def make_gaussians(mean_N: np.ndarray, width_N: np.ndarray) -> np.ndarray:
    return norm.ppf(np.array(LEVELS)[None], mean_N[:, None], width_N[:, None])


@settings(max_examples=40, deadline=None)
@given(st.floats(0.8, 2.0), st.floats(0.02, 0.08), st.floats(-6, 6))
def test_figures_of_a_gaussian_are_those_of_the_books(mean: float, width: float, pull: float) -> None:
    quantiles = make_gaussians(np.array([mean]), np.array([width]))
    pit, crps, cde = (values[0] for values in score_quantiles(quantiles, [mean + pull * width]))
    assert pit == pytest.approx(norm.cdf(pull), abs=1e-6)
    # Gneiting et al. 2005, equation 5; the CDE loss is an integral of p squared, 1 / (2 sigma sqrt(pi)), less 2 p.
    expected = width * (pull * (2 * norm.cdf(pull) - 1) + 2 * norm.pdf(pull) - 1 / np.sqrt(np.pi))
    assert crps == pytest.approx(expected, rel=2e-3)
    assert cde == pytest.approx(1 / (2 * width * np.sqrt(np.pi)) - 2 * norm.pdf(pull) / width, rel=5e-3, abs=0.02)


def test_the_quantiles_themselves_have_their_levels_as_pit() -> None:
    quantiles = make_gaussians(np.array([1.0]), np.array([0.03]))
    for place, level in enumerate(LEVELS):
        assert compute_pit(quantiles, quantiles[:, place])[0] == pytest.approx(level, abs=1e-9)


def test_redshifts_far_outside_have_pit_0_and_1() -> None:
    quantiles = make_gaussians(np.full(4, 0.5), np.full(4, 0.02))
    assert compute_pit(quantiles, [-1.0, 0.0, 0.9, 40.0]).tolist() == pytest.approx([0, 0, 1, 1])


def test_nan_costs_its_own_row_alone() -> None:
    quantiles = make_gaussians(np.full(4, 0.5), np.full(4, 0.02))
    whole = score_quantiles(quantiles, np.full(4, 0.51))
    quantiles[1] = np.nan
    found = score_quantiles(quantiles, [0.51, 0.51, np.nan, 0.51])
    for before, after in zip(whole, found, strict=True):
        assert np.isnan(after).tolist() == [False, True, True, False]
        assert after[[0, 3]].tolist() == before[[0, 3]].tolist()


def test_no_galaxies_have_no_figures() -> None:
    for values in score_quantiles(np.empty((0, len(LEVELS))), []):
        assert values.shape == (0,)
    assert np.isnan(compute_ks([]))
    assert np.isnan(compute_pit_coverage([], 0.68))
    assert np.isnan(compute_coverage(np.empty((0, len(LEVELS))), [], 0.68))
    assert np.isnan(compute_qq([np.nan], points=3)[1]).all()
    assert count_pit([], bins=4)[0].tolist() == [0.0] * 4


def test_how_many_galaxies_go_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    quantiles = make_gaussians(rng.uniform(0.3, 1.0, 23), rng.uniform(0.01, 0.05, 23))
    z_spec = rng.uniform(0.3, 1.0, 23)
    whole = score_quantiles(quantiles, z_spec)
    monkeypatch.setattr("photoz.pdf.pit._CHUNK", 5)
    for before, after in zip(whole, score_quantiles(quantiles, z_spec), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-12)


@given(PITS)
def test_the_distance_is_that_of_scipys_test(pit: list[float]) -> None:
    assert compute_ks(pit) == pytest.approx(kstest(pit, "uniform").statistic)
    assert compute_ks([*pit, np.nan]) == compute_ks(pit)


@given(PITS, st.integers(1, 40))
def test_a_histogram_holds_every_galaxy_and_has_a_mean_of_one(pit: list[float], bins: int) -> None:
    density, edges = count_pit([*pit, np.nan, np.inf], bins=bins)
    assert density.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(edges, np.arange(bins + 1) / bins, atol=1e-12)


def test_a_pit_of_exactly_one_is_in_the_last_bin() -> None:
    assert count_pit([1.0], bins=2)[0].tolist() == [0.0, 2.0]


@given(PITS)
def test_qq_values_rise_from_the_least_to_the_greatest(pit: list[float]) -> None:
    wanted, found = compute_qq(pit, points=11)
    assert (found[0], found[-1]) == (min(pit), max(pit))
    assert (np.diff(found) >= 0).all()
    assert wanted.tolist() == pytest.approx([n / 10 for n in range(11)])


@pytest.mark.parametrize("probability", [0.68, 0.95, 0.5, 0.9, 0.37])
def test_calibrated_densities_cover_what_they_claim(probability: float) -> None:
    rng = np.random.default_rng(5)
    mean_N, width_N = rng.uniform(0.5, 1.0, 4000), rng.uniform(0.01, 0.05, 4000)
    quantiles, truth = make_gaussians(mean_N, width_N), rng.normal(mean_N, width_N)
    coverage = compute_coverage(quantiles, truth, probability)
    # 4 sigma of a binomial of 4,000.
    assert coverage == pytest.approx(probability, abs=4 * np.sqrt(probability * (1 - probability) / 4000))
    assert coverage == pytest.approx(compute_pit_coverage(compute_pit(quantiles, truth), probability), abs=1e-3)


def test_an_interval_holds_both_its_limits() -> None:
    quantiles = make_gaussians(np.full(2, 1.0), np.full(2, 0.1))
    limits = [quantiles[0, LEVELS.index(0.16)], quantiles[0, LEVELS.index(0.84)]]
    assert compute_coverage(quantiles, limits, 0.68) == 1.0
    beyond = [limits[0] - 1e-9, limits[1] + 1e-9]
    assert compute_coverage(quantiles, beyond, 0.68) == 0.0


def test_galaxies_that_miss_something_do_not_count_in_a_coverage() -> None:
    quantiles = make_gaussians(np.full(4, 1.0), np.full(4, 0.1))
    quantiles[0] = np.nan
    assert compute_coverage(quantiles, [1.0, np.nan, 1.0, 9.0], 0.68) == 0.5
    assert compute_coverage(quantiles, [1.0, np.nan, 1.0, 9.0], 0.33) == 0.5
