"""A catalogue without spectroscopic redshifts: against its training sample, n(z), and p(z) of some galaxies."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from scipy.special import betaincinv

from photoz.metrics import FloatArray
from photoz.overview.examples import Examples
from photoz.overview.sums import DISTANCE_EDGES, Z_EDGES, CatalogueSums, Kind
from photoz.pdf import compute_pdfs
from photoz.plots.style import COLOURS, MARKERS, WIDTH, Z_PHOT, draw_nothing, styled
from photoz.ranges import MAGNITUDE_EDGES, RangeCounts, Ranges, list_quantities
from photoz.schema import LEVELS

_COLUMNS = 3  # panels side by side
_FILL = "#C9CED3"
_LEAST_IN_BIN = 20  # galaxies behind a share that is drawn
_CURVES = 400  # points of a p(z)

Counts = npt.NDArray[np.int64]


@styled
def plot_outside(sums: CatalogueSums) -> Figure:
    """Plot the share of galaxies outside the training sample by magnitude and redshift, and their distances from it.

    Parameters
    ----------
    sums : CatalogueSums

    Returns
    -------
    Figure
        Error bars hold 68 % of the probability of each share, given its galaxies; bins of fewer than 20 galaxies are
        left out.

    References
    ----------
    Cameron 2011, PASA 28, 128: intervals of a share from the beta distribution, sound where it is near 0 or 1.
    """
    figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_share(left, sums.by_magnitude_LM, MAGNITUDE_EDGES, most=14)
    left.set(xlabel="total magnitude [mag]", ylabel="outside the training sample [%]")
    _draw_share(middle, sums.by_redshift_LZ, Z_EDGES, most=14)
    middle.set_xlabel(Z_PHOT)
    _draw_distances(right, sums.distances_D)
    return figure


def _draw_share(axes: Axes, counts_LB: Counts, edges: FloatArray, *, most: int) -> None:
    """Draw the share outside in at most so many bins, wider ones of those counted."""
    measured_B = counts_LB[Kind.MEASURED]
    filled = np.flatnonzero(measured_B)
    if filled.size == 0:
        draw_nothing(axes, "not known")
        return
    first, last = filled[0], filled[-1] + 1
    width = -(-(last - first) // most)
    starts = np.arange(first, last, width)
    measured, outside = (np.add.reduceat(counts_LB[kind, :last], starts) for kind in (Kind.MEASURED, Kind.OUTSIDE))
    ends = np.minimum(starts + width, len(edges) - 1)
    centre = 0.5 * (edges[starts] + edges[ends])
    drawn = measured >= _LEAST_IN_BIN
    if not drawn.any():
        draw_nothing(axes, f"fewer than {_LEAST_IN_BIN} galaxies a bin")
        return
    centre, measured, outside = centre[drawn], measured[drawn], outside[drawn]
    share = outside / measured
    # Jeffreys' prior; at no and at all galaxies the interval's end is the share itself.
    low = np.where(outside == 0, 0.0, betaincinv(outside + 0.5, measured - outside + 0.5, 0.16))
    high = np.where(outside == measured, 1.0, betaincinv(outside + 0.5, measured - outside + 0.5, 0.84))
    errors = 100 * np.maximum(np.stack([share - low, high - share]), 0)
    axes.errorbar(centre, 100 * share, errors, fmt=MARKERS[0], markersize=3.5, color=COLOURS[0], linewidth=1.0)
    axes.set_ylim(0, max(1.0, 1.12 * float(100 * high.max())))
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_distances(axes: Axes, distances_D: Counts) -> None:
    axes.set(xlabel="distance from the training sample", ylabel="share a bin [%]")
    total = int(distances_D.sum())
    if not total:
        draw_nothing(axes, "not measured")
        return
    axes.set_xscale("log")
    axes.stairs(100 * distances_D / total, DISTANCE_EDGES, fill=True, color=COLOURS[4], alpha=0.6)
    # Where the flag is set.
    axes.axvline(1.0, color=COLOURS[1], linewidth=1.2, linestyle=(0, (4, 2)))
    filled = np.flatnonzero(distances_D)
    low, high = DISTANCE_EDGES[filled[0]], DISTANCE_EDGES[filled[-1] + 1]
    axes.set_xlim(min(0.5, low), max(2.0, high))
    axes.set_ylim(bottom=0)


@styled
def plot_ranges(ranges: Ranges, counts: RangeCounts, *, colours: bool) -> Figure:
    """Plot magnitudes or colours of a target over those of the training sample.

    Parameters
    ----------
    ranges : Ranges
        Of the training sample: filled.
    counts : RangeCounts
        Of the target: lines.
    colours : bool
        Colours; otherwise magnitudes.

    Returns
    -------
    Figure
        A panel each, both normalised to their own number; vertical lines at the training sample's 1 and 99 % quantile.
    """
    quantities = list_quantities(ranges.bands)
    places = [place for place in range(len(quantities)) if (place >= len(ranges.bands)) == colours]
    rows = max(1, -(-len(places) // _COLUMNS))
    figure = Figure(figsize=(WIDTH, 0.5 + 1.7 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, place in zip(panels, places, strict=False):
        axes.set_xlabel(f"${quantities[place].name}$ [mag]")
        limits = (float(ranges.low_K[place]), float(ranges.high_K[place]))
        _draw_range(axes, quantities[place].edges, ranges.counts[place], counts.counts[place], limits)
    for axes in panels[len(places) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _draw_range(axes: Axes, edges: FloatArray, training: Counts, target: Counts, limits: tuple[float, float]) -> None:
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.stairs(_to_density(training), edges, fill=True, color=_FILL, label="training sample")
    axes.stairs(_to_density(target), edges, color=COLOURS[0], linewidth=1.2, label="target")
    for limit in limits:
        # NaN, of a band in which nothing was measured, draws nothing.
        axes.axvline(limit, color=COLOURS[1], linewidth=0.9, linestyle=(0, (4, 2)))
    axes.plot([], [], color=COLOURS[1], linewidth=0.9, linestyle=(0, (4, 2)), label="1 and 99 % of the training sample")
    # A few bins beyond what holds all but the last thousandth of either.
    spans = [_find_span(counts) for counts in (training, target) if counts.any()]
    if not spans:
        draw_nothing(axes, "not measured")
        return
    first, last = min(low for low, _ in spans), max(high for _, high in spans)
    axes.set_xlim(edges[max(0, first - 2)], edges[min(len(edges) - 1, last + 3)])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    # Of many small panels, where each tick takes as long to draw as a curve.
    axes.xaxis.set_minor_locator(NullLocator())


def _to_density(counts: Counts) -> FloatArray:
    density: FloatArray = counts / max(1, int(counts.sum()))
    return density


def _find_span(counts: Counts) -> tuple[int, int]:
    """Return the first and the last bin that are needed to show all but a thousandth on either side."""
    below = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(below, 0.001)), int(np.searchsorted(below, 0.999))


@styled
def plot_stack(sums: CatalogueSums) -> Figure:
    """Plot n(z) of a whole catalogue: the histogram of z_phot, and p(z) stacked.

    Parameters
    ----------
    sums : CatalogueSums

    Returns
    -------
    Figure
        Both normalised to 1 over the redshifts that are counted; the stack is missing in a catalogue without p(z).
    """
    figure = Figure(figsize=(WIDTH * 0.72, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="redshift $z$", ylabel=r"$n(z)$, normalised to 1")
    counts = sums.by_redshift_LZ[Kind.ROWS]
    if not counts.any():
        draw_nothing(axes, "no redshifts")
        return figure
    # Where either has more than a ten-thousandth of its peak.
    seen = np.flatnonzero((counts > 1e-4 * counts.max()) | (sums.shares_Z > 1e-4 * max(sums.shares_Z.max(), 1e-9)))
    last = int(seen[-1]) + 1
    # Bins as the root of the number, so that the noise in each stays readable.
    width = max(1, round(last / float(np.clip(counts.sum() ** 0.5 / 2, 10, 60))))
    starts = np.arange(0, last, width)
    edges = np.append(Z_EDGES[starts], Z_EDGES[min(starts[-1] + width, len(Z_EDGES) - 1)])
    merged = np.add.reduceat(counts[: np.searchsorted(Z_EDGES, edges[-1])], starts)
    density = merged / counts.sum() / np.diff(edges)
    axes.stairs(density, edges, fill=True, color=_FILL, label=f"histogram of {Z_PHOT}")
    if sums.with_pdf:
        stacked = sums.shares_Z / max(sums.shares_Z.sum(), 1e-9) / np.diff(Z_EDGES)
        axes.stairs(stacked[:last], Z_EDGES[: last + 1], color=COLOURS[0], linewidth=1.3, label="stacked p(z)")
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    return figure


@styled
def plot_examples(shown: Examples, titles: Sequence[str]) -> Figure:
    """Plot p(z) of some galaxies.

    Parameters
    ----------
    shown : Examples
    titles : sequence of str
        Of each panel.

    Returns
    -------
    Figure
        The central 68 % are filled; the vertical line is z_phot.
    """
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = Figure(figsize=(WIDTH, 0.3 + 1.75 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    if not len(shown):
        draw_nothing(panels[1], "no p(z)")
    for number, (axes, title) in enumerate(zip(panels, titles, strict=False)):
        axes.set_title(title)
        quantiles_1Q = shown.quantiles_KQ[number : number + 1]
        z_grid, low, high = _choose_grid(quantiles_1Q[0])
        density = compute_pdfs(quantiles_1Q, z_grid)[0]
        inner = (z_grid >= low) & (z_grid <= high)
        axes.fill_between(z_grid[inner], density[inner], color=COLOURS[4], alpha=0.45, linewidth=0)
        axes.plot(z_grid, density, color=COLOURS[0], linewidth=1.2)
        axes.axvline(float(shown.z_phot_K[number]), color=COLOURS[1], linewidth=1.0)
        axes.set_xlim(z_grid[0], z_grid[-1])
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        # As in `_draw_range`.
        axes.minorticks_off()
    for axes in panels[max(1, len(shown)) :]:
        axes.set_axis_off()
    for axes in panels[-_COLUMNS:]:
        axes.set_xlabel("redshift $z$")
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel("$p(z)$")
    return figure


def _choose_grid(quantiles_Q: FloatArray) -> tuple[FloatArray, float, float]:
    """Choose redshifts from tail to tail of a p(z); also return the limits of its central 68 %."""
    low, high = quantiles_Q[LEVELS.index(0.16)], quantiles_Q[LEVELS.index(0.84)]
    pad = 0.5 * max(high - low, 1e-3)
    start, end = max(0.0, quantiles_Q[0] - pad), quantiles_Q[-1] + pad
    # With the limits themselves, so that what is filled ends there.
    return np.union1d(np.linspace(start, end, _CURVES), [low, high]), float(low), float(high)
