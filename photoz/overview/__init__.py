"""A photo-z catalogue described without spectroscopic redshifts: against its training sample, n(z), flags."""
