"""Accuracy in bins of magnitude, redshift and colour."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from photoz.binning import assign_bins
from photoz.metrics import Bin, FloatArray, compute_dz, compute_smad
from photoz.plots.redshifts import choose_redshift_limits, choose_residual_limits, draw_residuals
from photoz.plots.style import (
    COLOURS,
    DZ_DEFINITION,
    MARKERS,
    WIDTH,
    Z_PHOT,
    Z_SPEC,
    Sample,
    choose_limits,
    compute_running_redshift,
    count_most,
    draw_beyond,
    draw_density,
    draw_nothing,
    draw_running,
    styled,
)

_ROWS = {
    "bias_median": r"median $\Delta z$",
    "smad": r"SMAD($\Delta z$)",
    "outlier_fraction_005": r"fraction $|\Delta z| > 0.05$",
}
# Half of the 70 across a figure of the whole sample, as panels are smaller.
_CELLS = 36
_LEAST = 5  # a figure of fewer galaxies says nothing

Draw = Callable[[Axes, Sample, bool], None]
Frame = tuple[tuple[float, float], tuple[float, float], float]  # limits in x and y, height over width of a panel


class Quantity(NamedTuple):
    """What to bin in: a label with its unit (mathtext) and one value a galaxy, NaN where there is none.

    ``zoom`` lets each panel frame its own galaxies: for a redshift, whose bins are slices of the common frame.
    """

    label: str
    values: FloatArray
    zoom: bool = False


@styled
def plot_binned(bins: Mapping[str, Mapping[str, Sequence[Bin]]], labels: Mapping[str, str]) -> Figure:
    """Plot bias, SMAD and outliers in bins, all estimators side by side.

    Parameters
    ----------
    bins : mapping of str to mapping of str to sequence of Bin
        By quantity, then by the estimator's label.
    labels : mapping of str to str
        Axis label of each quantity, with its unit.

    Returns
    -------
    Figure
        Points lie at the median of each bin, error bars are one-sigma bootstrap errors; bins with fewer than 5 galaxies
        are left out. Estimators are set apart sideways by a little, so that their error bars can be told apart.
    """
    columns = max(1, len(bins))
    figure = Figure(figsize=(WIDTH, 5.4), layout="constrained")
    grid = figure.subplots(len(_ROWS), columns, sharex="col", sharey="row", squeeze=False)
    for column, (quantity, by_label) in enumerate(bins.items()):
        for row, statistic in enumerate(_ROWS):
            _draw_bins(grid[row][column], by_label, statistic)
        grid[-1][column].set_xlabel(labels[quantity])
    for row, label in enumerate(_ROWS.values()):
        grid[row][0].set_ylabel(label)
    for axes in grid[0]:
        # Only the bias has a zero to be compared with; scatter and outliers begin there.
        axes.axhline(0.0, color="black", linewidth=0.8, zorder=1)
    for axes in [*grid[1], *grid[2]]:
        axes.set_ylim(bottom=0)
    # One legend for all panels, from the first: each draws the same estimators in the same colours.
    handles, names = grid[0][0].get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc="outside upper center", ncols=min(4, len(names)))
    return figure


@styled
def plot_redshifts_in_bins(sample: Sample, quantities: Sequence[Quantity], *, panels: int = 4) -> Figure:
    """Plot z_phot against z_spec in bins of each quantity that hold equally many galaxies.

    Parameters
    ----------
    sample : Sample
    quantities : sequence of Quantity
        One row each; ``values`` has the shape of the sample's redshifts.
    panels : int
        Bins a quantity.

    Returns
    -------
    Figure
    """
    clean = sample.drop_missing()
    limits = choose_redshift_limits([clean])
    # Of the whole sample, so that the same shade means the same count in every panel.
    most = count_most(clean.z_spec, clean.z_phot, (*limits, *limits), cells=_CELLS)

    def draw(axes: Axes, inside: Sample, zoom: bool) -> None:
        if zoom:
            # z_spec ends sharply where its bin does; z_phot has tails, of which outliers are cut off and a margin is
            # left.
            across = choose_limits([inside.z_spec], low=0.1, high=99.9)
            axes.set(xlim=across, ylim=choose_limits([inside.z_phot], low=0.5, high=99.5, pad=0.1))
        axes.plot(limits, limits, color="black", linewidth=0.8, zorder=3)
        draw_density(axes, inside.z_spec, inside.z_phot, most=most, cells=_CELLS)
        draw_running(axes, compute_running_redshift(inside, windows=12))
        draw_beyond(axes, inside.z_spec, inside.z_phot, at=(0.05, 0.5))

    figure = _draw_grid(sample, quantities, panels, (limits, limits, 1.0), draw)
    figure.supxlabel(Z_SPEC, fontsize=10.5)
    figure.supylabel(Z_PHOT, fontsize=10.5)
    return figure


@styled
def plot_residuals_in_bins(sample: Sample, quantities: Sequence[Quantity], *, panels: int = 4) -> Figure:
    """Plot the normalised difference against z_phot in bins of each quantity; as `plot_redshifts_in_bins`."""
    clean = sample.drop_missing()
    limits, residual = choose_redshift_limits([clean]), choose_residual_limits([clean])
    most = count_most(clean.z_phot, compute_dz(clean.z_phot, clean.z_spec), (*limits, *residual), cells=_CELLS)

    def draw(axes: Axes, inside: Sample, zoom: bool) -> None:
        if zoom:
            axes.set_xlim(choose_limits([inside.z_phot], low=0.1, high=99.9))
        draw_residuals(axes, inside.z_phot, inside, most, cells=_CELLS, windows=12, beyond=True)

    figure = _draw_grid(sample, quantities, panels, (limits, residual, 0.75), draw)
    figure.supxlabel(Z_PHOT, fontsize=10.5)
    figure.supylabel(DZ_DEFINITION, fontsize=10.5)
    return figure


def _draw_grid(sample: Sample, quantities: Sequence[Quantity], panels: int, frame: Frame, draw: Draw) -> Figure:
    xlim, ylim, shape = frame
    height = 0.55 + len(quantities) * (shape * (WIDTH - 0.7) / panels + 0.42)
    figure = Figure(figsize=(WIDTH, max(2.0, height)), layout="constrained")
    grid = figure.subplots(max(1, len(quantities)), panels, squeeze=False)
    # Not strict: without a quantity there is a row of panels all the same, since matplotlib has no grid of none.
    for row, quantity in zip(grid, quantities, strict=False):
        for axes, (inside, title) in zip(row, _split(sample, quantity, panels), strict=True):
            # Before anything is drawn, since the density takes its cells from the panel's limits.
            axes.set(xlim=xlim, ylim=ylim)
            axes.set_title(_describe(title, inside.drop_missing()), fontsize=8.5, pad=3, linespacing=1.3)
            axes.tick_params(labelsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            _draw_panel(axes, inside.drop_missing(), quantity.zoom, draw)
            # Labels of an axis are left out only where the panel to the left has the same: zoomed panels each have
            # their own.
            same_frame = axes.get_ylim() == row[0].get_ylim()
            axes.tick_params(labelleft=axes is row[0] or not same_frame)
    return figure


def _draw_panel(axes: Axes, inside: Sample, zoom: bool, draw: Draw) -> None:
    if inside.z_spec.size == 0:
        draw_nothing(axes)
        return
    draw(axes, inside, zoom)


def _describe(title: str, inside: Sample) -> str:
    """A panel's title: its bin, and below it what would hide galaxies if it stood within."""
    if inside.z_spec.size == 0:
        return title
    smad = float(compute_smad(compute_dz(inside.z_phot, inside.z_spec)))
    return f"{title}\n$N = {inside.z_spec.size}$, $\\mathrm{{SMAD}} = {smad:.4f}$"


