"""A stripe of a tile: the next rows of every band, each put where the band lies on the tile's grid."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from photoz.survey.fits import RowReader
from photoz.survey.wcs import Grid

MASK_BITS = 8
"""Bits of the stored mask; bands from the eighth on share the last."""


class _Patch(NamedTuple):
    """A band's rows that fall into a stripe, and where in it they belong."""

    place: tuple[slice, slice]
    values_YX: npt.NDArray[Any]


def read_stripe(readers: Mapping[str, RowReader], grid: Grid, y0: int, stripe_BYX: npt.NDArray[np.float32]) -> None:
    """Fill a stripe with the next rows of every band.

    Parameters
    ----------
    readers : mapping of str to RowReader
        Band -> its file, read up to the stripe's first row; a band without one is all NaN.
    grid : Grid
        Of the tile.
    y0 : int
        [pixel] first row of the stripe.
    stripe_BYX : ndarray of float32, shape (bands, rows, columns)
        Filled in place [flux, as the files have it]; NaN where a band has no pixel.
    """
    # The buffer still holds the stripe before.
    stripe_BYX.fill(np.nan)
    # In the grid's order, which is that of the stored image's first axis; of weights some bands may have none.
    for index, band in enumerate(grid.offsets):
        if band in readers:
            patch = _read_patch(readers[band], grid.offsets[band], y0, stripe_BYX.shape[1])
            stripe_BYX[index][patch.place] = patch.values_YX


def read_mask(readers: Mapping[str, RowReader], grid: Grid, y0: int, rows: int) -> npt.NDArray[np.uint8]:
    """Read the next rows of every band's mask into one.

    Parameters
    ----------
    readers : mapping of str to RowReader
        Band -> its mask, read up to the stripe's first row; a band without one is not masked.
    grid : Grid
        Of the tile.
    y0, rows : int
        [pixel] first row of the stripe, and how many it has.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        Bit `find_mask_bit` of a band is set where its mask is not 0.
    """
    mask = np.zeros((rows, grid.shape[1]), np.uint8)
    for index, band in enumerate(grid.offsets):
        if band in readers:
            patch = _read_patch(readers[band], grid.offsets[band], y0, rows)
            # Any flag counts, since surveys give bits meanings of their own; the file's bits are not kept.
            mask[patch.place] |= (patch.values_YX != 0).astype(np.uint8) << find_mask_bit(index)
    return mask


def find_mask_bit(index: int) -> int:
    """Return the bit of the stored mask for the band of this index among the tile's bands.

    >>> [find_mask_bit(index) for index in (0, 7, 8)]
    [0, 7, 7]
    """
    return min(index, MASK_BITS - 1)


def _read_patch(reader: RowReader, offset: tuple[int, int], y0: int, rows: int) -> _Patch:
    height, width = reader.info.shape
    # The stripe may begin before the band does, or end after it, or hold none of it.
    first, last = min(max(y0, offset[0]), y0 + rows), max(min(y0 + rows, offset[0] + height), y0)
    # A stripe before or beyond the band asks for no rows, and the reader stays where it is.
    values = reader.read_rows(max(last - first, 0))
    return _Patch((slice(first - y0, first - y0 + len(values)), slice(offset[1], offset[1] + width)), values)
