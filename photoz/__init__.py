"""Photometric redshifts for whole sky surveys.

The folders are the flow: survey -> tiles -> cutouts -> estimators -> pdf -> catalogue. Nothing here knows how the
work is spread over machines: that is the package ``cluster``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    # When it is asked for: to read the package's metadata takes longer than to read a run's settings.
    if name == "__version__":
        from importlib.metadata import version

        return version("photoz")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
