"""Figures of an overview: what they draw, and what they say where there is nothing to draw."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import list_steps, list_texts
from made_overview import make_overview, make_rows
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer

from photoz.overview.examples import Examples
from photoz.overview.sums import Z_EDGES, CatalogueSums, Kind, sum_rows
from photoz.plots.catalogue import SkyCounts, plot_sky_share
from photoz.plots.overview import plot_examples, plot_outside, plot_ranges, plot_stack
from photoz.plots.style import render_png
from photoz.ranges import MAGNITUDE_EDGES
from photoz.report.overview_tables import choose_examples, make_titles


def list_bars(axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """List the points of a panel's error bars."""
    bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
    return [(np.asarray(each.lines[0].get_xdata()), np.asarray(each.lines[0].get_ydata())) for each in bars]


def test_shares_are_drawn_at_the_middle_of_their_bins_and_small_bins_left_out() -> None:
    sums = CatalogueSums()
    sums.by_magnitude_LM[Kind.MEASURED, 40:43] = (100, 200, 19)
    sums.by_magnitude_LM[Kind.OUTSIDE, 40:43] = (0, 50, 19)
    figure = plot_outside(sums)
    ((x, y),) = list_bars(figure.axes[0])
    np.testing.assert_allclose(x, 0.5 * (MAGNITUDE_EDGES[40:42] + MAGNITUDE_EDGES[41:43]))
    np.testing.assert_allclose(y, [0.0, 25.0])
    assert list_texts(figure) == ["not known", "not measured"]


def test_wide_ranges_are_drawn_in_wider_bins() -> None:
    sums = CatalogueSums()
    sums.by_redshift_LZ[Kind.MEASURED, 600:] = 10
    sums.by_redshift_LZ[Kind.OUTSIDE, 600:] = 1
    ((x, y),) = list_bars(plot_outside(sums).axes[1])
    # 50 cells in bins of 4; the last one is of 2 alone, which are 20 galaxies.
    assert len(x) == 13
    assert x[-1] == pytest.approx(6.49)
    np.testing.assert_allclose(y, 10.0)


def test_few_galaxies_a_bin_are_told() -> None:
    sums = CatalogueSums()
    sums.by_magnitude_LM[Kind.MEASURED, 40] = 19
    assert list_texts(plot_outside(sums))[0] == "fewer than 20 galaxies a bin"


def test_stack_and_histogram_are_densities() -> None:
    sums = sum_rows(make_rows(3000))
    (histogram, edges), (stack, fine) = list_steps(plot_stack(sums).axes[0])
    assert np.sum(histogram * np.diff(edges)) == pytest.approx(1.0, abs=2e-3)
    assert np.sum(stack * np.diff(fine)) == pytest.approx(1.0, abs=2e-3)


def test_redshifts_up_to_the_last_cell_are_drawn() -> None:
    sums = CatalogueSums()
    sums.by_redshift_LZ[Kind.ROWS, [0, len(Z_EDGES) - 2]] = 1
    ((histogram, edges),) = list_steps(plot_stack(sums).axes[0])
    assert edges[-1] == Z_EDGES[-1]
    assert np.sum(histogram * np.diff(edges)) == pytest.approx(1.0)


def test_a_catalogue_without_redshifts_says_so() -> None:
    assert list_texts(plot_stack(CatalogueSums())) == ["no redshifts"]
    assert list_texts(plot_examples(Examples.empty(), [])) == ["no p(z)"]


@pytest.mark.parametrize(("colours", "names"), [(False, ["$g$", "$r$", "$i$"]), (True, ["$g - r$", "$r - i$"])])
def test_target_and_training_sample_are_drawn_over_each_other(colours: bool, names: list[str]) -> None:
    overview = make_overview()
    figure = plot_ranges(overview.model.ranges, overview.counts, colours=colours)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_xlabel() for axes in panels] == [f"{name} [mag]" for name in names]
    for axes in panels:
        (training, _), (target, _) = list_steps(axes)
        assert training.sum() == pytest.approx(1.0)
        assert target.sum() == pytest.approx(1.0)
    (text,) = figure.legends
    assert [each.get_text() for each in text.get_texts()][:2] == ["training sample", "target"]


def test_a_band_that_nothing_was_measured_in_is_named_and_empty() -> None:
    overview = make_overview()
    ranges, counts = overview.model.ranges, overview.counts
    empty = [np.zeros_like(each) for each in ranges.counts]
    ranges = replace(ranges, counts=(empty[0], *ranges.counts[1:]), low_K=ranges.low_K * np.nan)
    counts = replace(counts, counts=(empty[0], *counts.counts[1:]))
    assert list_texts(plot_ranges(ranges, counts, colours=False)) == ["not measured"]


def test_nine_densities_are_drawn_with_their_redshifts() -> None:
    shown = choose_examples(sum_rows(make_rows(2000)))
    figure = plot_examples(shown, make_titles(shown))
    assert [axes.get_title() for axes in figure.axes][:2] == ["a: narrowest", "b: narrowest"]
    assert len(shown) == 9
    for number, axes in enumerate(figure.axes):
        curve, line = axes.lines
        x, y = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.03)
        assert line.get_xdata()[0] == shown.z_phot_K[number]


def test_the_map_of_a_share_begins_at_nothing() -> None:
    sky = SkyCounts(4, np.array([10, 11]), np.array([5, 5]), [])
    figure = plot_sky_share(sky, np.array([0.2, 0.5]), "share [%]")
    (cells,) = [each for each in figure.axes[0].collections if isinstance(each, PolyCollection)]
    np.testing.assert_allclose(cells.get_array(), [20.0, 50.0])
    assert cells.get_clim() == (0.0, 50.0)
    nowhere = SkyCounts(4, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), [])
    assert list_texts(plot_sky_share(nowhere, np.empty(0), "share [%]")) == ["no galaxies"]
    # No galaxy outside at all: a scale without width would have no ticks.
    assert render_png(plot_sky_share(sky, np.zeros(2), "share [%]"), dpi=40)
