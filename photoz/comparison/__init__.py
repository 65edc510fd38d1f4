"""Estimators that read photometry alone, fitted to and tested on a plain catalogue, side by side.

Its names are imported when they are used: the settings, which lie here too, must not bring NumPy and Arrow with them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
