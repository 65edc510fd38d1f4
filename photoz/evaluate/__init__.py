"""How good redshifts and p(z) are, against spectroscopic ones."""
