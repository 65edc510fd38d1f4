from .bins import Quantity, plot_binned, plot_redshifts_in_bins, plot_residuals_in_bins
from .catalogue import SkyCounts, plot_redshift_distribution, plot_sky
from .colours import plot_colours
from .history import plot_history
from .pdf import plot_calibration
from .redshifts import plot_redshifts, plot_residual_histogram, plot_residuals
from .style import Sample, render_pdf, render_png

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
