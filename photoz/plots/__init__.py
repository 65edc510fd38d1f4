"""Figures of an accuracy report, one function each; they return matplotlib `Figure` objects and touch no global state.

Colours are those of Okabe & Ito, told apart by colour-blind readers; densities use one light-to-dark ramp.

Names are imported when they are used: one page need not hold what others show.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
