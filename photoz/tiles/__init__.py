"""The tile store: one sharded Zarr v3 group a survey tile, all bands of a sky position in one chunk.

Its names are imported when they are used: the settings, which lie here too, must not bring zarr with them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
