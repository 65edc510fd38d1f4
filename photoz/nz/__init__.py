"""The redshift distribution n(z) in tomographic bins."""
