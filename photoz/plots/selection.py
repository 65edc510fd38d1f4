"""Redshifts against the conditions of the observation, and accuracy against the distance from the training sample."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from photoz.evaluate.systematics import DistanceCut, TileMeans
from photoz.metrics import FloatArray
from photoz.plots.style import COLOURS, GREY, MARKERS, WIDTH, draw_nothing, styled

MOST_POINTS = 40
"""Tiles drawn one by one; more are averaged in groups of neighbours."""


@styled
def plot_conditions(conditions: Mapping[str, FloatArray], redshift: TileMeans, difference: TileMeans) -> Figure:
    """Plot the tiles' mean z_phot and mean dz against conditions.

    Parameters
    ----------
    conditions : mapping of str to ndarray of float64, shape (T,)
        By axis label; one column of panels each.
    redshift, difference : TileMeans
        Of z_phot and of dz.

    Returns
    -------
    Figure
        Error bars hold the number of galaxies alone. Above 40 tiles, weighted means of groups of equally many tiles.
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    # At least one column, since matplotlib has no grid of none.
    grid = figure.subplots(2, max(1, len(conditions)), sharex="col", sharey="row", squeeze=False)
    for column, (label, values) in enumerate(conditions.items()):
        for row, means in enumerate((redshift, difference)):
            _draw_means(grid[row][column], values, means, COLOURS[row])
        grid[1][column].set_xlabel(label)
        grid[1][column].axhline(0.0, color="black", linewidth=0.7, zorder=1)
        # A tile has a number; a condition any value.
        numbers = bool(np.all(values == np.round(values)))
        grid[1][column].xaxis.set_major_locator(MaxNLocator(4, integer=numbers))
        if numbers:
            grid[1][column].xaxis.set_minor_locator(NullLocator())
    grid[0][0].set_ylabel(r"mean $z_\mathrm{phot}$, all")
    grid[1][0].set_ylabel(r"mean $\Delta z$, test galaxies")
    return figure


@styled
def plot_distance_cut(cuts: Mapping[str, Sequence[DistanceCut]]) -> Figure:
    """Plot SMAD and outliers of the galaxies kept, against the share kept; by estimator."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, label in (
        (left, "smad", r"SMAD($\Delta z$)"),
        (right, "outlier_fraction_005", r"fraction $|\Delta z| > 0.05$"),
    ):
        for number, (estimator, rows) in enumerate(cuts.items()):
            axes.errorbar(
                [100 * cut.kept for cut in rows],
                [cut.metrics[name].value for cut in rows],
                np.nan_to_num([cut.metrics[name].error for cut in rows]),
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                label=estimator,
            )
        axes.set(xlabel="kept, nearest to the training sample first [%]", ylabel=label)
        # From 0, or a gain of a few percent would fill the panel.
        axes.set_ylim(bottom=0)
        # From all galaxies on the left to the strictest cut on the right.
        axes.invert_xaxis()
    left.legend(loc="lower left")
    return figure


def _draw_means(axes: Axes, values: FloatArray, means: TileMeans, colour: str) -> None:
    # A tile without an image has no conditions, and one without a test galaxy no mean difference.
    used = np.isfinite(values) & np.isfinite(means.mean)
    x, drawn = values[used], TileMeans(means.count[used], means.mean[used], means.error[used])
    if x.size == 0:
        draw_nothing(axes, "not known")
        return
    if x.size > MOST_POINTS:
        x, drawn = _average_groups(x, drawn)
    mean, error = drawn.mean, drawn.error
    # A tile of one galaxy has no error, and so no weight.
    common = np.average(mean, weights=np.where(error > 0, error, np.inf) ** -2.0) if (error > 0).any() else mean.mean()
    axes.axhline(float(common), color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    axes.errorbar(x, mean, np.nan_to_num(error), fmt="o", markersize=3.5, color=colour, linewidth=0.9)


def _average_groups(x: FloatArray, means: TileMeans, *, groups: int = 12) -> tuple[FloatArray, TileMeans]:
    """Averages over groups of tiles with similar x: x, and the means over the galaxies of each group."""
    count, mean, error = means.count, means.mean, means.error
    # Equally many tiles, not equal steps of the condition, whose extremes few tiles have.
    parts = np.array_split(np.argsort(x, kind="stable"), groups)
    total = np.array([count[part].sum() for part in parts])
    middle = np.array([np.average(x[part], weights=count[part]) for part in parts])
    value = np.array([np.average(mean[part], weights=count[part]) for part in parts])
    # Errors of means weighted by galaxies; a tile without an error adds none.
    square = np.array([((count[part] * np.nan_to_num(error[part])) ** 2).sum() for part in parts])
    return middle, TileMeans(total, value, np.sqrt(square) / total)
