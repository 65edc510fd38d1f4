"""The margin of a catalogue: for every pixel its neighbours' rows near its border, a file a pixel.

A margin in the sense of the package `hats`: a row belongs to the margin of a pixel when it lies in the ring of small
pixels, a little wider than the threshold, around it. Pixels are done in squares of some sixteen, so that most of the
partitions beside them are read once or twice, and nothing goes through other files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, read_partition, write_table
from photoz.catalogue.neighbours import Owners, compute_ring, find_margin_order, find_within
from photoz.schema import HEALPIX_COLUMN
from photoz.storage import join

_LEVELS = 2  # a square is so many orders above its pixels


@dataclass(frozen=True)
class MarginTask:
    """The margins of some pixels, with the partitions beside each."""

    location: str
    """Of the collection."""
    pixels: tuple[tuple[Partition, tuple[Partition, ...]], ...]


def plan_margins(location: str, partitions: Iterable[Partition]) -> list[MarginTask]:
    """Plan the margins of a catalogue's partitions, and of the pixels beside the survey's edge."""
    owners = Owners(partitions)
    # `groupby` below joins only what stands side by side, so the square comes first in the key.
    pixels = sorted({*owners.partitions, *owners.list_edge_pixels()}, key=lambda pixel: (_find_square(pixel), pixel))
    beside = ((pixel, owners.find_neighbours(pixel)) for pixel in pixels)
    return [
        MarginTask(location, tuple(square)) for _, square in groupby(beside, key=lambda item: _find_square(item[0]))
    ]


def write_margins(margin_arcsec: float, task: MarginTask) -> list[tuple[Partition, int]]:
    """Write the margins of a task's pixels.

    Parameters
    ----------
    margin_arcsec : float
        [arcsec] width of the margin.
    task : MarginTask

    Returns
    -------
    list of (Partition, int)
        Each pixel with rows in its margin, and how many.

    Raises
    ------
    CatalogueError
        A partition beside them is missing or damaged.
    """
    # The same order as the audit derives from the threshold in hats.properties; were they apart, it would find rows
    # missing.
    order = find_margin_order(margin_arcsec)
    rings = {pixel: compute_ring(pixel, order) for pixel, _ in task.pixels}
    near: dict[Partition, list[pa.Table]] = {pixel: [] for pixel in rings}
    # By partition, not by pixel: each of the files beside a square is read once for all of its pixels.
    for partition in sorted({neighbour for _, beside in task.pixels for neighbour in beside}):
        own_rings = {pixel: rings[pixel] for pixel, beside in task.pixels if partition in beside}
        for pixel, rows in _find_near(join(task.location, PRIMARY), partition, own_rings, order):
            near[pixel].append(rows)
    counts = []
    for pixel, tables in near.items():
        # No file where no neighbour has a row near: the margin's partition list names only the pixels that have one.
        if tables:
            write_table(join(task.location, MARGIN), pixel, pa.concat_tables(tables))
            counts.append((pixel, sum(map(len, tables))))
    return counts


def _find_near(
    primary: str, partition: Partition, rings: dict[Partition, Any], order: int
) -> list[tuple[Partition, pa.Table]]:
    """Return a partition's rows in each ring around another pixel, where there are any."""
    # The one column first: many a partition has no row near the border.
    column = read_partition(primary, partition, columns=[HEALPIX_COLUMN])[HEALPIX_COLUMN].to_numpy()
    chosen = {pixel: find_within(column, ring, order) for pixel, ring in rings.items()}
    if not any(map(len, chosen.values())):
        return []
    # Whole only now, of the few partitions that have rows to give away.
    rows = read_partition(primary, partition)
    return [(pixel, rows.take(pa.array(places))) for pixel, places in chosen.items() if len(places)]


def _find_square(pixel: Partition) -> tuple[int, int]:
    # A pixel of order 0 or 1 has no square two orders above it.
    levels = min(_LEVELS, pixel.order)
    return pixel.order, pixel.pixel >> 2 * levels
