"""Photometric redshifts for whole sky surveys.

The folders are the flow: survey -> tiles -> cutouts -> estimators -> pdf -> catalogue. Nothing here knows how the
work is spread over machines: that is the package ``cluster``.
"""

from importlib.metadata import version

__version__ = version("photoz")
