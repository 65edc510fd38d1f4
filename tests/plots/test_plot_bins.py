"""Panels of bins: which galaxies each holds, what its title says, and where estimators stand side by side."""

import re

import numpy as np
import pytest
from drawn import list_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.metrics import Bin, Measurement, Metrics
from photoz.plots.bins import Quantity, _split, plot_binned, plot_redshifts_in_bins, plot_residuals_in_bins
from photoz.plots.style import COLOURS, MARKERS, Sample

STATISTICS = ("bias_median", "smad", "outlier_fraction_005")


def make_bin(centre: float, count: int, value: float = 0.02, error: float = 0.003) -> Bin:
    metrics = Metrics(count, count, {name: Measurement(value, error) for name in STATISTICS})
    return Bin(centre - 0.5, centre + 0.5, centre, metrics)


def make_sample(count: int, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    z_spec = rng.uniform(0.05, 0.6, count)
    return Sample("hybrid", z_spec + 0.02 * rng.normal(size=count), z_spec)


def list_points(figure, row: int) -> list[tuple[list[float], list[float]]]:
    axes = figure.axes[row]
    return [(list(bars[0].get_xdata()), list(bars[0].get_ydata())) for bars in axes.containers]


def test_points_lie_at_the_bins_medians_with_their_errors() -> None:
    bins = [make_bin(17.0, 40, 0.01, 0.002), make_bin(19.0, 60, 0.03, 0.004)]
    figure = plot_binned({"mag": {"mlp": bins}}, {"mag": "$r$ [mag]"})
    for row in range(3):
        assert list_points(figure, row) == [([17.0, 19.0], [0.01, 0.03])]
        (bars,) = figure.axes[row].containers
        segments = bars[2][0].get_segments()
        assert [np.ptp(segment[:, 1]) / 2 for segment in segments] == pytest.approx([0.002, 0.004])
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "$r$ [mag]"]
    assert figure.axes[1].get_ylim()[0] == 0
    assert figure.axes[2].get_ylim()[0] == 0


def test_estimators_stand_apart_about_the_median() -> None:
    bins = [make_bin(0.0, 10), make_bin(10.0, 10)]
    figure = plot_binned({"z": dict.fromkeys("abc", bins)}, {"z": "$z$"})
    first = [points[0][0] for points in list_points(figure, 0)]
    # 1.2 % of the span of 10, one estimator to each side of the middle one.
    assert first == pytest.approx([-0.12, 0.0, 0.12])


def test_bins_of_four_galaxies_are_left_out_and_of_five_drawn() -> None:
    figure = plot_binned({"z": {"a": [make_bin(1.0, 4), make_bin(2.0, 5)]}}, {"z": "$z$"})
    assert list_points(figure, 0)[0][0] == [2.0]


def test_only_sparse_bins_say_so_in_each_panel() -> None:
    figure = plot_binned({"z": {"a": [make_bin(1.0, 4)], "b": []}}, {"z": "$z$"})
    assert list_texts(figure) == ["too few galaxies"] * 3
    assert not figure.legends


def test_no_quantity_at_all_still_is_a_figure() -> None:
    assert len(plot_binned({}, {}).axes) == 3


def test_beyond_the_last_colour_markers_tell_estimators_apart() -> None:
    labels = [f"estimator {number}" for number in range(len(COLOURS) + 2)]
    figure = plot_binned({"z": {label: [make_bin(1.0, 9)] for label in labels}}, {"z": "$z$"})
    looks = [(bars[0].get_color(), bars[0].get_marker()) for bars in figure.axes[0].containers]
    assert len(set(looks)) == len(labels)
    assert {marker for _, marker in looks} <= set(MARKERS)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == labels


def test_an_empty_bins_centre_does_not_shift_the_others() -> None:
    empty = make_bin(np.nan, 0)
    figure = plot_binned({"z": {"a": [make_bin(1.0, 9), empty], "b": [make_bin(1.0, 9)]}}, {"z": "$z$"})
    assert [points[0] for points in list_points(figure, 0)] == [[1.0], [1.0]]


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 200), st.integers(1, 6), st.integers(0, 10_000))
def test_panels_share_the_galaxies_evenly(count: int, panels: int, seed: int) -> None:
    sample = make_sample(count, seed)
    parts = _split(sample, Quantity("$z$", np.random.default_rng(seed).permutation(count).astype(float)), panels)
    sizes = [part.z_spec.size for part, _ in parts]
    assert len(sizes) == panels
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1 + count % panels


