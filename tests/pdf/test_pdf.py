"""Figures of p(z) against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from photoz.pdf import compute_cde_losses, compute_crps

GRID = np.linspace(-2.0, 3.0, 2001)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.05, 0.3), st.floats(-0.5, 1.5))
def test_scores_of_a_gaussian(mean, width, truth):
    pdf = norm.pdf(GRID, mean, width)[None]
    pull = (truth - mean) / width
    crps = width * (pull * (2 * norm.cdf(pull) - 1) + 2 * norm.pdf(pull) - 1 / np.sqrt(np.pi))  # Gneiting+2005, eq. 5
    cde = 1 / (2 * width * np.sqrt(np.pi)) - 2 * norm.pdf(truth, mean, width)
    assert compute_crps(pdf, GRID, [truth])[0] == pytest.approx(crps, abs=2e-4)
    assert compute_cde_losses(pdf, GRID, [truth])[0] == pytest.approx(cde, abs=2e-2)


def test_redshift_outside_the_grid_costs_its_distance():
    pdf, grid = np.ones((1, 3)), np.array([0.0, 0.5, 1.0])
    inside = compute_crps(pdf, grid, [1.0])[0]
    assert compute_crps(pdf, grid, [1.25])[0] == pytest.approx(inside + 0.25)
    assert compute_cde_losses(pdf, grid, [1.25])[0] == pytest.approx(1.0)


def test_nan_stays_nan():
    pdf = np.array([[np.nan] * 3, [1.0] * 3])
    assert np.isnan(compute_crps(pdf, [0.0, 0.5, 1.0], [0.1, 0.1])).tolist() == [True, False]
