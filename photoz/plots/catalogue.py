"""The catalogue as a whole: redshift distribution and sky coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy import units
from astropy_healpix import HEALPix
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from photoz.metrics import FloatArray
from photoz.plots.style import COLOURS, DENSITY, WIDTH, Sample, choose_limits, draw_nothing, styled

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SkyCounts:
    """Galaxies of a catalogue by HEALPix cell, and the partitions they lie in.

    Parameters
    ----------
    order : int
        HEALPix order of the cells (NESTED).
    cells, counts : ndarray of int64, shape (C,)
        Cells that hold a galaxy, and how many.
    partitions : sequence of (int, int)
        HEALPix order and pixel of each partition.
    """

    order: int
    cells: IntArray
    counts: IntArray
    partitions: Sequence[tuple[int, int]]


@styled
def plot_redshift_distribution(
    samples: Sequence[Sample],
    whole: tuple[str, FloatArray, FloatArray] | None = None,
    stacks: Mapping[str, tuple[FloatArray, FloatArray]] | None = None,
) -> Figure:
    """Plot n(z) of the test galaxies, spectroscopic, photometric and of stacked p(z), and of a whole catalogue.

    Parameters
    ----------
    samples : sequence of Sample
        Of the same galaxies; the first one's z_spec is the filled histogram.
    whole : (str, ndarray of shape (M,), ndarray of shape (M + 1,)), optional
        Label, counts and bin edges of z_phot in a whole catalogue.
    stacks : mapping of str to (ndarray of shape (M,), ndarray of shape (M + 1,)), optional
        p(z) added up over the galaxies and the bin edges, by a sample's label.

    Returns
    -------
    Figure
        Densities that integrate to one within the frame.
    """
    figure = Figure(figsize=(WIDTH * 0.72, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="redshift $z$", ylabel=r"$n(z)$, normalised to 1")
    spec = samples[0].z_spec[np.isfinite(samples[0].z_spec)] if samples else np.empty(0)
    if spec.size == 0:
        draw_nothing(axes)
        return figure
    low, high = choose_limits([spec, *(sample.z_phot for sample in samples)], low=0.05, high=99.95)
    # Bins as the root of the number, so that the noise in each stays readable; never below 0, where no galaxy is.
    edges = np.linspace(max(0.0, low), high, int(np.clip(spec.size**0.5 / 2, 10, 50)) + 1)
    density = _normalise(np.histogram(spec, edges)[0], edges)
    axes.stairs(density, edges, fill=True, color="#C9CED3", label=r"$z_\mathrm{spec}$")
    for number, sample in enumerate(samples):
        counts = np.histogram(sample.z_phot[np.isfinite(sample.z_phot)], edges)[0]
        label = rf"$z_\mathrm{{phot}}$, {sample.label}"
        colour = COLOURS[number % len(COLOURS)]
        axes.stairs(_normalise(counts, edges), edges, color=colour, linewidth=1.4, label=label)
        if sample.label in (stacks or {}):
            _draw_stack(axes, *(stacks or {})[sample.label], colour=colour, label=f"stacked $p(z)$, {sample.label}")
    if whole is not None:
        label, counts, fine = whole
        # The whole catalogue was counted in bins of its own, since no pass over it could keep all redshifts.
        density = _normalise(_rebin(counts, fine, edges), edges)
        axes.stairs(density, edges, color="black", linewidth=1.0, linestyle=(0, (4, 2)), label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    axes.legend(loc="upper right")
    return figure


def _draw_stack(axes: Axes, stack: FloatArray, fine: FloatArray, *, colour: str, label: str) -> None:
    """Draw stacked p(z) as the smooth curve that it is, at the middle of its own narrow bins."""
    middle = 0.5 * (fine[1:] + fine[:-1])
    axes.plot(middle, _normalise(stack, fine), color=colour, linewidth=1.2, linestyle=(0, (1, 1)), label=label)


@styled
def plot_sky(sky: SkyCounts) -> Figure:
    """Map the surface density of a catalogue, with the outlines of its partitions.

    Parameters
    ----------
    sky : SkyCounts

    Returns
    -------
    Figure
        Right ascension grows to the left, as on the sky; where fields lie far apart the axis begins after the widest
        gap. Degrees on both axes are equally long at the middle declination unless the map would be a thin line.
    """
    density, unit = _compute_density(sky)
    return _draw_map(sky, density, f"galaxies per {unit}")


@styled
def plot_sky_share(sky: SkyCounts, share: FloatArray, label: str) -> Figure:
    """Map a share of the galaxies, with the outlines of the partitions, as `plot_sky` maps their density.

    Parameters
    ----------
    sky : SkyCounts
    share : ndarray of float64, shape (C,)
        Of the galaxies of each cell, from 0 to 1.
    label : str
        What it is, for the scale, which goes from 0 to the greatest share in percent.
    """
    return _draw_map(sky, 100 * share, label, low=0.0)


def _draw_map(sky: SkyCounts, values: FloatArray, label: str, *, low: float | None = None) -> Figure:
    """Draw values of cells in colour on the sky; the scale begins at ``low``, or at the lowest value."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="right ascension [deg]", ylabel="declination [deg]")
    if sky.cells.size == 0:
        draw_nothing(axes)
        return figure
    cells = _find_corners(sky.order, sky.cells)
    start = _find_start(cells[..., 0])
    cells = _unwrap(cells, start)
    # Edges in the colour of the face: without them, white hairlines show between cells.
    collection = PolyCollection(list(cells), array=values, cmap=DENSITY, edgecolors="face", linewidths=0.2)
    if low is not None:
        # A scale of no width, where all values are the lowest, would have no ticks.
        collection.set_clim(low, max(float(values.max()), low + 1e-3))
    # Up to 20,000 polygons: as vectors they would make a PDF that is slow to open.
    collection.set_rasterized(True)
    axes.add_collection(collection)
    _draw_partitions(axes, sky, start)
    _frame(figure, axes, cells)
    # In axes coordinates, so that the scale keeps to the map whatever its aspect.
    figure.colorbar(collection, cax=axes.inset_axes((1.015, 0.0, 0.018, 1.0)), label=label)
    return figure