def test_galaxies_without_an_estimate_do_not_move_the_edges() -> None:
    values = np.arange(12.0)
    z_phot = np.where(values < 6, np.nan, 0.3)  # of the six with an estimate, three fill each panel
    parts = _split(Sample("s", z_phot, np.full(12, 0.3)), Quantity("$r$ [mag]", values), 2)
    assert [part.drop_missing().z_spec.size for part, _ in parts] == [2 + 1, 3]
    assert [title for _, title in parts] == [r"$6.00 \leq$ $r$ $< 8.50$", r"$8.50 \leq$ $r$ $\leq 11.00$"]


def test_the_last_bin_holds_its_upper_edge_and_says_so() -> None:
    sample = Sample("s", np.full(4, 0.3), np.full(4, 0.3))
    parts = _split(sample, Quantity("$z$", np.array([0.0, 1.0, 2.0, 4.0])), 2)
    assert parts[-1][0].z_spec.size == 2
    assert r"\leq 4.00$" in parts[-1][1]
    assert r"< 1.50$" in parts[0][1]


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_a_quantity_that_is_missing_or_the_same_everywhere_leaves_panels_that_say_so(value: float) -> None:
    quantity = Quantity("$g - r$ [mag]", np.full(20, value))
    figure = plot_redshifts_in_bins(make_sample(20), [quantity], panels=3)
    assert list_texts(figure) == ["no galaxies"] * 3
    assert [axes.get_title() for axes in figure.axes] == ["$g - r$ [mag]"] * 3


def test_repeated_values_leave_the_panels_that_they_cannot_fill() -> None:
    values = np.array([1.0] * 15 + [2.0] * 5)
    figure = plot_redshifts_in_bins(make_sample(20), [Quantity("$r$", values)], panels=4)
    titles = [axes.get_title() for axes in figure.axes]
    # Of the quartiles 1, 1, 1, 1.25 and 2 three are the same: two bins are left, and two panels.
    assert [title.splitlines()[0] for title in titles[:2]] == [
        r"$1.00 \leq$ $r$ $< 1.25$",
        r"$1.25 \leq$ $r$ $\leq 2.00$",
    ]
    assert titles[2:] == ["$r$"] * 2


def test_titles_count_the_galaxies_and_give_their_scatter() -> None:
    # dz of -0.01 and 0.01 alone: the median absolute deviation is 0.01, SMAD 1.4826 times that.
    z_spec = np.zeros(40)
    sample = Sample("s", np.tile([-0.01, 0.01], 20), z_spec)
    figure = plot_residuals_in_bins(sample, [Quantity("$r$", np.repeat([1.0, 2.0], 20))], panels=1)
    assert figure.axes[0].get_title().splitlines()[1] == r"$N = 40$, $\mathrm{SMAD} = 0.0148$"


def test_one_frame_for_all_panels_but_for_those_that_zoom() -> None:
    sample = make_sample(400)
    quantities = [Quantity("$r$", np.linspace(16, 20, 400)), Quantity("$z$", sample.z_spec, zoom=True)]
    figure = plot_redshifts_in_bins(sample, quantities, panels=4)
    common, zoomed = figure.axes[:4], figure.axes[4:]
    assert len({axes.get_xlim() for axes in common}) == 1
    assert common[0].get_xlim() == common[0].get_ylim()
    lows = [axes.get_xlim()[0] for axes in zoomed]
    assert lows == sorted(lows)
    assert len(set(lows)) == 4
    # Labels of the y axis stand at the left, and wherever a panel has a frame of its own.
    labelled = [axes.yaxis.get_tick_params()["labelleft"] for axes in figure.axes]
    assert labelled == [True, False, False, False, True, True, True, True]


def test_axes_are_labelled_once_for_the_whole_grid() -> None:
    figure = plot_residuals_in_bins(make_sample(60), [Quantity("$r$", np.arange(60.0))])
    assert re.search("phot", figure.get_supxlabel())
    assert "Delta" in figure.get_supylabel()
    assert len(plot_residuals_in_bins(make_sample(60), []).axes) == 4  # a row of empty panels
