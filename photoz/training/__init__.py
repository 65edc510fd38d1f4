"""From matched spectra to a trained estimator: training set, batches, epochs, record. Spreads nothing itself."""