def _compute_density(sky: SkyCounts) -> tuple[FloatArray, str]:
    # HEALPix cells of an order all have the same area [deg^2], wherever they lie.
    area = 4 * np.pi * (180 / np.pi) ** 2 / (12 * 4**sky.order)
    density: FloatArray = sky.counts / area
    # Of no cells there is no median.
    return (density, "deg$^2$") if not density.size or np.median(density) < 20_000 else (density / 3600, "arcmin$^2$")


def _normalise(counts: npt.NDArray[np.number], edges: FloatArray) -> FloatArray:
    total = float(np.sum(counts))
    density: FloatArray = counts.astype(np.float64) / (total or 1.0) / np.diff(edges)
    return density


def _rebin(counts: FloatArray, fine: FloatArray, edges: FloatArray) -> FloatArray:
    """Counts in other bins, taking each fine bin's galaxies as evenly spread."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    rebinned: FloatArray = np.diff(np.interp(edges, fine, cumulative))
    return rebinned


def _find_corners(order: int, pixels: IntArray) -> FloatArray:
    """[deg] right ascension and declination of the four corners of HEALPix pixels, shape (C, 4, 2)."""
    # Four corners only: a cell's edges are not straight on the sky, which shows in the largest alone.
    lon, lat = HEALPix(nside=2**order, order="nested").boundaries_lonlat(pixels, step=1)
    corners: FloatArray = np.stack([lon.to_value(units.deg), lat.to_value(units.deg)], axis=-1)
    return corners


def _find_start(ra: FloatArray) -> float:
    """[deg] right ascension just after the widest gap, where the axis may begin without cutting a field."""
    ordered = np.unique(np.mod(ra, 360.0))
    # With the gap across 360 degrees, which the list itself does not show.
    gaps = np.diff(np.append(ordered, ordered[0] + 360.0))
    return float(ordered[(int(np.argmax(gaps)) + 1) % ordered.size])


def _unwrap(corners: FloatArray, start: float) -> FloatArray:
    """Move right ascensions to [start, start + 360), keeping the corners of a polygon together."""
    middle = corners[:, :1, 0]
    # A cell across right ascension 0 has corners at 359 and 1; taken as they are, it would be drawn across the whole
    # map.
    near = middle + np.mod(corners[..., 0] - middle + 180.0, 360.0) - 180.0
    # 1e-9: the cell at the start itself must not be sent around by rounding.
    shift = np.mod(near.mean(axis=1) - start + 1e-9, 360.0) + start - near.mean(axis=1)
    return np.stack([near + shift[:, np.newaxis], corners[..., 1]], axis=-1)


def _draw_partitions(axes: Axes, sky: SkyCounts, start: float) -> None:
    for order in sorted({order for order, _ in sky.partitions}):
        pixels = np.array([pixel for k, pixel in sky.partitions if k == order], dtype=np.int64)
        # A partition is larger than the cells and may begin before the first of them, by half its width: a base pixel
        # is 90 degrees wide.
        outlines = _unwrap(_find_corners(order, pixels), start - 45.0 / 2**order)
        axes.add_collection(
            PolyCollection(list(outlines), facecolors="none", edgecolors="#D55E00", linewidths=0.7, alpha=0.9)
        )


def _frame(figure: Figure, axes: Axes, cells: FloatArray) -> None:
    low, high = cells.min(axis=(0, 1)), cells.max(axis=(0, 1))
    pad = 0.03 * (high - low) + 1e-4
    # From high to low: on the sky, seen from within, right ascension grows to the left.
    axes.set_xlim(high[0] + pad[0], low[0] - pad[0])
    axes.set_ylim(low[1] - pad[1], high[1] + pad[1])
    # Ticks at multiples of 30 and 60 degrees where there is room for them, as a circle is divided.
    steps = [1, 3, 6, 10] if high[0] - low[0] > 60 else [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(9, steps=steps))
    # The axis may go on beyond 360 degrees; its labels do not.
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value % 360.0:.6g}"))
    # A degree of right ascension is shorter by the cosine of the declination.
    stretch = 1.0 / np.cos(np.radians(0.5 * (low[1] + high[1])))
    width, height = (high[0] - low[0]) / stretch, high[1] - low[1]
    # A strip of the sky 100 degrees by 1 would be a line.
    if 0.4 < width / height < 8.0:
        axes.set_aspect(stretch)
        figure.set_figheight(float(np.clip(0.82 * WIDTH * height / width + 0.6, 1.6, 5.0)))
