"""Figures of conditions and of cuts: every tile or group of tiles, every share."""

import numpy as np
import pytest

from photoz.evaluate.systematics import DistanceCut, TileMeans
from photoz.metrics import compute_metrics
from photoz.plots.selection import _average_groups, plot_conditions, plot_distance_cut


def make_means(count: int) -> TileMeans:
    generator = np.random.default_rng(1)
    return TileMeans(
        generator.integers(5, 50, count).astype(float), generator.normal(0.2, 0.01, count), np.full(count, 0.01)
    )


@pytest.mark.parametrize(("tiles", "points"), [(0, 0), (5, 5), (40, 40), (41, 12), (1000, 12)])
def test_tiles_are_drawn_one_by_one_until_there_are_many(tiles: int, points: int) -> None:
    means = make_means(tiles)
    figure = plot_conditions({"seeing [arcsec]": np.linspace(0.6, 0.9, tiles)}, means, means)
    drawn = [line.get_xdata().size for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert drawn == [points] * (2 if points else 0)
    assert ("not known" in [text.get_text() for axes in figure.axes for text in axes.texts]) == (tiles == 0)


def test_groups_keep_the_mean_of_all_galaxies() -> None:
    means, x = make_means(100), np.random.default_rng(2).normal(size=100)
    middle, grouped = _average_groups(x, means)
    assert (np.diff(middle) > 0).all()
    assert grouped.count.sum() == means.count.sum()
    assert np.average(grouped.mean, weights=grouped.count) == pytest.approx(np.average(means.mean, weights=means.count))
    # The error of a weighted mean of equal errors lies between those of one tile and of independent equal tiles.
    assert (grouped.error < 0.01).all()


def test_cuts_run_from_all_galaxies_to_few() -> None:
    z = np.linspace(0.1, 0.5, 50)
    cuts = [DistanceCut(kept, kept, compute_metrics(z + 0.01 * np.sin(50 * z), z, resamples=10)) for kept in (1.0, 0.5)]
    left = plot_distance_cut({"mlp": cuts}).axes[0]
    assert left.lines[0].get_xdata().tolist() == [100.0, 50.0]
    assert left.get_xlim()[0] > left.get_xlim()[1]


@pytest.mark.parametrize("tiles", [4, 1000])
def test_tiles_are_numbered_by_whole_numbers_few_or_many(tiles: int) -> None:
    means = make_means(tiles)
    figure = plot_conditions({"tile, by name": np.arange(1.0, tiles + 1)}, means, means)
    axes = figure.axes[1]
    ticks = axes.xaxis.get_major_locator()()
    assert 2 <= len(ticks) <= 8
    assert (ticks == np.round(ticks)).all()
    assert len(axes.xaxis.get_minor_locator()()) == 0
