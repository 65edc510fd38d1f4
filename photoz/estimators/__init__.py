"""Redshift estimators, one file each, behind one Protocol."""

from photoz.estimators.base import Estimates, Estimator, Inputs, Pdfs, load_estimator, load_recalibration

__all__ = ["Estimates", "Estimator", "Inputs", "Pdfs", "load_estimator", "load_recalibration"]
