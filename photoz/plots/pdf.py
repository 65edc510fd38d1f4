"""Calibration of p(z): histogram and QQ plot of PIT."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from photoz.metrics import FloatArray
from photoz.pdf import compute_pdfs, compute_qq, count_pit
from photoz.plots.style import COLOURS, GREY, WIDTH, draw_nothing, styled
from photoz.schema import LEVELS

_BINS = 20


@styled
def plot_calibration(pit_N: FloatArray, before_N: FloatArray) -> Figure:
    """Plot the distribution of PIT, the probability that p(z) puts below the true redshift.

    Parameters
    ----------
    pit_N, before_N : ndarray of float64, shape (N,)
        After and before recalibration; NaN is left out, and all NaN draws nothing.

    Returns
    -------
    Figure
        Left, the histogram, 1 everywhere where p(z) is calibrated; right, its quantiles less those of a uniform
        distribution. The grey bands hold what 95 % of calibrated samples of this size give: in each bin, and anywhere
        along the curve.
    """
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves = [("before recalibration", before_N, COLOURS[1]), ("after", pit_N, COLOURS[0])]
    # Here and not in the functions below, which leave NaN out as well: the bands need the number that is drawn.
    curves = [(label, values[np.isfinite(values)], colour) for label, values, colour in curves]
    drawn = [curve for curve in curves if len(curve[1])]
    # "After" says nothing where there is no "before".
    if len(drawn) == 1:
        drawn = [("p(z) of the catalogue", *drawn[0][1:])]
    for label, values, colour in drawn:
        density, edges = count_pit(values, bins=_BINS)
        left.stairs(density, edges, color=colour, label=label, linewidth=1.3)
        wanted, found = compute_qq(values, points=401)
        right.plot(wanted, found - wanted, color=colour)
    _finish(left, right, len(drawn[-1][1]) if drawn else 0)
    return figure


@styled
def plot_density(quantiles_Q: FloatArray, z_phot: float, *, title: str = "") -> Figure:
    """Plot p(z) of one galaxy.

    Parameters
    ----------
    quantiles_Q : ndarray of float64, shape (Q,)
        Redshifts at `photoz.schema.LEVELS`; NaN draws nothing.
    z_phot : float
        Marked by a line.
    title : str
        Identifier of the galaxy.

    Returns
    -------
    Figure
        The density per unit redshift, with the shares of 68 and 95 % between the quantiles shaded.
    """
    figure = Figure(figsize=(WIDTH / 2, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="redshift $z$", ylabel="$p(z)$", title=title)
    if not np.isfinite(quantiles_Q).all():
        draw_nothing(axes)
        return figure
    low, high = quantiles_Q[0], quantiles_Q[-1]
    z_Z = np.linspace(max(0.0, low - 0.1 * (high - low)), high + 0.1 * (high - low) + 1e-6, 401)
    density_Z = compute_pdfs(quantiles_Q[None], z_Z)[0]
    axes.plot(z_Z, density_Z, color=COLOURS[0])
    levels = np.asarray(LEVELS)
    for share, alpha in ((0.95, 0.15), (0.68, 0.25)):
        edges = np.interp([(1 - share) / 2, (1 + share) / 2], levels, quantiles_Q)
        inside = (z_Z >= edges[0]) & (z_Z <= edges[1])
        axes.fill_between(z_Z[inside], density_Z[inside], color=COLOURS[0], alpha=alpha, linewidth=0)
    axes.axvline(z_phot, color=COLOURS[1], linewidth=1.0, label=rf"$z_\mathrm{{phot}}$ = {z_phot:.3f}")
    axes.set_ylim(0, 1.15 * float(density_Z.max()))
    axes.legend(loc="upper right")
    return figure


def _finish(left: Axes, right: Axes, count: int) -> None:
    left.set(xlabel="PIT", ylabel="density", xlim=(0, 1))
    right.set(xlabel="quantile of a uniform distribution", ylabel="quantile of PIT less that", xlim=(0, 1))
    left.axhline(1.0, color=GREY, linewidth=0.8, zorder=0)
    right.axhline(0.0, color=GREY, linewidth=0.8, zorder=0)
    if not count:
        draw_nothing(left)
        draw_nothing(right)
        return
    spread = 1.96 * np.sqrt((_BINS - 1) / count)  # binomial
    left.axhspan(1 - spread, 1 + spread, color=GREY, alpha=0.18, linewidth=0, zorder=0)
    # 1.358 is the 95 % point of Kolmogorov's distribution, which bounds the largest deviation anywhere along the curve.
    right.axhspan(-1.358 / np.sqrt(count), 1.358 / np.sqrt(count), color=GREY, alpha=0.18, linewidth=0, zorder=0)
    # At least so wide that a calibrated histogram looks flat and its noise is not blown up.
    left.set_ylim(0, max(1.6, 1.3 * left.get_ylim()[1]))
    reach = max(0.03, 1.1 * float(np.abs(right.get_ylim()).max()))
    right.set_ylim(-reach, reach)
    left.legend(loc="upper center", ncols=2)
