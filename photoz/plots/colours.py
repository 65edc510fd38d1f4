"""Colours against redshift, of several samples side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from photoz.metrics import FloatArray
from photoz.plots.style import COLOURS, WIDTH, Z_SPEC, compute_running, draw_nothing, styled

_PANELS = 2  # side by side


@styled
def plot_colours(redshifts: Mapping[str, FloatArray], colours: Mapping[str, Mapping[str, FloatArray]]) -> Figure:
    """Plot the running median of each colour against redshift, with one SMAD on either side.

    Parameters
    ----------
    redshifts : mapping of str to ndarray of float64
        By the sample's label.
    colours : mapping of str to mapping of str to ndarray of float64
        [mag] by the colour's name, then by the sample's label, as long as its redshifts; NaN is left out.

    Returns
    -------
    Figure
        A panel for each colour, two side by side, framed by the bands that it shows.
    """
    rows = -(-len(colours) // _PANELS)
    figure = Figure(figsize=(WIDTH, 2.6 * max(1, rows) + 0.4), layout="constrained")
    grid = figure.subplots(max(1, rows), _PANELS, sharex=True, squeeze=False)
    for axes, (name, by_label) in zip(grid.flat, colours.items(), strict=False):
        drawn = False
        for look, (label, value_N) in zip(COLOURS, by_label.items(), strict=False):
            here = np.isfinite(value_N) & np.isfinite(redshifts[label])
            running = compute_running(redshifts[label][here], value_N[here], windows=16)
            axes.plot(running.centre, running.median, color=look, label=label)
            low, high = running.median - running.smad, running.median + running.smad
            axes.fill_between(running.centre, low, high, color=look, alpha=0.2, linewidth=0)
            drawn |= running.centre.size > 0
        if not drawn:
            draw_nothing(axes)
        axes.set_ylabel(f"${name}$ [mag]")
    for axes in list(grid.flat)[len(colours) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        axes.set_xlabel(Z_SPEC)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    return figure
