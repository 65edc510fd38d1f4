"""Photometric against spectroscopic redshift, and the residuals: the figures of the whole test sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from photoz.metrics import FloatArray, compute_dz, compute_outlier_fraction, compute_smad
from photoz.plots.style import (
    COLOURS,
    DZ,
    DZ_DEFINITION,
    GREY,
    LEGEND_ON_DATA,
    WIDTH,
    Z_PHOT,
    Z_SPEC,
    Sample,
    choose_limits,
    compute_running,
    compute_running_redshift,
    count_most,
    draw_beyond,
    draw_density,
    draw_nothing,
    draw_running,
    styled,
)


@styled
def plot_redshifts(samples: Sequence[Sample]) -> Figure:
    """Plot z_phot against z_spec with the residuals below, one column for each estimator.

    Parameters
    ----------
    samples : sequence of Sample
        An empty one, or none at all, gives an empty panel.

    Returns
    -------
    Figure
        Counts on a logarithmic scale (points when there are fewer than 2000 galaxies), the 1:1 line, and the running
        median with a band of one SMAD. Galaxies beyond the frame are marked at its edge, with their number.
    """
    # Before the frames are chosen: of NaN the percentiles of the residuals would be NaN, and so their frame.
    kept = _keep_estimated(samples)
    # The same frame and the same scale for all estimators: they are drawn to be compared.
    limits, residual = choose_redshift_limits(kept), choose_residual_limits(kept)
    figure, grid, colour_axes = _make_columns(len(kept), heights=(3.0, 1.15))
    most = _shared_count([(s.z_spec, s.z_phot) for s in kept], (*limits, *limits))
    image = None
    for column, sample in enumerate(kept):
        top, bottom = grid[0][column], grid[1][column]
        # Before anything is drawn: the cells of the density are laid over the limits that a panel has (`draw_density`).
        top.set(xlim=limits, ylim=limits)
        bottom.set(xlim=limits, ylim=residual, xlabel=Z_SPEC)
        # The uppermost label would run into the lowest of the panel above.
        bottom.yaxis.set_major_locator(MaxNLocator(4, prune="upper"))
        top.tick_params(labelbottom=False)
        # Of whichever panel has cells: all are drawn on one scale, so that any gives the same colour bar.
        image = _draw_one_to_one(top, sample, most, legend=column == 0) or image
        draw_residuals(bottom, sample.z_spec, sample, most, beyond=True)
        _annotate(top, sample)
    _finish_columns(grid, (Z_PHOT, DZ))
    _draw_scale(figure, colour_axes, image)
    return figure


@styled
def plot_residuals(samples: Sequence[Sample]) -> Figure:
    """Plot the normalised difference against z_phot, one column for each estimator.

    Parameters
    ----------
    samples : sequence of Sample
        As of `plot_redshifts`.

    Returns
    -------
    Figure
        With the running median and a band of one SMAD. Against z_phot, since that is what a user selects by; the
        median need not be zero there for an estimator that is unbiased at a given z_spec, nor the reverse.
    """
    kept = _keep_estimated(samples)
    limits = choose_limits([s.z_phot for s in kept], low=0.1, high=99.9)
    residual = choose_residual_limits(kept)
    figure, grid, colour_axes = _make_columns(len(kept), heights=(2.2,))
    most = _shared_count([(s.z_phot, _residual(s)) for s in kept], (*limits, *residual))
    # Panels of three are too narrow for the two columns of a legend.
    image, columns = None, 2 if len(kept) < 3 else 1
    for axes, sample in zip(grid[0], kept, strict=True):
        axes.set(xlim=limits, ylim=residual, xlabel=Z_PHOT)
        # One legend, in the first panel: the lines of the others are the same.
        shown = columns * (axes is grid[0][0])
        image = draw_residuals(axes, sample.z_phot, sample, most, legend=shown, beyond=True) or image
        axes.set_title(sample.label)
    _finish_columns(grid, (DZ_DEFINITION,))
    _draw_scale(figure, colour_axes, image)
    return figure


@styled
def plot_residual_histogram(samples: Sequence[Sample]) -> Figure:
    """Plot the distribution of the normalised differences beside Gaussians of the same median and SMAD.

    Parameters
    ----------
    samples : sequence of Sample

    Returns
    -------
    Figure
        The core on a linear scale, and the wings, where outliers show, on a logarithmic one.
    """
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    core, wings = figure.subplots(1, 2)
    residuals = [_residual(sample.drop_missing()) for sample in samples]
    filled = [residual for residual in residuals if residual.size]
    # Some sample may have a SMAD of 0, as one of equal redshifts; a frame needs a width.
    widest = max((float(compute_smad(residual)) for residual in filled), default=0.02) or 0.02
    for axes, reach in ((core, 5.0 * widest), (wings, max(0.2, 10.0 * widest))):
        for number, (sample, residual) in enumerate(zip(samples, residuals, strict=True)):
            _draw_histogram(axes, residual, reach, number, sample.label)
        axes.set(xlim=(-reach, reach), xlabel=DZ_DEFINITION)
    wings.set_yscale("log")
    # The density of a single galaxy goes with 1 / N: below it there is nothing to draw on a logarithmic scale.
    least = min((1.0 / residual.size for residual in filled), default=1e-3)
    wings.set_ylim(max(3e-3, 20.0 * least), 6.0 * max(core.get_ylim()[1], 1.0))
    core.set_ylabel("probability density")
    # Room for one line of the legend an estimator.
    core.set_ylim(0, core.get_ylim()[1] * (1.0 + 0.09 * len(samples)))
    # matplotlib warns of a legend without entries.
    if core.patches:
        core.legend(loc="upper left", handlelength=1.4)
    # The dashed lines have the samples' colours; one grey entry stands for all of them.
    wings.plot([], [], color=GREY, linestyle=(0, (4, 2)), label="Gaussian of the same median and SMAD")
    wings.legend(handles=[wings.lines[-1]], loc="upper left")
    return figure


def choose_redshift_limits(samples: Sequence[Sample]) -> tuple[float, float]:
    """Choose limits that hold 99.8 % of all redshifts."""
    return choose_limits([array for s in samples for array in (s.z_phot, s.z_spec)], low=0.1, high=99.9)


def choose_residual_limits(samples: Sequence[Sample]) -> tuple[float, float]:
    """Choose symmetric limits wide enough for the wings of the residuals: 99 %, and at least 4 SMAD."""
    pooled = np.concatenate([_residual(sample) for sample in samples]) if samples else np.empty(0)
    if pooled.size == 0:
        return -0.1, 0.1
    # The last for estimates that are all but equal to the truth: their percentiles would make a frame of no width.
    reach = max(float(np.percentile(np.abs(pooled), 99.0)), 4.0 * float(compute_smad(pooled)), 0.02)
    return -1.12 * reach, 1.12 * reach


def draw_residuals(
    axes: Axes,
    x: FloatArray,
    sample: Sample,
    most: float,
    *,
    cells: int = 70,
    windows: int = 24,
    legend: int = 0,
    beyond: bool = False,
) -> Any:
    """Draw dz against x with its running median.

    Parameters
    ----------
    axes : Axes
        With its limits set.
    x : ndarray of float64, shape (N,)
        A redshift of each galaxy of the sample.
    sample : Sample
        Without NaN.
    most : float
        As of `photoz.plots.style.draw_density`.
    cells, windows : int
        Cells of the density across, and windows of the running median.
    legend : int
        Its number of columns, 0 for none.
    beyond : bool
        Mark the galaxies beyond the frame at its edge.

    Returns
    -------
    object or None
        What a colour bar can be made of.
    """
    axes.axhline(0.0, color="black", linewidth=0.8, zorder=3)
    if x.size == 0:
        draw_nothing(axes)
        return None
    residual = _residual(sample)
    image = draw_density(axes, x, residual, most=most, cells=cells)
    draw_running(axes, compute_running(x, residual, windows=windows), label=legend > 0)
    if beyond:
        draw_beyond(axes, x, residual)
    if legend:
        axes.legend(loc="upper right", ncols=legend, handlelength=1.8, columnspacing=1.2, **LEGEND_ON_DATA)
    return image


def _draw_one_to_one(axes: Axes, sample: Sample, most: float, *, legend: bool) -> Any:
    axes.plot(axes.get_xlim(), axes.get_xlim(), color="black", linewidth=0.8, zorder=3)
    if sample.z_spec.size == 0:
        draw_nothing(axes)
        return None
    image = draw_density(axes, sample.z_spec, sample.z_phot, most=most)
    draw_running(axes, compute_running_redshift(sample), label=legend)
    draw_beyond(axes, sample.z_spec, sample.z_phot, at=(0.72, 0.12))  # clear of the 1:1 line
    if legend:
        axes.legend(loc="lower right", handlelength=1.8, **LEGEND_ON_DATA)
    return image


def _annotate(axes: Axes, sample: Sample) -> None:
    axes.set_title(sample.label)
    if sample.z_spec.size == 0:
        return
    # Not of nothing: numpy warns of the mean of an empty array.
    residual = _residual(sample)
    lines = [
        rf"$N = {residual.size}$",
        rf"$\langle\Delta z\rangle = {residual.mean():+.4f}$",
        rf"$\sigma = {residual.std():.4f}$",
        rf"$\mathrm{{SMAD}} = {float(compute_smad(residual)):.4f}$",
        rf"$|\Delta z| > 0.05$: {100 * float(compute_outlier_fraction(residual, 0.05)):.1f} %",
    ]
    axes.text(0.04, 0.96, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=9, linespacing=1.35, zorder=7)


def _draw_histogram(axes: Axes, residual: FloatArray, reach: float, number: int, label: str) -> None:
    if residual.size == 0:
        return
    colour = COLOURS[number % len(COLOURS)]
    centre, width = float(np.median(residual)), float(compute_smad(residual))
    # An even number of bins, so that an edge lies at 0 and a bias shows as a difference of the two beside it.
    edges = np.linspace(-reach, reach, 2 * round(min(40, 4 + residual.size**0.5 / 2)) + 1)
    # By all galaxies, not by those within the frame: the core would else look taller, the more outliers there are.
    density = np.histogram(residual, edges)[0] / residual.size / np.diff(edges)
    axes.stairs(density, edges, color=colour, linewidth=1.3, label=label)
    # The first alone, since areas that lie over each other hide what is beneath.
    if number == 0:
        axes.stairs(density, edges, color=colour, alpha=0.15, fill=True)
    # A SMAD of 0, as of equal estimates, has no Gaussian to be drawn.
    if width > 0:
        x = np.linspace(-reach, reach, 400)
        gaussian = np.exp(-0.5 * ((x - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
        axes.plot(x, gaussian, color=colour, linewidth=1.0, linestyle=(0, (4, 2)))


def _keep_estimated(samples: Sequence[Sample]) -> list[Sample]:
    """Leave out galaxies without an estimate; of no sample there is an empty one, whose panel says that it is."""
    return [sample.drop_missing() for sample in samples] or [Sample("", np.empty(0), np.empty(0))]


def _residual(sample: Sample) -> FloatArray:
    return compute_dz(sample.z_phot, sample.z_spec)


def _shared_count(points: Sequence[tuple[FloatArray, FloatArray]], limits: tuple[float, float, float, float]) -> float:
    counts = [count_most(x, y, limits) for x, y in points]
    # One sample of few galaxies is drawn as points, and then all are: a scale that holds for some panels only misleads.
    return max(counts, default=0.0) if min(counts, default=0.0) > 0 else 0.0


def _make_columns(columns: int, *, heights: tuple[float, ...]) -> tuple[Figure, list[list[Axes]], Axes]:
    """Panels of fixed size in inches, so that square ones are square, and a slim one for the colour scale."""
    columns = max(1, columns)
    # Of more than three the figure grows instead of the panels shrinking until nothing can be read.
    width = min(3.4, (WIDTH - 1.15) / columns) if columns <= 3 else 2.1
    if len(heights) == 1:
        panels = [min(heights[0], 0.85 * width + 0.4)]
        width = min(5.4, (WIDTH - 1.15) / columns) if columns == 1 else width
    else:
        panels = [width * heights[0] / heights[0], width * heights[1] / heights[0]]
    total_width, total_height = 0.62 + columns * width + 0.08 * (columns - 1) + 0.62, 0.5 + sum(panels) + 0.3
    total_height += 0.06 * (len(panels) - 1)
    # Placed by hand: a layout engine of matplotlib would shrink square panels to make room for labels.
    figure = Figure(figsize=(total_width, total_height))
    top, grid = total_height - 0.3, []
    for height in panels:
        row = [0.62 + i * (width + 0.08) for i in range(columns)]
        boxes = [
            (x / total_width, (top - height) / total_height, width / total_width, height / total_height) for x in row
        ]
        grid.append([figure.add_axes(box) for box in boxes])
        top -= height + 0.06
    right = (total_width - 0.55) / total_width
    scale = figure.add_axes((right, 0.5 / total_height, 0.1 / total_width, (total_height - 0.8) / total_height))
    return figure, grid, scale


def _finish_columns(grid: list[list[Axes]], labels: tuple[str, ...]) -> None:
    for row, label in zip(grid, labels, strict=True):
        row[0].set_ylabel(label)
        for axes in row[1:]:
            axes.tick_params(labelleft=False)


def _draw_scale(figure: Figure, axes: Axes, image: Any) -> None:
    if image is None:
        axes.remove()
        # Without a scale its strip would stand empty.
        _crop_right(figure, 0.42)
        return
    bar = figure.colorbar(image, cax=axes)
    bar.set_label("galaxies per cell")


def _crop_right(figure: Figure, width: float) -> None:
    """Take a strip [inch] off the right of a figure; its panels keep their sizes."""
    whole = figure.get_figwidth()
    for axes in figure.axes:
        box = axes.get_position()
        left, across = (share * whole / (whole - width) for share in (box.x0, box.width))
        axes.set_position((left, box.y0, across, box.height))
    # Last: the shares above were taken of the old width.
    figure.set_figwidth(whole - width)
