"""Estimators that read photometry alone, fitted to and tested on a plain catalogue, side by side."""

from photoz.comparison.page import write_comparison
from photoz.comparison.plain import PlainCatalogue, read_plain_catalogue
from photoz.comparison.run import Outcome, Result, compare_estimators
from photoz.comparison.settings import Comparison

__all__ = [
    "Comparison",
    "Outcome",
    "PlainCatalogue",
    "Result",
    "compare_estimators",
    "read_plain_catalogue",
    "write_comparison",
]
