"""Galaxies one by one: an image in colour beside p(z) and both redshifts."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from photoz.evaluate.examples import ShownGalaxies
from photoz.metrics import FloatArray
from photoz.pdf import compute_pdfs
from photoz.plots.cutouts import colour_image
from photoz.plots.style import COLOURS, GREY, WIDTH, Z_PHOT, Z_SPEC, styled

COLUMNS = 3
_HEIGHT = 1.16  # [inch] of a row, which is the side of an image and a title
_LEAST = 0.1  # in redshift, width of a panel
_CURVES = 300  # points of a p(z)


@styled
def plot_galaxies(shown: ShownGalaxies, titles: Sequence[str]) -> Figure:
    """Plot p(z) of test galaxies with their spectroscopic redshift, and their images where there are any.

    Parameters
    ----------
    shown : ShownGalaxies
    titles : sequence of str
        Of each galaxy.

    Returns
    -------
    Figure
        Three galaxies a row, kind by kind. p(z) of the first catalogue is filled, others are lines; without p(z) there
        are the redshifts alone.
    """
    rows = max(1, -(-len(shown) // COLUMNS))
    figure = Figure(figsize=(WIDTH, 0.55 + _HEIGHT * rows), layout="constrained")
    wide = 1 if shown.images_KBYX is None else 2
    ratios = ([1.0] if wide == 1 else [0.72, 1.0]) * COLUMNS
    grid = figure.subplots(rows, wide * COLUMNS, squeeze=False, width_ratios=ratios)
    panels = grid.reshape(rows * COLUMNS, wide)
    for number, (title, place) in enumerate(zip(titles, panels, strict=False)):
        if shown.images_KBYX is not None:
            _draw_image(place[0], shown.images_KBYX[number])
        _draw_redshifts(place[-1], shown, number)
        place[0].set_title(title, loc="left", fontsize=9, pad=3)
    for axes in panels[len(shown) :].flat:
        axes.set_axis_off()
    for axes in panels[max(0, len(shown) - COLUMNS) : len(shown), -1]:
        axes.set_xlabel("redshift $z$")
    if len(shown):
        _draw_legend(figure, shown)
    return figure


def _draw_image(axes: Axes, image_BYX: npt.NDArray[np.float32]) -> None:
    axes.set(xticks=[], yticks=[])
    if np.isfinite(image_BYX).all(axis=0).any():
        axes.imshow(colour_image(image_BYX), origin="lower", interpolation="nearest")
        return
    axes.set_box_aspect(1)
    axes.text(0.5, 0.5, "no image", transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=8)


def _draw_redshifts(axes: Axes, shown: ShownGalaxies, number: int) -> None:
    axes.yaxis.set_major_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(3))
    z_spec = float(shown.z_spec_K[number])
    z_phot = [float(values_K[number]) for values_K in shown.z_phot.values()]
    quantiles = {label: values_KQ[number] for label, values_KQ in shown.quantiles.items()}
    z_grid = _choose_grid([z_spec, *z_phot], quantiles)
    for place, label in enumerate(shown.z_phot):
        colour = COLOURS[place % len(COLOURS)]
        if label in quantiles and np.isfinite(quantiles[label]).all():
            density = compute_pdfs(quantiles[label][None], z_grid)[0]
            axes.plot(z_grid, density, color=colour, linewidth=1.1)
            if place == 0:
                axes.fill_between(z_grid, density, color=colour, alpha=0.15, linewidth=0)
        # NaN, of a galaxy without a redshift, draws nothing.
        axes.axvline(z_phot[place], color=colour, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.axvline(z_spec, color="black", linewidth=1.0)
    axes.set(xlim=(z_grid[0], z_grid[-1]))
    axes.set_ylim(bottom=0)


def _choose_grid(redshifts: Sequence[float], quantiles: Mapping[str, FloatArray]) -> FloatArray:
    """Choose redshifts that hold every p(z) from tail to tail and every redshift, with a margin."""
    held = np.concatenate([redshifts, *(values_Q[[0, -1]] for values_Q in quantiles.values())])
    low, high = float(np.nanmin(held)), float(np.nanmax(held))
    # Redshifts alone may lie so close that their difference would fill the panel.
    reach = max(0.58 * (high - low), _LEAST / 2)
    return np.linspace(0.5 * (low + high) - reach, 0.5 * (low + high) + reach, _CURVES)


def _draw_legend(figure: Figure, shown: ShownGalaxies) -> None:
    axes = figure.axes[0]
    axes.plot([], [], color="black", linewidth=1.0, label=Z_SPEC)
    for place, label in enumerate(shown.z_phot):
        drawn = f"$p(z)$ and {Z_PHOT}" if label in shown.quantiles else Z_PHOT
        line = "-" if label in shown.quantiles else (0, (4, 2))
        axes.plot([], [], color=COLOURS[place % len(COLOURS)], linewidth=1.1, linestyle=line, label=f"{drawn}, {label}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=min(4, 1 + len(shown.z_phot)))
