"""Estimators that see images and magnitudes together: the combined network, its image-less twin, the paper's own."""
