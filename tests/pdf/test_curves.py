"""Curves through quantiles: they pass through them, rise, and hold a probability of one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from photoz.pdf.curves import STEP, Curves, _choose_slopes, _count_below, _separate
from photoz.schema import LEVELS

COUNT = len(LEVELS)
DEVIATES = norm.ppf(LEVELS)


def draw_quantiles(seed: int, *, rows: int = 1, lowest: float = 2.0) -> np.ndarray:
    """Quantiles with no two nearer than the step that they are stored in."""
    steps = np.random.default_rng(seed).exponential(0.02, (rows, COUNT)) + 2 * STEP
    return lowest + np.cumsum(steps, axis=1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_a_curve_passes_through_its_quantiles_and_never_falls(seed: int) -> None:
    quantiles = draw_quantiles(seed)
    curves = Curves.through(quantiles)
    np.testing.assert_allclose(curves.evaluate(quantiles)[0][0], LEVELS, atol=1e-9)
    z = curves.sample()
    cdf, pdf = curves.evaluate(z)
    assert (np.diff(z[0]) >= 0).all()
    assert (np.diff(cdf[0]) >= -1e-12).all()
    assert (pdf >= 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_density_is_the_slope_of_the_distribution(seed: int) -> None:
    curves = Curves.through(draw_quantiles(seed))
    z = curves.sample()[:, 30:-30]
    middle, half = (z[:, 1:] + z[:, :-1]) / 2, 1e-6
    rise = curves.evaluate(middle + half)[0] - curves.evaluate(middle - half)[0]
    np.testing.assert_allclose(curves.evaluate(middle)[1], rise / (2 * half), rtol=2e-3, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 3.0))
def test_a_density_integrates_to_one_even_where_its_tail_is_cut(seed: int, lowest: float) -> None:
    curves = Curves.through(draw_quantiles(seed, lowest=lowest))
    z = curves.sample()
    assert np.trapezoid(curves.evaluate(z)[1], z, axis=1)[0] == pytest.approx(1.0, abs=0.02)


def test_between_the_ends_it_is_scipys_monotone_cubic() -> None:
    quantiles = draw_quantiles(3)
    # Slopes at the two ends are ours; the cells beside them follow those.
    z = np.linspace(quantiles[0, 1], quantiles[0, -2], 400)
    expected = PchipInterpolator(quantiles[0], DEVIATES)(z)
    np.testing.assert_allclose(Curves.through(quantiles)._compute_deviates(z[None])[0][0], expected, atol=1e-9)


@pytest.mark.parametrize("width", [0.002, 0.05])
def test_a_gaussian_stays_one_far_into_its_tails(width: float) -> None:
    quantiles = norm.ppf(LEVELS, 1.0, width)[None]
    z = 1.0 + width * np.linspace(-5, 5, 101)[None]
    cdf, pdf = Curves.through(quantiles).evaluate(z)
    np.testing.assert_allclose(cdf[0], norm.cdf(z[0], 1.0, width), atol=1e-9)
    np.testing.assert_allclose(pdf[0], norm.pdf(z[0], 1.0, width), rtol=1e-6)


def test_no_probability_lies_below_zero() -> None:
    # Of N(0, 0.1) the half above 0 remains, twice as dense.
    quantiles = norm.ppf(LEVELS, 0.0, 0.1) + 0.35  # moved, so that none falls on 0 itself
    curves = Curves.through(quantiles[None] - 0.04)
    cdf, pdf = curves.evaluate(np.array([[-0.5, -1e-9, 0.0, 5.0]]))
    assert cdf[0].tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0])
    assert pdf[0, :2].tolist() == [0.0, 0.0]
    assert pdf[0, 2] > 0
    assert (curves.sample() >= 0).all()


def test_quantiles_at_zero_are_an_even_density_up_to_the_first_above() -> None:
    quantiles = np.linspace(0.1, 0.3, COUNT)[None].copy()
    quantiles[0, :9] = 0.0  # up to the level 0.25, with 0.3 at the first above
    reach, level = quantiles[0, 9], LEVELS[9]
    curves = Curves.through(quantiles)
    places = reach * np.array([LEVELS[5], LEVELS[7], LEVELS[9]]) / level
    cdf = curves.evaluate(places[None])[0][0]
    assert curves.evaluate(np.zeros((1, 1)))[0][0, 0] == 0.0
    # Less what a Gaussian tail puts below 0, which is scaled away.
    np.testing.assert_allclose(cdf, [LEVELS[5], LEVELS[7], LEVELS[9]], atol=0.002)


def test_nothing_but_zeros_is_a_density_within_a_step() -> None:
    curves = Curves.through(np.zeros((1, COUNT)))
    cdf, pdf = curves.evaluate(np.array([[0.0, 2 * STEP, 1.0]]))
    assert cdf[0, 0] == 0.0
    assert cdf[0, 1:] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert np.isfinite(pdf).all()


def test_equal_quantiles_are_a_steep_and_finite_curve() -> None:
    curves = Curves.through(np.full((1, COUNT), 0.5))
    cdf, pdf = curves.evaluate(np.array([[0.5 - STEP, 0.5, 0.5 + STEP]]))
    assert cdf[0] == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert np.isfinite(pdf).all()


@given(st.lists(st.integers(0, 5), min_size=COUNT, max_size=COUNT))
def test_equal_quantiles_are_spread_within_their_step_and_keep_their_middle(steps: list[int]) -> None:
    z = STEP * (5000 + np.cumsum(steps))[None].astype(float)
    spread = _separate(z)
    assert (np.diff(spread[0]) > 0).all()
    assert np.abs(spread - z).max() < 0.5 * STEP
    for value in np.unique(z):
        assert spread[z == value].mean() == pytest.approx(value, abs=1e-12)


def test_a_row_of_nan_is_nan_and_leaves_the_others_alone() -> None:
    quantiles = draw_quantiles(1, rows=3)
    z = np.tile(np.linspace(1.5, 3.0, 50), (3, 1))
    alone = [Curves.through(quantiles[[row]]).evaluate(z[[row]]) for row in (0, 2)]
    quantiles[1] = np.nan
    cdf, pdf = Curves.through(quantiles).evaluate(z)
    assert np.isnan(cdf[1]).all()
    assert np.isnan(pdf[1]).all()
    for row, (cdf_alone, pdf_alone) in zip((0, 2), alone, strict=True):
        np.testing.assert_array_equal(cdf[row], cdf_alone[0])
        np.testing.assert_array_equal(pdf[row], pdf_alone[0])


def test_a_redshift_that_is_no_number_has_no_probability_rather_than_none() -> None:
    cdf, pdf = Curves.through(draw_quantiles(2)).evaluate(np.array([[np.nan, 2.2]]))
    assert np.isnan([cdf[0, 0], pdf[0, 0]]).all()
    assert np.isfinite([cdf[0, 1], pdf[0, 1]]).all()


def test_no_galaxies_have_no_curves() -> None:
    curves = Curves.through(np.empty((0, COUNT)))
    assert curves.evaluate(np.empty((0, 4)))[0].shape == (0, 4)
    assert len(curves.sample()) == 0


def test_slopes_lie_between_their_secants_and_end_with_the_outermost() -> None:
    rng = np.random.default_rng(7)
    widths, secants = rng.random((5, COUNT - 1)) + 0.01, rng.random((5, COUNT - 1)) + 0.01
    slopes = _choose_slopes(widths, secants)
    np.testing.assert_array_equal(slopes[:, [0, -1]], secants[:, [0, -1]])
    low, high = np.minimum(secants[:, 1:], secants[:, :-1]), np.maximum(secants[:, 1:], secants[:, :-1])
    assert ((slopes[:, 1:-1] >= low) & (slopes[:, 1:-1] <= high)).all()


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_one_search_over_all_rows_counts_as_a_search_in_each(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, at = np.sort(rng.random((rows, COUNT)) * 3, axis=1), rng.random((rows, 9)) * 4 - 0.4
    at[0, 0] = z[0, 0]  # on a quantile itself
    expected = [np.searchsorted(z[row], at[row], side="right") for row in range(rows)]
    np.testing.assert_array_equal(_count_below(z, at), expected)
