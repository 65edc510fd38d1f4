"""p(z) rebuilt from stored quantiles, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm

from photoz.pdf import (
    compute_coverage,
    compute_ks,
    compute_pdfs,
    compute_pit,
    compute_pit_coverage,
    compute_qq,
    count_pit,
    decode_quantiles,
    encode_quantiles,
    make_coordinates,
    score_quantiles,
    summarize_quantiles,
)
from photoz.schema import LEVELS

GRID = np.linspace(0.0, 1.2, 4001)


def store(quantiles: np.ndarray) -> np.ndarray:
    return decode_quantiles(encode_quantiles(quantiles))


def make_gaussian(mean: float, width: float) -> np.ndarray:
    return store(norm.ppf(LEVELS, mean, width)[None])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 0.7), st.floats(0.008, 0.06), st.floats(-6, 6))
def test_a_gaussian_comes_back_with_its_tails(mean: float, width: float, pull: float) -> None:
    quantiles, truth = make_gaussian(mean, width), mean + pull * width
    exact = norm.pdf(GRID, mean, width)
    np.testing.assert_allclose(compute_pdfs(quantiles, GRID)[0], exact, atol=0.12 * exact.max())
    assert np.trapezoid(compute_pdfs(quantiles, GRID)[0], GRID) == pytest.approx(1.0, abs=1e-3)
    pit, crps, cde = (values[0] for values in score_quantiles(quantiles, [truth]))
    assert pit == pytest.approx(ndtr(pull), abs=4e-3)
    exact_crps = width * (pull * (2 * ndtr(pull) - 1) + 2 * norm.pdf(pull) - 1 / np.sqrt(np.pi))
    assert crps == pytest.approx(exact_crps, rel=0.01, abs=1e-4)
    assert cde == pytest.approx((1 / (2 * np.sqrt(np.pi)) - 2 * norm.pdf(pull)) / width, abs=0.25 * exact.max())


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 1.0), st.floats(0.005, 0.1), st.floats(0.0, 0.05))
def test_figures_of_a_gaussian(mean: float, width: float, shift: float) -> None:
    mean += 3 * width
    summary = summarize_quantiles(make_gaussian(mean, width), np.array([mean + shift]))
    for value in (summary["z_median"], summary["z_mean"]):
        assert value[0] == pytest.approx(mean, abs=0.01 * width + 1e-4)
    # Stretches are told apart by their widths, whose rounding may let one win that is as much wider, 2e-4.
    slack = np.sqrt(2 * np.log1p(2e-4 / (0.25 * width))) * width
    assert summary["z_mode"][0] == pytest.approx(mean, abs=0.15 * width + slack + 1e-4)
    assert summary["z_err68_low"][0] == pytest.approx(mean - 0.9945 * width, abs=1e-4)
    assert summary["z_err95_high"][0] == pytest.approx(mean + 1.96 * width, abs=1e-4)
    reach = 0.06 * (1 + mean + shift)
    odds = ndtr((shift + reach) / width) - ndtr((shift - reach) / width)
    assert summary["odds"][0] == pytest.approx(odds, abs=0.01)


def test_mean_of_a_skewed_density_and_mode_of_two_peaks() -> None:
    # Exponential beyond 0.1, of scale 0.1: mean 0.2. Its last 0.1 % lie at 0.89 on average.
    exponential = store(0.1 - 0.1 * np.log1p(-np.asarray(LEVELS))[None])
    assert summarize_quantiles(exponential, np.array([0.2]))["z_mean"][0] == pytest.approx(0.2, abs=1e-3)
    cdf = 0.7 * norm.cdf(GRID, 0.2, 0.01) + 0.3 * norm.cdf(GRID, 0.8, 0.01)
    two_peaks = store(np.interp(LEVELS, cdf, GRID)[None])
    assert summarize_quantiles(two_peaks, np.array([0.2]))["z_mode"][0] == pytest.approx(0.2, abs=0.003)
    pdf = compute_pdfs(two_peaks, GRID)[0]
    assert np.trapezoid(pdf[GRID > 0.5], GRID[GRID > 0.5]) == pytest.approx(0.3, abs=0.025)  # levels are 0.05 apart


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 2), min_size=len(LEVELS), max_size=len(LEVELS)), st.floats(-1, 5))
def test_any_quantiles_give_a_distribution(values: list[float], z: float) -> None:
    quantiles = store(np.sort(values)[None])
    pdf = compute_pdfs(quantiles, np.linspace(-0.5, 3, 301))
    assert np.isfinite(pdf).all()
    assert (pdf >= 0).all()
    assert (pdf[:, :42] == 0).all()  # below redshift 0
    pits = [compute_pit(quantiles, [at])[0] for at in (z, z + 0.3)]
    assert 0 <= pits[0] <= pits[1] <= 1
    scores = [values[0] for values in score_quantiles(quantiles, [z])]
    assert np.isfinite(scores).all()
    assert scores[1] >= 0


def test_quantiles_that_fall_together_hold_their_probability_within_a_step() -> None:
    quantiles = np.full((1, len(LEVELS)), 0.2)
    assert compute_pit(quantiles, [0.1999])[0] == pytest.approx(0, abs=1e-3)
    assert compute_pit(quantiles, [0.2])[0] == pytest.approx(0.5, abs=1e-3)
    assert compute_pit(quantiles, [0.2001])[0] == pytest.approx(1, abs=1e-3)


def test_probability_cut_at_redshift_0_is_spread_and_not_piled_up() -> None:
    quantiles = store(np.maximum(norm.ppf(LEVELS, 0.01, 0.02), 0)[None])  # 31 % lie below 0
    grid = np.linspace(0, 0.2, 2001)
    pdf = compute_pdfs(quantiles, grid)[0]
    assert pdf.max() < 200  # piled up in a step of 0.0001 it would be 3,100
    assert np.trapezoid(pdf, grid) == pytest.approx(1, abs=0.02)
    # Above what was cut, the levels are those stored.
    assert compute_pit(quantiles, [0.03])[0] == pytest.approx(norm.cdf(1.0), abs=4e-3)
    assert compute_pit(quantiles, [0.0])[0] == pytest.approx(0, abs=2e-3)


def test_missing_stays_missing() -> None:
    quantiles = np.concatenate([np.full((1, len(LEVELS)), np.nan), make_gaussian(0.3, 0.02)])
    assert np.isnan(compute_pdfs(quantiles, GRID)).all(axis=1).tolist() == [True, False]
    for values in score_quantiles(np.repeat(quantiles, 2, axis=0), [0.3, 0.3, np.nan, 0.3]):
        assert np.isnan(values).tolist() == [True, True, True, False]
    summary = summarize_quantiles(quantiles, np.array([0.3, 0.3]))
    for values in summary.values():
        assert np.isnan(values).tolist() == [True, False]
    assert compute_pdfs(quantiles[:0], GRID).shape == (0, len(GRID))
    assert summarize_quantiles(quantiles[:0], np.empty(0))["odds"].shape == (0,)


def test_calibration_of_truths_drawn_from_their_own_densities() -> None:
    rng = np.random.default_rng(3)
    means, widths = rng.uniform(0.2, 0.6, 8000), rng.uniform(0.01, 0.05, 8000)
    quantiles = store(norm.ppf(np.asarray(LEVELS)[None], means[:, None], widths[:, None]))
    truths = rng.normal(means, widths)
    pit = compute_pit(quantiles, truths)
    assert compute_ks(pit) < 0.015
    assert compute_coverage(quantiles, truths, 0.68) == pytest.approx(0.68, abs=0.015)
    assert compute_coverage(quantiles, truths, 0.95) == pytest.approx(0.95, abs=0.007)
    assert compute_coverage(quantiles, truths, 0.5) == pytest.approx(0.5, abs=0.015)
    assert compute_pit_coverage(pit, 0.68) == pytest.approx(compute_coverage(quantiles, truths, 0.68), abs=2e-3)
    np.testing.assert_allclose(count_pit(pit)[0], 1.0, atol=0.2)
    np.testing.assert_allclose(*compute_qq(pit), atol=0.015)


def test_no_galaxies_have_no_calibration() -> None:
    none = np.empty((0, len(LEVELS)))
    assert np.isnan([compute_ks([np.nan]), compute_coverage(none, [], 0.68), compute_coverage(none, [], 0.5)]).all()


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (("u", "g", "r", "i"), (18.0, 1.0)),  # r and g - r
        (("i", "g", "u"), (20.0, 1.0)),  # no r: g and i lie as near, the bluer is taken, with u - g
        (("r", "i", "Z"), (20.0, 1.0)),  # r is the bluest: r - i
        (("J", "Ks"), (20.0, 1.0)),
        (("r",), (20.0, np.nan)),
    ],
)
def test_coordinates_are_near_r(bands: tuple[str, ...], expected: tuple[float, float]) -> None:
    magnitudes = 20.0 - np.arange(len(bands), dtype=np.float64)[None]
    if bands[0] == "i":
        magnitudes = np.array([[19.0, 20.0, 21.0]])
    np.testing.assert_array_equal(make_coordinates(magnitudes, bands), [expected])
