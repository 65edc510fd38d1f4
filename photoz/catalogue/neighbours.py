"""Which partitions lie beside which pixels of the sky: plain functions of HEALPix numbers."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from hats.pixel_math import get_margin
from hats.pixel_math.healpix_shim import margin2order

from photoz.catalogue.hats import Partition
from photoz.errors import ConfigError
from photoz.schema import HEALPIX_ORDER

IntArray = npt.NDArray[np.int64]


def find_margin_order(threshold_arcsec: float) -> int:
    """Return the HEALPix order of the pixels that a margin of this width is made of.

    References
    ----------
    hats-import, ``MarginCacheArguments.margin_order``: the finest order whose pixels are still wider than the
    threshold, so that one ring of them around a pixel covers it.
    """
    # In arcmin, unlike HATS's own property margin_threshold, which is in arcsec.
    return int(margin2order(threshold_arcsec / 60.0))


def compute_ring(partition: Partition, margin_order: int) -> IntArray:
    """Compute the pixels of ``margin_order`` (NESTED) that surround a pixel; sorted, shape (ring,).

    Raises
    ------
    ConfigError
        They are larger than the pixel itself: the margin is wider than a partition.
    """
    if margin_order < partition.order:
        raise ConfigError(
            f"a margin as wide as pixels of HEALPix order {margin_order} does not fit around {partition.name}, which "
            "is smaller: lower sources.margin_arcsec, or raise sources.rows_per_partition and partition the sources "
            "again"
        )
    # By hats itself, so that a margin is what its readers take for one.
    ring = get_margin(partition.order, partition.pixel, margin_order - partition.order)
    return np.unique(np.asarray(ring, dtype=np.int64))


def find_within(healpix_N: IntArray, ring: IntArray, ring_order: int) -> IntArray:
    """Find the rows that lie in a ring.

    Parameters
    ----------
    healpix_N : ndarray of int64, shape (N,)
        Pixels of order 29 (NESTED) of the rows.
    ring : ndarray of int64, shape (ring,)
        From `compute_ring`.
    ring_order : int
        HEALPix order of its pixels.

    Returns
    -------
    ndarray of int64
        Their places among the rows, in order.
    """
    small_N = healpix_N >> 2 * (HEALPIX_ORDER - ring_order)
    # Looked up in the ring, which is sorted; `np.isin` would sort both, and a ring has thousands of pixels.
    place_N = np.minimum(np.searchsorted(ring, small_N), len(ring) - 1)
    return np.flatnonzero(ring[place_N] == small_N)


class Owners:
    """Which partition holds which part of the sky.

    Parameters
    ----------
    partitions : iterable of Partition
        They do not overlap.
    """

    def __init__(self, partitions: Iterable[Partition]) -> None:
        ordered = sorted(partitions, key=lambda part: _bounds(part)[0])
        self.partitions = dict.fromkeys(ordered)
        # Deeper than the deepest partition, or a pixel of the ring would span several and its first number at order 29
        # tell only one of them.
        self.ring_order = max((part.order for part in ordered), default=0) + 1
        """Of a ring that meets every partition beside a pixel of any order up to the deepest partition's."""
        self._list = ordered
        # The shape is for a catalogue without partitions, whose empty list numpy would make one-dimensional.
        bounds = np.array([_bounds(part) for part in ordered], dtype=np.int64).reshape(-1, 2)
        self._starts, self._ends = bounds[:, 0], bounds[:, 1]

    def find_neighbours(self, partition: Partition, ring_order: int = 0) -> tuple[Partition, ...]:
        """Find the partitions that hold a pixel of the ring around a pixel.

        ``ring_order`` is the ring's own; 0: any as deep as needed finds the same partitions, and this one's is short.
        """
        if not self._list:
            return ()
        order = ring_order or max(self.ring_order, partition.order + 1)
        ring = compute_ring(partition, order) << 2 * (HEALPIX_ORDER - order)
        place = np.searchsorted(self._starts, ring, side="right") - 1
        # A ring before the first partition has place -1, which numpy would take for the last one; the first term leaves
        # it out.
        held = (place >= 0) & (ring < self._ends[place])
        return tuple(self._list[index] for index in np.unique(place[held]))

    def list_edge_pixels(self) -> Iterator[Partition]:
        """List the pixels beside the survey that touch a partition.

        They need a margin too, so that another catalogue with rows there finds its matches across the border.
        """
        return (pixel for pixel in self.list_empty_pixels() if self.find_neighbours(pixel))

    def list_empty_pixels(self) -> Iterator[Partition]:
        """List the fewest pixels that cover the sky without partitions (the "negative tree" of `hats`)."""
        stack = [Partition(order=0, pixel=pixel) for pixel in range(12)]
        while stack:
            candidate = stack.pop()
            low, high = _bounds(candidate)
            # No partition begins within the candidate. None can hold it from above either, since the walk stops at each
            # partition.
            if np.searchsorted(self._starts, low) == np.searchsorted(self._starts, high):
                yield candidate
            elif candidate not in self.partitions:
                stack += [Partition(candidate.order + 1, 4 * candidate.pixel + child) for child in range(4)]


def _bounds(partition: Partition) -> tuple[int, int]:
    shift = 2 * (HEALPIX_ORDER - partition.order)
    return partition.pixel << shift, (partition.pixel + 1) << shift
