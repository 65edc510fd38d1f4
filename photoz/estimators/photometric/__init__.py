"""Estimators that are fitted to arrays of magnitudes in one task."""
