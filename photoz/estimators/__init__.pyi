from .base import Estimates, Estimator, Inputs, Pdfs
from .folder import load_recalibration
from .registry import load_estimator

__all__ = ["Estimates", "Estimator", "Inputs", "Pdfs", "load_estimator", "load_recalibration"]
