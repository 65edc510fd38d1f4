"""Redshift estimators, one file each, behind one Protocol.

Its names are imported when they are used: the list of estimators, which lies here too, must not bring NumPy with it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
