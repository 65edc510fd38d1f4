"""The accuracy report: one self-contained HTML page, its figures as files, and the figures of merit as JSON and CSV.

Names are imported when they are used: one page need not hold what others show.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
