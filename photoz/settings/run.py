"""What a run is called, and where everything lies."""

from photoz.settings.base import Settings, Whole
from photoz.settings.locations import Location


class Run(Settings, frozen=True):
    """Name and seed of a run."""

    name: str
    seed: Whole = 1


class Status(Settings, frozen=True):
    """How the state of a run is told."""

    watch: float = 0.0
    """[s] Tell it again so often until the run ends; 0: once. Records of many partitions take longer to read."""


class Locations(Settings, frozen=True):
    """Where everything lies: local paths or any URL that fsspec opens (``s3://bucket/prefix``).

    As users write them, with ``~``, ``$NAME`` and relative paths; `photoz.settings.locations` says what these mean.
    """

    survey: Location
    """Folder of the survey's files as the release names them."""
    tiles: Location
    """Folder of the tile store, one Zarr group a tile."""
    sources: Location
    """The source catalogue (HATS)."""
    training: Location
    """Folder of the training set and what training logs."""
    models: Location
    """Folder of trained estimators, one folder each."""
    catalogue: Location
    """The photo-z catalogue (HATS)."""
    report: Location
    """Folder of the accuracy report."""
