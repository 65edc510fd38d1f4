"""Recalibration of p(z) on PITs whose distribution is known."""

import logging

import numpy as np
import pytest
from drawn_pits import CASES, draw_pits, measure_ks
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Legendre
from scipy.integrate import quad
from scipy.special import ndtr

from photoz.pdf import Recalibration
from photoz.pdf.pitmaps import PitMap, _weigh_covariances
from photoz.schema import LEVELS


@pytest.mark.parametrize("case", CASES)
def test_recalibrated_pit_of_a_fresh_sample_is_uniform(case: str) -> None:
    # 3,000 and 9,000 galaxies differ by 0.016 (median) from noise alone, so the median of three draws is judged.
    before, after = [], []
    for seed in (1, 2, 3):
        recalibration = Recalibration.fit(*draw_pits(case, 3000, seed))
        pit, coordinates = draw_pits(case, 9000, 100 + seed)
        before.append(measure_ks(pit))
        after.append(measure_ks(recalibration.apply(pit, coordinates)))
    assert np.median(after) < 0.02
    assert np.median(after) < np.median(before)


def test_pit_is_uniform_in_the_faintest_and_the_reddest_fifth() -> None:
    recalibration = Recalibration.fit(*draw_pits("by magnitude", 6000, 1))
    pit, coordinates = draw_pits("by magnitude", 20000, 2)
    calibrated = recalibration.apply(pit, coordinates)
    for values in coordinates.T:
        last = values > np.quantile(values, 0.8)
        assert measure_ks(pit[last]) > 0.05
        assert measure_ks(calibrated[last]) < 0.035


def test_uniform_pits_are_left_alone() -> None:
    rng = np.random.default_rng(4)
    recalibration = Recalibration.fit(rng.random(20000), rng.normal(size=(20000, 2)))
    levels = recalibration.map_levels(rng.normal(size=(200, 2)))
    assert np.abs(levels - LEVELS).max() < 0.025  # noise of the fit in a cell of 3,000: 0.01
    np.testing.assert_allclose(Recalibration.identity().map_levels([[20.0, 1.0]])[0], LEVELS, atol=1e-6)


def test_map_levels_are_where_the_calibrated_quantiles_lie() -> None:
    recalibration = Recalibration.fit(*draw_pits("too narrow", 20000, 5))
    levels = recalibration.map_levels(np.zeros((1, 2)))[0]
    # The true widths are 1.5 times those claimed: the quantile at -1 sigma lies where p(z) claims -1.5.
    assert levels[LEVELS.index(0.16)] == pytest.approx(ndtr(-1.5 * 0.9945), abs=0.015)
    assert levels[LEVELS.index(0.975)] == pytest.approx(ndtr(1.5 * 1.96), abs=0.005)


def test_tail_levels_are_those_of_the_integrated_density() -> None:
    pit_map = PitMap(PitMap.identity().knots_K, PitMap.identity().nodes_CM, np.zeros((13, 4)))
    pit_map.theta_JL[0] = [0.4, -0.3, 0.3, -0.2]
    wanted = np.array([[0.001, 0.005, 0.16, 0.5, 0.975, 0.999]])
    modes = [np.sqrt(2 * k + 1) * Legendre.basis(k) for k in range(1, 5)]

    def density(p: float) -> float:
        return float(np.exp(sum(t * mode(2 * p - 1) for t, mode in zip(pit_map.theta_JL[0], modes, strict=True))))

    total = quad(density, 0, 1, epsabs=1e-12)[0]
    lowered = pit_map.lower(wanted, np.array([[np.nan, np.nan]]))[0]
    found = [quad(density, 0, level, epsabs=1e-12)[0] / total for level in lowered]
    np.testing.assert_allclose(found, wanted[0], rtol=1e-3, atol=2e-6)
    np.testing.assert_allclose(pit_map.lift(lowered[None], np.array([[np.nan, np.nan]])), wanted, rtol=1e-3, atol=2e-6)


