"""One look for all figures, and what they share: samples, densities, running medians, bytes."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from PIL import Image

from photoz.metrics import FloatArray, compute_smad

P = ParamSpec("P")

WIDTH = 7.1
"""[inch] of a figure across both columns of a journal page (180 mm)."""
PNG_DPI = 200
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe & Ito (2008), Color Universal Design, without the yellow that white paper swallows."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MEDIAN_COLOUR = "#D55E00"
GREY = "#6B6B6B"
DENSITY = LinearSegmentedColormap.from_list("density", ["#D6E6F2", "#7FB2D9", "#2C7FB8", "#0B4A86", "#04203F"])
"""Light to dark in one hue, so that it survives printing in grey; its lightest step still shows on white."""

Z_PHOT = r"$z_\mathrm{phot}$"
Z_SPEC = r"$z_\mathrm{spec}$"
DZ = r"$\Delta z$"
DZ_DEFINITION = r"$\Delta z = (z_\mathrm{phot} - z_\mathrm{spec})\,/\,(1 + z_\mathrm{spec})$"

LEGEND_ON_DATA: dict[str, Any] = {"frameon": True, "facecolor": "white", "framealpha": 0.8, "edgecolor": "none"}

_POINTS_BELOW = 2_000  # fewer galaxies than this are drawn one by one
_LEAST_IN_WINDOW = 10
_STYLE = {
    # Comes with matplotlib, so figures are the same on every machine, and goes with the text of a journal set in Times.
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "legend.fontsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.3,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.unicode_minus": True,
    # TrueType: matplotlib's default, Type 3, is refused by several journals and cannot be edited.
    "pdf.fonttype": 42,
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Redshifts of N galaxies by one estimator.

    Parameters
    ----------
    label : str
        Of the estimator, as legends show it.
    z_phot, z_spec : ndarray of float64, shape (N,)
        NaN where there is none; such rows are drawn nowhere.
    """

    label: str
    z_phot: FloatArray
    z_spec: FloatArray

    def select(self, rows: npt.NDArray[np.bool_]) -> "Sample":
        """Keep the rows where ``rows`` is True."""
        return Sample(self.label, self.z_phot[rows], self.z_spec[rows])

    def drop_missing(self) -> "Sample":
        """Keep the rows with both redshifts."""
        return self.select(np.isfinite(self.z_phot) & np.isfinite(self.z_spec))


class Running(NamedTuple):
    """Median and SMAD of y in windows of x; each an array of float64, shape (W,)."""

    centre: FloatArray
    median: FloatArray
    smad: FloatArray


def styled(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw within our style whatever the caller's settings are, and leave those as they were."""

    @wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(_style()):
            return function(*args, **kwargs)

    return draw


def _style() -> dict[Any, Any]:
    # All of matplotlib's defaults beneath ours, or a user's matplotlibrc would show through; the backend stays the
    # caller's.
    return {**mpl.rcParamsDefault, "backend": mpl.rcParams["backend"], **_STYLE}


def render_png(figure: Figure, *, dpi: int = PNG_DPI, colours: int | None = None) -> bytes:
    """Render a figure as PNG; the same figure gives the same bytes (no time stamp, no version).

    Parameters
    ----------
    figure : Figure
    dpi : int
        Pixels an inch.
    colours : int, optional
        At most so many, up to 256: a figure of lines and points then takes a third of the bytes, and looks the same.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    # The ground is opaque, so nothing is lost with alpha.
    image = _draw(figure, dpi).convert("RGB")
    if colours is not None:
        # Without dithering, which would speckle areas of one colour. By the greatest error, which is a tenth of median
        # cut's, in half the time.
        image = image.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    image.save(buffer, "png", dpi=(dpi, dpi))
    return buffer.getvalue()


def _draw(figure: Figure, dpi: int) -> Image.Image:
    """Draw a figure once; matplotlib's own `print_figure` draws it a second time, for its layout alone."""
    before = figure.dpi
    with mpl.rc_context(_style()):
        try:
            figure.dpi = dpi
            # A canvas of its own: figures are made without pyplot, whose global list would keep each in memory.
            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]
            return Image.fromarray(np.asarray(canvas.buffer_rgba()))  # type: ignore[no-untyped-call]
        finally:
            figure.dpi = before


