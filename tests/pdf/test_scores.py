"""CRPS and CDE loss on a grid: exact for what is linear, and as numerical integration has them for the rest."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from photoz.pdf.scores import compute_cde_losses, compute_crps, integrate_cde_losses, integrate_crps


@st.composite
def grids(draw: st.DrawFn) -> np.ndarray:
    steps = draw(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12))
    return np.cumsum([draw(st.floats(-1.0, 1.0)), *steps])


@given(grids(), st.floats(0, 1))
def test_crps_of_an_even_density_is_exact_on_any_grid(grid: np.ndarray, share: float) -> None:
    width = grid[-1] - grid[0]
    found = compute_crps(np.ones((1, len(grid))), grid, [grid[0] + share * width])[0]
    # Integral of x^2 up to the truth and of (1 - x)^2 beyond, in units of the width.
    assert found == pytest.approx(width * (share**3 + (1 - share) ** 3) / 3, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(grids(), st.integers(0, 10_000), st.floats(-0.5, 1.5))
def test_crps_is_what_quadrature_gives(grid: np.ndarray, seed: int, share: float) -> None:
    cdf = np.sort(np.random.default_rng(seed).random(len(grid)))
    cdf[0], cdf[-1] = 0.0, 1.0
    truth = grid[0] + share * (grid[-1] - grid[0])

    def compute_integrand(z: float) -> float:
        return float((np.interp(z, grid, cdf) - (z >= truth)) ** 2)

    knots = np.unique([*grid, truth])
    expected = sum(quad(compute_integrand, *pair)[0] for pair in pairwise(knots))
    found = integrate_crps(cdf[None], grid[None], np.array([truth]))[0]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


@given(st.floats(1e-3, 1e3), st.floats(-1, 2))
def test_crps_does_not_ask_for_normalised_densities(factor: float, truth: float) -> None:
    grid = np.linspace(0, 1, 7)
    pdf = np.array([[0.0, 1.0, 3.0, 2.0, 0.5, 0.5, 0.0]])
    assert compute_crps(factor * pdf, grid, [truth])[0] == pytest.approx(compute_crps(pdf, grid, [truth])[0])


def test_crps_of_a_step_is_the_distance_from_it() -> None:
    grid, cdf = np.array([[0.0, 0.5, 0.5 + 1e-12, 1.0]]), np.array([[0.0, 0.0, 1.0, 1.0]])
    for truth in (0.1, 0.5, 0.9, 1.7, -0.3):
        assert integrate_crps(cdf, grid, np.array([truth]))[0] == pytest.approx(abs(truth - 0.5), abs=1e-9)


def test_cells_of_no_width_add_nothing() -> None:
    cdf, grid = np.array([[0.0, 0.4, 1.0]]), np.array([[0.0, 0.5, 1.0]])
    doubled = np.array([[0.0, 0.0, 0.4, 0.4, 1.0, 1.0]]), np.array([[0.0, 0.0, 0.5, 0.5, 1.0, 1.0]])
    for truth in (0.0, 0.2, 0.5, 1.0):
        expected = integrate_crps(cdf, grid, np.array([truth]))[0]
        assert integrate_crps(*doubled, np.array([truth]))[0] == pytest.approx(expected)


@pytest.mark.parametrize("truth", [0.25, 0.5, 0.7])
def test_cde_loss_of_a_triangle(truth: float) -> None:
    # p rises from 0 to 2 at 0.5 and falls to 0 at 1; the integral of its square is 4 / 3.
    grid = np.linspace(0, 1, 2001)
    pdf = 2 - 4 * np.abs(grid - 0.5)
    expected = 4 / 3 - 2 * (2 - 4 * abs(truth - 0.5))
    assert compute_cde_losses(pdf[None], grid, [truth])[0] == pytest.approx(expected, abs=1e-5)


def test_densities_count_up_to_both_ends_of_the_grid_and_no_farther() -> None:
    pdf, grid = np.ones((1, 3)), np.array([0.0, 0.5, 1.0])
    losses = [compute_cde_losses(pdf, grid, [truth])[0] for truth in (-1e-9, 0.0, 1.0, 1.0 + 1e-9)]
    assert losses == pytest.approx([1.0, -1.0, -1.0, 1.0])


def test_each_galaxy_has_its_own_truth_and_grid() -> None:
    pdf = np.array([[1.0, 1.0], [0.5, 0.5]])
    grids_of_each = np.array([[0.0, 1.0], [0.0, 2.0]])
    assert integrate_cde_losses(pdf, grids_of_each, np.array([1.0, 0.5])).tolist() == [-1.0, -0.5]
    found = integrate_crps(np.array([[0.0, 1.0], [0.0, 1.0]]), grids_of_each, np.array([0.5, 1.0]))
    assert found == pytest.approx([1 / 12, 2 / 12])


def test_the_truth_of_a_narrow_density_scores_best() -> None:
    grid = np.linspace(0, 1, 501)
    pdf = np.exp(-0.5 * ((grid - 0.4) / 0.05) ** 2)[None]
    truths = np.linspace(0.1, 0.9, 81)
    for compute in (compute_crps, compute_cde_losses):
        scores = [compute(pdf, grid, [truth])[0] for truth in truths]
        assert truths[int(np.argmin(scores))] == pytest.approx(0.4)


def test_what_has_no_density_has_no_score_and_gives_no_warning() -> None:
    grid = np.array([0.0, 0.5, 1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compute_crps(np.array([[0.0] * 3, [np.nan] * 3, [1.0] * 3]), grid, [0.5, 0.5, 0.5])
    assert np.isnan(found).tolist() == [True, True, False]
    assert np.isnan(compute_crps(np.ones((1, 3)), grid, [np.nan])).all()
    assert compute_crps(np.empty((0, 3)), grid, []).shape == (0,)
    assert compute_cde_losses(np.empty((0, 3)), grid, []).shape == (0,)
