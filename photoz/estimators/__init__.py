"""Redshift estimators, one file each, behind one Protocol."""

from photoz.estimators.base import Estimates, Estimator, Inputs, Pdfs
from photoz.estimators.folder import load_recalibration
from photoz.estimators.registry import load_estimator

__all__ = ["Estimates", "Estimator", "Inputs", "Pdfs", "load_estimator", "load_recalibration"]
