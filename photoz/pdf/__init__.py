"""Redshift densities p(z): stored quantiles, curves through them, figures, scores and recalibration.

Pure functions on arrays, but for `photoz.pdf.read`, which reads catalogues. Names are imported when they are used: who
estimates must not have to hold what reads catalogues.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