def _split(sample: Sample, quantity: Quantity, panels: int) -> list[tuple[Sample, str]]:
    """The sample in bins of equally many galaxies, with a title that states the bin."""
    # Of galaxies with an estimate, or the bins would not be equally full once those without are dropped.
    known = quantity.values[np.isfinite(quantity.values) & np.isfinite(sample.z_phot)]
    edges = np.unique(np.percentile(known, np.linspace(0, 100, panels + 1))) if known.size else np.empty(0)
    # Values that repeat make some edges the same; the panels then left over say that they are empty.
    nothing = (sample.select(np.zeros(sample.z_spec.size, dtype=bool)), quantity.label)
    if edges.size < 2:
        return [nothing] * panels
    index = assign_bins(quantity.values, edges)
    # Without the unit, which would stand between the inequality's parts.
    name = quantity.label.split(" [")[0]
    parts = [
        (sample.select(index == i), f"${edges[i]:.2f} \\leq$ {name} ${_sign(i, edges)} {edges[i + 1]:.2f}$")
        for i in range(edges.size - 1)
    ]
    return parts + [nothing] * (panels - len(parts))


def _sign(i: int, edges: FloatArray) -> str:
    # The last bin holds its upper edge, as `assign_bins` has it.
    return r"\leq" if i == edges.size - 2 else "<"


def _draw_bins(axes: Axes, by_label: Mapping[str, Sequence[Bin]], statistic: str) -> None:
    # Of bins with galaxies alone: the centre of an empty one is NaN, and the shift of all would be.
    span = np.ptp([bin.centre for bins in by_label.values() for bin in bins if bin.metrics.count] or [0.0])
    drawn = False
    for number, (label, bins) in enumerate(by_label.items()):
        kept = [bin for bin in bins if bin.metrics.count >= _LEAST]
        # About the median of the bin, half of the estimators to each side.
        shift = 0.012 * span * (number - 0.5 * (len(by_label) - 1))
        drawn |= bool(kept)
        if not kept:
            continue
        axes.errorbar(
            [bin.centre + shift for bin in kept],
            [bin.metrics[statistic].value for bin in kept],
            yerr=[bin.metrics[statistic].error for bin in kept],
            color=COLOURS[number % len(COLOURS)],
            # Beyond the last colour they begin again, with other markers.
            marker=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
            markersize=4,
            linewidth=1.0,
            capsize=0,
            # A point on the frame is drawn whole.
            clip_on=False,
            label=label,
        )
    if not drawn:
        draw_nothing(axes, "too few galaxies")