def render_pdf(figure: Figure) -> bytes:
    """Render a figure as PDF with embedded fonts; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    nothing = {"CreationDate": None, "Creator": None, "Producer": None}
    with mpl.rc_context(_style()):
        figure.savefig(buffer, format="pdf", metadata=nothing, dpi=PNG_DPI)
    return buffer.getvalue()


def compute_running(x: FloatArray, y: FloatArray, *, windows: int = 24) -> Running:
    """Compute median and SMAD of y in equal windows of x.

    Parameters
    ----------
    x, y : ndarray of float64, shape (N,)
        None of them NaN.
    windows : int
        At most this many, fewer for a small sample; a window with fewer than 10 galaxies is left out.

    Returns
    -------
    Running
        Empty when there are fewer than 10 galaxies.
    """
    if x.size < _LEAST_IN_WINDOW:
        return Running(np.empty(0), np.empty(0), np.empty(0))
    # A few extreme values would else leave most windows empty.
    low, high = np.percentile(x, [0.5, 99.5])
    # `searchsorted` puts a value on the last edge beyond it.
    # A dozen galaxies a window on average, somewhat more than the least that is drawn.
    edges = np.linspace(low, high + 1e-9, max(1, min(windows, x.size // 12)) + 1)
    index = np.searchsorted(edges, x, side="right") - 1
    groups = [np.flatnonzero(index == i) for i in range(len(edges) - 1)]
    groups = [group for group in groups if group.size >= _LEAST_IN_WINDOW]
    return Running(
        centre=np.array([np.median(x[group]) for group in groups]),
        median=np.array([np.median(y[group]) for group in groups]),
        smad=np.array([compute_smad(y[group]) for group in groups]),
    )


def compute_running_redshift(sample: "Sample", *, windows: int = 24) -> Running:
    """Compute median and SMAD of z_phot in windows of z_spec.

    They are taken of z_phot - z_spec and moved to the 1:1 line, since within a wide window the slope of that line would
    otherwise count as scatter.
    """
    running = compute_running(sample.z_spec, sample.z_phot - sample.z_spec, windows=windows)
    return running._replace(median=running.centre + running.median)


def draw_running(axes: Axes, running: Running, *, label: bool = False) -> None:
    """Draw a running median and the band of one SMAD around it, legible on light and on dark cells."""
    colour = MEDIAN_COLOUR
    halo: dict[str, Any] = {"color": "white", "linewidth": 2.6, "alpha": 0.9, "zorder": 4}
    for sign in (-1, 1):
        edge = running.median + sign * running.smad
        axes.plot(running.centre, edge, **{**halo, "linewidth": 2.0})
        name = r"median $\pm$ SMAD" if label and sign > 0 else None
        axes.plot(running.centre, edge, color=colour, linewidth=1.0, linestyle=(0, (4, 2)), zorder=5, label=name)
    axes.plot(running.centre, running.median, **halo)
    axes.plot(running.centre, running.median, color=colour, zorder=6, label="running median" if label else None)


def draw_density(axes: Axes, x: FloatArray, y: FloatArray, *, most: float, cells: int = 70) -> Any:
    """Draw galaxies as counts in hexagons on a logarithmic scale, or one by one when they are few.

    ``most`` is the count at the dark end of the scale, so that panels share one; give it from `count_most`. Returns
    what a colour bar can be made of, or None when there is none to make.
    """
    x0, x1 = axes.get_xlim()
    y0, y1 = axes.get_ylim()
    if most == 0:
        # The fewer the points the larger, so that 20 are seen and 2,000 do not run together.
        size = float(np.clip(75.0 / max(1, x.size) ** 0.5, 2.8, 5.5))
        # Rasterized, as the hexagons below: thousands of them as vectors make PDF files that viewers take seconds to
        # draw.
        axes.plot(x, y, ".", color="#2C7FB8", markersize=size, alpha=0.6, markeredgewidth=0, rasterized=True)
        return None
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    if not inside.any():
        return None
    return axes.hexbin(
        x[inside],
        y[inside],
        gridsize=(cells, _rows(axes, cells)),
        # Given, or `hexbin` would lay its cells over the range of the galaxies, another in each panel.
        extent=(x0, x1, y0, y1),
        norm=LogNorm(1, most),
        # An empty cell stays white; the logarithm of 0 has no colour.
        mincnt=1,
        cmap=DENSITY,
        linewidths=0.1,
        edgecolors="face",
        rasterized=True,
    )


def draw_beyond(axes: Axes, x: FloatArray, y: FloatArray, *, at: tuple[float, float] = (0.02, 0.02)) -> None:
    """Mark galaxies beyond the frame at its edge, and say how many lie beyond each.

    Parameters
    ----------
    axes : Axes
        With its limits set.
    x, y : ndarray of float64, shape (N,)
        None of them NaN.
    at : (float, float)
        How far from the left the number of those above begins, and of those below, as shares of the frame's width.
    """
    # Sorted: an axis may be drawn from high to low.
    (x0, x1), (y0, y1) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    # Neither marks nor words are part of the layout, which would shrink small panels to make room.
    common: dict[str, Any] = {"color": MEDIAN_COLOUR, "zorder": 8, "in_layout": False}
    marks: dict[str, Any] = {"markersize": 3, "alpha": 0.6, "markeredgewidth": 0, **common}
    # One beyond a corner is marked above or below alone, so that the marks add up to the galaxies.
    beside = (y >= y0) & (y <= y1)
    edges = {"^": y > y1, "v": y < y0, "<": beside & (x < x0), ">": beside & (x > x1)}
    for marker, rows in edges.items():
        axes.plot(
            np.clip(x[rows], x0, x1),
            np.clip(y[rows], y0, y1),
            marker,
            clip_on=False,
            rasterized=True,
            **marks,
        )
    look: dict[str, Any] = {"fontsize": 8, "transform": axes.transAxes, **common}
    for marker, words, left, height in (("^", "above", at[0], 0.97), ("v", "below", at[1], 0.03)):
        if count := int(edges[marker].sum()):
            axes.text(left, height, f"{count:,} {words}", va="top" if height > 0.5 else "bottom", **look)
    # Upright beside the edge, clear of the words above and below.
    for marker, words, left, align in (("<", "left", 0.02, "left"), (">", "right", 0.98, "right")):
        if count := int(edges[marker].sum()):
            axes.text(left, 0.5, f"{count:,} {words}", rotation=90, ha=align, va="center", **look)


def count_most(x: FloatArray, y: FloatArray, limits: tuple[float, float, float, float], *, cells: int = 70) -> float:
    """Count the galaxies in the fullest cell of a panel; 0 when so few that they are drawn one by one."""
    if x.size < _POINTS_BELOW:
        return 0.0
    x0, x1, y0, y1 = limits
    # In squares, since matplotlib counts hexagons only as it draws them: the end of a scale need not be exact.
    counts, _, _ = np.histogram2d(x, y, bins=(cells, cells), range=((x0, x1), (y0, y1)))
    # A scale of less than a decade would make single galaxies look like structure.
    return max(10.0, float(counts.max()))


def _rows(axes: Axes, cells: int) -> int:
    """Rows of hexagons that make them regular in this panel."""
    box = axes.get_position()
    figure = axes.get_figure(root=True)
    width, height = figure.get_size_inches() if figure is not None else (1.0, 1.0)
    # matplotlib's hexagons are regular where a square panel has fewer rows than columns by the root of 3.
    return max(4, round(float(cells * (box.height * height) / (box.width * width) / np.sqrt(3))))


def choose_limits(values: list[FloatArray], *, low: float, high: float, pad: float = 0.03) -> tuple[float, float]:
    """Choose axis limits between two percentiles of everything finite.

    Parameters
    ----------
    values : list of ndarray of float64
        NaN is ignored.
    low, high : float
        [percent]
    pad : float
        Margin on either side, as a share of the distance between them.

    Returns
    -------
    (float, float)
        (0, 1) for nothing.
    """
    pooled = np.concatenate([array[np.isfinite(array)] for array in values]) if values else np.empty(0)
    if pooled.size == 0:
        return 0.0, 1.0
    start, end = np.percentile(pooled, [low, high])
    # Values that are all the same would make a frame of no width.
    margin = pad * (end - start) or 0.05
    return float(start - margin), float(end + margin)


def draw_nothing(axes: Axes, text: str = "no galaxies") -> None:
    """Say within an empty panel that there is nothing to draw."""
    note = axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=9)
    # Or the words would take part in the layout and shrink the panel.
    note.set_in_layout(False)
