"""A stripe of a tile: the next rows of every band, each put where the band lies on the tile's grid."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from photoz.survey.fits import RowReader

MASK_BITS = 8
"""Bits of the stored mask; bands from the eighth on share the last."""


class Patch(NamedTuple):
    """A band's rows that fall into a stripe, and where in it they belong."""

    place: tuple[slice, slice]
    values_YX: npt.NDArray[Any]


class BandRows(Protocol):
    """An image that gives its part of a tile's rows, stripe by stripe from the first row on."""

    def read(self, y0: int, rows: int) -> Patch:
        """Read its part of the stripe of so many rows [pixel] from row y0 of the tile's grid on."""

    def finish(self) -> str:
        """Read the rest of the file, verify it, and return its SHA-256."""


class ShiftedRows:
    """A band whose pixels lie on those of the tile's grid, some rows and columns off its first.

    Parameters
    ----------
    reader : RowReader
        Of its file, entered.
    offset : (int, int)
        [pixel] row and column of the grid on which its first pixel lies.
    find : callable, optional
        Turns the file's values into those that count: which of a mask's pixels are bad. None: they are taken as they
        are.
    """

    def __init__(
        self,
        reader: RowReader,
        offset: tuple[int, int],
        find: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None,
    ) -> None:
        self._reader = reader
        self._offset = offset
        self._find = find

    def read(self, y0: int, rows: int) -> Patch:
        """See `BandRows`."""
        height, width = self._reader.info.shape
        top, left = self._offset
        # The stripe may begin before the band does, or end after it, or hold none of it.
        first, last = min(max(y0, top), y0 + rows), max(min(y0 + rows, top + height), y0)
        # A stripe before or beyond the band asks for no rows, and the reader stays where it is.
        values = self._reader.read_rows(max(last - first, 0))
        place = (slice(first - y0, first - y0 + len(values)), slice(left, left + width))
        return Patch(place, values if self._find is None else self._find(values))

    def finish(self) -> str:
        """See `BandRows`."""
        return self._reader.finish()


def read_stripe(
    images: Mapping[str, BandRows], bands: Sequence[str], y0: int, stripe_BYX: npt.NDArray[np.float32]
) -> None:
    """Fill a stripe with the next rows of every band.

    Parameters
    ----------
    images : mapping of str to BandRows
        Band -> its image, read up to the stripe's first row; a band without one is all NaN.
    bands : sequence of str
        Of the stripe's first axis.
    y0 : int
        [pixel] first row of the stripe.
    stripe_BYX : ndarray of float32, shape (bands, rows, columns)
        Filled in place [flux, as the files have it]; NaN where a band has no pixel.
    """
    # The buffer still holds the stripe before.
    stripe_BYX.fill(np.nan)
    for index, band in enumerate(bands):
        if band in images:
            patch = images[band].read(y0, stripe_BYX.shape[1])
            with np.errstate(over="ignore"):  # infinite as float32: no pixel either
                stripe_BYX[index][patch.place] = patch.values_YX


def read_mask(
    masks: Mapping[str, BandRows], bands: Sequence[str], y0: int, shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Read the next rows of every band's mask into one.

    Parameters
    ----------
    masks : mapping of str to BandRows
        Band -> its mask, read up to the stripe's first row, of which every value but 0 is bad; a band without one is
        not masked.
    bands : sequence of str
        Of the tile.
    y0 : int
        [pixel] first row of the stripe.
    shape : (int, int)
        Its rows and columns.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        Bit `find_mask_bit` of a band is set where its mask is bad.
    """
    mask = np.zeros(shape, np.uint8)
    for index, band in enumerate(bands):
        if band in masks:
            patch = masks[band].read(y0, shape[0])
            # The file's bits are not kept: surveys give them meanings of their own.
            mask[patch.place] |= (patch.values_YX != 0).astype(np.uint8) << find_mask_bit(index)
    return mask


def find_mask_bit(index: int) -> int:
    """Return the bit of the stored mask for the band of this index among the tile's bands.

    >>> [find_mask_bit(index) for index in (0, 7, 8)]
    [0, 7, 7]
    """
    return min(index, MASK_BITS - 1)
