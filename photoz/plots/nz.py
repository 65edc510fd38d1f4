"""Redshift distributions of tomographic bins."""

import numpy as np
from matplotlib.figure import Figure

from photoz.nz.description import NzDescription
from photoz.nz.distribution import Distribution
from photoz.plots.style import COLOURS, WIDTH, draw_nothing, styled


@styled
def plot_nz(distribution: Distribution, description: NzDescription) -> Figure:
    """Plot n(z) of all bins with bands of one bootstrap sigma.

    Parameters
    ----------
    distribution : Distribution
    description : NzDescription
        Limits and number of galaxies of each bin, and the method.

    Returns
    -------
    Figure
        Up to where the last bin falls to 0.2 % of its peak; the range of z_phot that defines a bin is a line below.
    """
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="redshift $z$", ylabel=r"$n(z)$, normalised to 1", title=description.method)
    # A bin without galaxies has NaN throughout, and no curve.
    filled = [number for number in range(len(distribution.count_B)) if np.isfinite(distribution.nz_BZ[number]).all()]
    if not filled:
        draw_nothing(axes)
        return figure
    highest = float(np.max(distribution.nz_BZ[filled] + np.nan_to_num(distribution.error_BZ[filled])))
    # One cell alone begins at 0, so its middle is half its width.
    step = distribution.z_Z[1] - distribution.z_Z[0] if len(distribution.z_Z) > 1 else 2 * distribution.z_Z[0]
    edges = np.append(distribution.z_Z - step / 2, distribution.z_Z[-1] + step / 2)
    for number in filled:
        figures, colour = description.bins[number], COLOURS[number % len(COLOURS)]
        nz, error = distribution.nz_BZ[number], np.nan_to_num(distribution.error_BZ[number])
        axes.stairs(nz + error, edges, baseline=nz - error, fill=True, color=colour, alpha=0.3, linewidth=0)
        low, high = figures.z_phot_low, figures.z_phot_high
        label = f"{low:.3f} to {high:.3f}: {figures.galaxies:,} galaxies"
        axes.stairs(nz, edges, color=colour, linewidth=1.2, label=label)
        # Two heights in turn, since neighbouring bins share an edge and their lines would run into one.
        height = -0.035 * highest * (1 + number % 2)
        axes.plot([max(low, edges[0]), min(high, edges[-1])], [height, height], color=colour, linewidth=2.2)
    # Stacked p(z) has tails over the whole grid, which would leave most of the panel empty.
    seen = np.flatnonzero((distribution.nz_BZ[filled] > 0.002 * highest).any(axis=0))
    axes.set_xlim(max(0.0, edges[seen[0]] - 2 * step), edges[seen[-1] + 1] + 2 * step)
    # With room below 0 for the two rows of ranges.
    axes.set_ylim(-0.1 * highest, 1.08 * highest)
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.legend(loc="upper right", title=r"bin in $z_\mathrm{phot}$")
    return figure
