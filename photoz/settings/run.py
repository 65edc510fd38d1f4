"""What a run is called, and where everything lies."""

from photoz.settings.base import Settings


class Run(Settings, frozen=True):
    """Name and seed of a run."""

    name: str
    seed: int = 1


class Locations(Settings, frozen=True):
    """Where everything lies: local paths or any URL that fsspec opens (``s3://bucket/prefix``)."""

    survey: str
    """Folder of the survey's files as the release names them."""
    tiles: str
    """Folder of the tile store, one Zarr group a tile."""
    sources: str
    """The source catalogue (HATS)."""
    training: str
    """Folder of the training set and what training logs."""
    models: str
    """Folder of trained estimators, one folder each."""
    catalogue: str
    """The photo-z catalogue (HATS)."""
    report: str
    """Folder of the accuracy report."""
