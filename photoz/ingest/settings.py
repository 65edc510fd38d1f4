"""When ingest has done enough, and how the sources are partitioned."""

from photoz.settings.base import Fraction, NotNegative, Settings


class Ingest(Settings, frozen=True):
    """When ingest has done enough. A section of its own: a change of ``tiles`` or ``sources`` has all done again."""

    min_completeness: Fraction = 0.0
    """Exit with an error when of a smaller fraction of the tiles both catalogue and images were ingested."""


class Sources(Settings, frozen=True):
    """Partitioning of the source catalogue, which is that of the photo-z catalogue too."""

    rows_per_partition: int = 5_000
    """At most this many rows a HEALPix pixel, within ``highest_order``."""
    highest_order: int = 8
    """Of the pixels; 64 KiDS-Bright galaxies lie in one of order 8. Partitioning takes memory and seconds of the whole
    sky at this order: 3 s at 8, 40 s at 10."""
    margin_arcsec: NotNegative = 10.0
    """[arcsec] width of the margin catalogue around each pixel; 0 writes none."""
