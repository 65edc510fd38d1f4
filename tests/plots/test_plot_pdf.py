"""Calibration of p(z): what a calibrated, an overconfident and a missing PIT draw."""

import numpy as np
import pytest
from drawn import list_legend, list_steps, list_texts
from matplotlib.patches import Rectangle
from scipy.stats import kstwobign

from photoz.plots.pdf import plot_calibration

UNIFORM = (np.arange(2000) + 0.5) / 2000
NOTHING = np.full(2000, np.nan)


def find_band(axes) -> tuple[float, float]:
    (band,) = [patch for patch in axes.patches if type(patch) is Rectangle]
    return band.get_y(), band.get_y() + band.get_height()


def test_uniform_pit_is_one_everywhere_and_has_no_deviation() -> None:
    left, right = plot_calibration(UNIFORM, NOTHING).axes
    ((density, edges),) = list_steps(left)
    assert density == pytest.approx(np.ones(20))
    assert edges == pytest.approx(np.linspace(0, 1, 21))
    curve = right.lines[0]
    assert np.abs(curve.get_ydata()).max() < 1e-3
    assert list_legend(left) == ["p(z) of the catalogue"]


def test_too_narrow_densities_pile_up_at_both_ends() -> None:
    # PIT of N(0, 1) by a density half as wide: the arcsine-like shape that overconfidence has.
    narrow = np.where(UNIFORM < 0.5, UNIFORM**2 * 2, 1 - 2 * (1 - UNIFORM) ** 2)
    left, right = plot_calibration(narrow, NOTHING).axes
    ((density, _),) = list_steps(left)
    assert density[0] > 2 * density[9]
    wanted, deviation = np.asarray(right.lines[0].get_xdata()), np.asarray(right.lines[0].get_ydata())
    # 2 u^2 - u is least at u = 1/4, where it is -1/8.
    assert deviation[wanted == 0.25][0] == pytest.approx(-0.125, abs=2e-3)
    assert deviation[wanted == 0.75][0] == pytest.approx(0.125, abs=2e-3)


def test_before_and_after_are_named_and_after_comes_last() -> None:
    left, right = plot_calibration(UNIFORM, UNIFORM**2).axes
    assert list_legend(left) == ["before recalibration", "after"]
    assert len(right.lines) == 3  # the two curves and the line at 0


@pytest.mark.parametrize("count", [100, 2000])
def test_bands_are_those_of_a_binomial_and_of_kolmogorov(count: int) -> None:
    left, right = plot_calibration((np.arange(count) + 0.5) / count, NOTHING).axes
    low, high = find_band(left)
    # Of a bin with probability 1/20 the density has variance 20^2 (1/20)(19/20) / N.
    assert high - 1 == pytest.approx(1.96 * np.sqrt(20**2 * (1 / 20) * (19 / 20) / count))
    assert 1 - low == pytest.approx(high - 1)
    low, high = find_band(right)
    assert high == pytest.approx(kstwobign.ppf(0.95) / np.sqrt(count), rel=1e-3)
    assert low == -high


def test_missing_values_are_left_out_of_the_count() -> None:
    mixed = np.where(np.arange(2000) % 2 == 0, UNIFORM, np.nan)
    _, high = find_band(plot_calibration(mixed, NOTHING).axes[0])
    assert high - 1 == pytest.approx(1.96 * np.sqrt(19 / 1000))


@pytest.mark.parametrize("values", [NOTHING, np.empty(0)])
def test_nothing_is_said_to_be_nothing(values: np.ndarray) -> None:
    figure = plot_calibration(values, values)
    assert list_texts(figure) == ["no galaxies"] * 2
    assert [list_steps(axes) for axes in figure.axes] == [[], []]


def test_a_calibrated_curve_is_not_blown_up() -> None:
    left, right = plot_calibration(UNIFORM, NOTHING).axes
    low, high = left.get_ylim()
    assert low == 0
    assert 1.6 <= high < 1.7
    assert right.get_ylim()[1] >= 0.03
    assert right.get_ylim()[0] == -right.get_ylim()[1]


def test_one_galaxy_is_drawn() -> None:
    ((density, _),) = list_steps(plot_calibration(np.array([0.51]), np.array([np.nan])).axes[0])
    assert density.tolist() == [0.0] * 10 + [20.0] + [0.0] * 9
