"""The errors photoz raises on purpose.

Every message names the value that was wrong, its unit where it has one, and what to do about it.
"""

from collections.abc import Iterable


class PhotozError(Exception):
    """Base of all errors that photoz raises on purpose."""


class ProgramError(PhotozError):
    """The program itself is in error: nothing that is set or tried again mends that."""


class ConfigError(PhotozError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class SurveyFileError(PhotozError):
    """A survey file is missing, truncated, corrupt, or not what its name says."""


class TableError(PhotozError):
    """A table of sources is missing, damaged, of no known format, or holds other values than its survey's file says."""


class TileError(PhotozError):
    """A tile of the tile store is missing, unfinished or damaged."""


class MissingTileError(TileError):
    """A tile is not in the tile store."""


class StorageFullError(PhotozError):
    """A disk or a quota is full; nothing is wrong with what was to be written."""


class CatalogueError(PhotozError):
    """A catalogue is missing, unfinished, damaged, or holds another run."""


class EstimatorError(PhotozError):
    """An estimator cannot be loaded, or was made for other inputs."""


class TrainingError(PhotozError):
    """A training set cannot be used: too few galaxies, or values that are not redshifts."""


class MissingPackageError(PhotozError, ImportError):
    """A part of photoz needs a package that is not installed: an extra, most often (`photoz.optional`)."""


class EvaluationError(PhotozError):
    """Estimates cannot be compared: no galaxies in common, or arrays of different lengths."""


def name_nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the names that there are is the nearest to one that there is not; "" where none is near.

    >>> name_nearest("hybird", ["mlp", "hybrid"]), name_nearest("x", ["mlp", "hybrid"])
    (" (did you mean 'hybrid'?)", '')
    """
    # Only when something is wrong anyway.
    from difflib import get_close_matches

    nearest = get_close_matches(name, known, n=1)
    return f" (did you mean {nearest[0]!r}?)" if nearest else ""
