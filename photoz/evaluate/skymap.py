"""Rows counted on the sky: a map that grows coarser where its cells become many."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from photoz.schema import HEALPIX_ORDER

IntArray = npt.NDArray[np.int64]

_FINEST_ORDER = 13  # 26 arcsec: cells of a map of one small tile
_MOST_CELLS = 200_000  # held while reading
_MOST_DRAWN = 20_000
_LEAST_IN_CELL = 5.0  # mean galaxies a cell of the map, so that it shows structure and not shot noise


def _no_cells() -> IntArray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class SkyMap:
    """Rows by HEALPix cell; the cells grow coarser where they become many.

    Parameters
    ----------
    order : int
        HEALPix order of the cells.
    cells, counts : ndarray of int64, shape (C,)
        Cells (NESTED) with a row, and how many.
    """

    order: int = _FINEST_ORDER
    cells: IntArray = field(default_factory=_no_cells)
    counts: IntArray = field(default_factory=_no_cells)

    def add(self, healpix_N: IntArray) -> Self:
        """Return the map with more rows, given by their pixels of order 29 (NESTED)."""
        # NESTED: four cells of one order are one of the order above, so shifting by two bits coarsens.
        cells, counts = np.unique(healpix_N >> 2 * (HEALPIX_ORDER - self.order), return_counts=True)
        return self.merge(SkyMap(self.order, cells, counts))

    def merge(self, other: "SkyMap") -> Self:
        """Return the map of the rows of both, at the coarser one's order or coarser."""
        mine, theirs = self, other
        while mine.order > theirs.order:
            mine = mine.coarsen()
        while theirs.order > mine.order:
            theirs = theirs.coarsen()
        cells, counts = np.concatenate([mine.cells, theirs.cells]), np.concatenate([mine.counts, theirs.counts])
        sky = self._merge(mine.order, cells, counts)
        # Coarsened as soon as they are many, so that the map of a whole sky takes no more memory than that of a tile.
        # Whichever parts come first, the order comes out the same: the cells of a part are among those of the whole.
        while sky.cells.size > _MOST_CELLS:
            sky = sky.coarsen()
        return sky

    def finish(self, *, least_in_cell: float = _LEAST_IN_CELL) -> Self:
        """Return the finest map that can be drawn and holds enough rows a cell, on average, to show structure."""
        sky = self
        # Too many cells cannot be drawn; too few rows in each show only their Poisson noise.
        while sky.order and (sky.cells.size > _MOST_DRAWN or sky.counts.sum() < least_in_cell * sky.cells.size):
            sky = sky.coarsen()
        return sky

    def coarsen(self) -> Self:
        """Return the map one order up: four cells become one."""
        return self._merge(self.order - 1, self.cells >> 2, self.counts)

    @classmethod
    def _merge(cls, order: int, cells: IntArray, counts: IntArray) -> Self:
        merged, place = np.unique(cells, return_inverse=True)
        # `bincount` with weights gives float64, exact up to 2^53 rows.
        return cls(order, merged, np.bincount(place, weights=counts, minlength=merged.size).astype(np.int64))
