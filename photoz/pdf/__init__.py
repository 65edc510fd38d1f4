"""Redshift densities p(z): stored quantiles, figures and scores. Pure functions on arrays."""

from photoz.pdf.quantiles import decode_quantiles, encode_quantiles, summarize_quantiles
from photoz.pdf.recalibration import Recalibration
from photoz.pdf.scores import compute_cde_losses, compute_crps

__all__ = [
    "Recalibration",
    "compute_cde_losses",
    "compute_crps",
    "decode_quantiles",
    "encode_quantiles",
    "summarize_quantiles",
]
