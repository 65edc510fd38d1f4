"""Photometric redshifts for whole sky surveys.

The folders are the flow: survey -> tiles -> cutouts -> estimators -> pdf -> catalogue. Nothing here knows how the
work is spread over machines: that is the package ``cluster``.

`fit`, `estimate` and `load` (`photoz.api`) are for tables in memory; the command ``photoz`` is for those of any size.
"""

from typing import Any

import lazy_loader

_get_of_api, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    # When it is asked for: to read the package's metadata takes longer than to read a run's settings.
    if name == "__version__":
        from importlib.metadata import version

        return version("photoz")
    return _get_of_api(name)
