"""[in] Any table of sources, whatever its format and its survey: batches of rows, and from them fluxes in nJy.

Its names are imported when they are used: the settings, which lie here too, must not bring pyarrow and astropy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