def test_undo_reverses_apply_and_missing_values_stay_missing() -> None:
    pit, coordinates = draw_pits("by magnitude", 3000, 6)
    coordinates[::10, 0], coordinates[::15, 1] = np.nan, np.inf
    recalibration = Recalibration.fit(pit, coordinates)
    calibrated = recalibration.apply(pit, coordinates)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    np.testing.assert_allclose(recalibration.undo(calibrated, coordinates), pit, atol=2e-3)
    assert np.isnan(recalibration.undo([np.nan], [[20.0, 1.0]])).all()
    assert recalibration.map_levels(np.zeros((0, 2))).shape == (0, len(LEVELS))


def test_a_pattern_has_its_own_map_where_the_sample_allows() -> None:
    wide, coordinates = draw_pits("too wide", 3000, 7)
    narrow, others = draw_pits("too narrow", 1000, 8)
    few, last = draw_pits("biased", 50, 9)
    pattern = np.repeat([0, 3, 7], [3000, 1000, 50])
    recalibration = Recalibration.fit(
        np.concatenate([wide, narrow, few]), np.concatenate([coordinates, others, last]), pattern
    )
    levels = recalibration.map_levels(np.zeros((4, 2)), [0, 3, 7, 12])[:, LEVELS.index(0.16)]
    assert levels[0] > 0.2 > 0.1 > levels[1]
    assert levels[2] == levels[3]  # too few, and never seen: the map of all
    assert levels[1] < levels[2] < levels[0]


def test_saved_arrays_restore_it() -> None:
    recalibration = Recalibration.fit(*draw_pits("by magnitude", 1000, 10))
    arrays = recalibration.to_arrays()
    assert all(name.startswith("recalibration_") for name in arrays)
    again = Recalibration.from_arrays(arrays | {"coverage_limit": np.zeros(1)})
    coordinates = np.random.default_rng(1).normal(size=(50, 2))
    np.testing.assert_array_equal(again.map_levels(coordinates), recalibration.map_levels(coordinates))


def test_too_few_galaxies_leave_p_of_z_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        recalibration = Recalibration.fit(np.full(20, 0.1), np.zeros((20, 2)))
    assert "20 galaxies" in caplog.text
    np.testing.assert_allclose(recalibration.map_levels(np.zeros((1, 2)))[0], LEVELS, atol=1e-6)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Recalibration.fit(np.full(400, 0.5), np.zeros((399, 2)))


@settings(max_examples=10, deadline=None)
@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(0, 1), st.integers(0, 1000))
def test_levels_rise_whatever_the_pits(a: float, b: float, atoms: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pit = np.where(rng.random(350) < atoms, rng.integers(0, 2, 350), rng.beta(a, b, 350))
    coordinates = rng.normal(size=(350, 2)) * [1, 0]
    levels = Recalibration.fit(pit, coordinates).map_levels(rng.normal(size=(20, 2)) * 1e3)
    assert (np.diff(levels, axis=1) > 0).all()
    assert levels.min() > 0
    assert levels.max() < 1


@pytest.mark.parametrize("nodes", [1, 13])
def test_sums_of_pairs_are_those_of_their_definition(nodes: int) -> None:
    """The curvature of the likelihood, which the fit takes most of its time for and sums over halves."""
    rng = np.random.default_rng(nodes)
    weights_NJ, drawn_NLL = rng.random((50, nodes)), rng.normal(size=(50, 4, 4))
    covariance_NLL = drawn_NLL + drawn_NLL.transpose(0, 2, 1)
    expected = np.einsum("nj,nk,nlm->jlkm", weights_NJ, weights_NJ, covariance_NLL).reshape(4 * nodes, -1)
    np.testing.assert_allclose(_weigh_covariances(weights_NJ, covariance_NLL), expected, atol=1e-12)
