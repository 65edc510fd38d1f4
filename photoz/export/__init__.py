"""A finished catalogue, or some of its rows and columns, as one file that other programs read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
