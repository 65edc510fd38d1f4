"""Figures of an accuracy report, one function each; they return matplotlib `Figure` objects and touch no global state.

Colours are those of Okabe & Ito, told apart by colour-blind readers; densities use one light-to-dark ramp.
"""

from photoz.plots.bins import Quantity, plot_binned, plot_redshifts_in_bins, plot_residuals_in_bins
from photoz.plots.catalogue import SkyCounts, plot_redshift_distribution, plot_sky
from photoz.plots.colours import plot_colours
from photoz.plots.history import plot_history
from photoz.plots.pdf import plot_calibration
from photoz.plots.redshifts import plot_redshifts, plot_residual_histogram, plot_residuals
from photoz.plots.style import Sample, render_pdf, render_png

__all__ = [
    "Quantity",
    "Sample",
    "SkyCounts",
    "plot_binned",
    "plot_calibration",
    "plot_colours",
    "plot_history",
    "plot_redshift_distribution",
    "plot_redshifts",
    "plot_redshifts_in_bins",
    "plot_residual_histogram",
    "plot_residuals",
    "plot_residuals_in_bins",
    "plot_sky",
    "render_pdf",
    "render_png",
]
