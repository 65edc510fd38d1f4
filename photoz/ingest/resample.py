"""A band on pixels of its own, resampled onto the tile's while its rows are read, once and from first to last.

By cubic splines, as `reproject.reproject_interp` does it, which needs the whole image and both WCS at every pixel; what
it does to fluxes, to the noise and to the clock is in docs/images.md.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates, spline_filter

from photoz.cutouts import find_unexposed
from photoz.ingest.stripes import Patch
from photoz.survey.fits import RowReader
from photoz.survey.warp import Warp, is_inside

MARGIN = 20
"""[pixel] of the image around what is needed: what lies farther has a share of 1e-11 in a spline."""
_READ, _ROWS = 512, 128
"""[pixel] rows of the image that are read, and rows of the tile that are resampled, at a time: bounds the memory."""
_SHARE = 1e-4
"""Of a pixel that is bad: less is a rounding of its place."""

Find = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class ResampledRows:
    """A band on a grid of its own, as rows of a tile's; a `photoz.ingest.stripes.BandRows`.

    Parameters
    ----------
    reader : RowReader
        Of its file, entered.
    warp : Warp
        Where the tile's pixels lie on the image.
    columns : int
        [pixel] of the tile.
    method : str
        "spline" for images; "linear" for weights, which splines would make negative; "any" for masks: 1 wherever a
        pixel that is not 0 has a share.
    factor : float
        What the values are multiplied by: ``warp.area`` for a flux per pixel.
    find : callable, optional
        As in `photoz.ingest.stripes.ShiftedRows`.
    """

    def __init__(
        self,
        reader: RowReader,
        warp: Warp,
        columns: int,
        *,
        method: Literal["spline", "linear", "any"] = "spline",
        factor: float = 1.0,
        find: Find | None = None,
    ) -> None:
        self._reader = reader
        self._warp = warp
        self._columns = columns
        self._method = method
        self._factor = factor
        self._find = find
        # Rows that are still needed: number of the first, and values.
        self._held: deque[tuple[int, npt.NDArray[np.float32]]] = deque()

    def read(self, y0: int, rows: int) -> Patch:
        """Resample its part of a stripe: all columns; NaN, of a mask 0, where it has no pixel."""
        low, high = self._warp.find_rows(y0, rows, MARGIN)
        left, right = self._warp.find_columns(MARGIN)
        self._read_to(high, low, slice(left, right))
        if not self._held or left == right or low >= high:
            return Patch((slice(0, 0), slice(0, 0)), np.empty((0, 0), np.float32))
        block = np.concatenate([values for _, values in self._held])
        sample = _Sampler(block, (self._held[0][0], left), self._warp.shape, self._method)
        values = np.empty((rows, self._columns), np.float32)
        for first in range(0, rows, _ROWS):
            part = values[first : first + _ROWS]
            part[:] = sample(*self._warp.find_places(y0 + first, len(part), self._columns))
        values *= np.float32(self._factor)
        return Patch((slice(0, rows), slice(0, self._columns)), values)

    def finish(self) -> str:
        """See `photoz.ingest.stripes.BandRows`."""
        return self._reader.finish()

    def _read_to(self, stop: int, needed: int, columns: slice) -> None:
        while self._held and self._held[0][0] + len(self._held[0][1]) <= needed:
            self._held.popleft()
        while self._reader.row < stop:
            first = self._reader.row
            values = self._reader.read_rows(min(_READ, stop - first))
            if first + len(values) > needed:
                some = values[:, columns] if self._find is None else self._find(values[:, columns])
                with np.errstate(over="ignore"):  # infinite as float32: no pixel either
                    self._held.append((first, some.astype(np.float32)))


class MergedRows:
    """Several images of a band as one, each on a grid of its own; a `photoz.ingest.stripes.BandRows`.

    Parameters
    ----------
    parts : sequence of ResampledRows
        Where several have a pixel it is their mean.
    columns : int
        [pixel] of the tile.
    masks : bool
        They are masks: a pixel is bad where it is bad in one of them.
    """

    def __init__(self, parts: Sequence[ResampledRows], columns: int, *, masks: bool = False) -> None:
        self._parts = parts
        self._columns = columns
        self._masks = masks

    def read(self, y0: int, rows: int) -> Patch:
        """See `BandRows`; NaN, of masks 0, where none has a pixel."""
        total, count = np.zeros((2, rows, self._columns), np.float32)
        for part in self._parts:
            place, values = part.read(y0, rows)
            known = np.isfinite(values)
            total[place] += np.where(known, values, 0)
            count[place] += known
        if self._masks:
            return Patch((slice(0, rows), slice(0, self._columns)), (total > 0).astype(np.float32))
        with np.errstate(invalid="ignore"):  # where there is none
            return Patch((slice(0, rows), slice(0, self._columns)), total / count)

    def finish(self) -> str:
        """Verify all files; the SHA-256 of theirs."""
        return hashlib.sha256("".join(part.finish() for part in self._parts).encode()).hexdigest()


class _Sampler:
    """Values of a part of an image at places of the image.

    Parameters
    ----------
    block : ndarray of float32
        The part.
    corner : (int, int)
        [pixel] row and column of its first pixel.
    shape : (int, int)
        Of the image.
    method : str
        As in `ResampledRows`.
    """

    def __init__(
        self, block: npt.NDArray[np.float32], corner: tuple[int, int], shape: tuple[int, int], method: str
    ) -> None:
        self.corner = corner
        self.shape = shape
        self.method = method
        bad = ~np.isfinite(block)
        if method == "spline":
            # Now, as zeros are no zeros any more after it (`photoz.cutouts.blank_unexposed`).
            bad |= find_unexposed(block)
        self.bad = bad.astype(np.float32) if bad.any() else None
        # A spline through NaN is NaN all over.
        known = np.where(bad, np.float32(0), block)
        self.values = spline_filter(known, 3, np.float64) if method == "spline" else known

    def __call__(self, y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return the values at rows and columns [pixel] of the image; NaN, with "any" 0, where there is none."""
        inside = is_inside(y, x, self.shape)
        places = [y - self.corner[0], x - self.corner[1]]
        order = 3 if self.method == "spline" else 1
        found: npt.NDArray[np.float32] = map_coordinates(
            self.values, places, np.float32, order=order, mode="mirror", prefilter=False
        )
        if self.method == "any":
            return np.asarray(inside & (found > _SHARE), np.float32)
        found[~inside] = np.nan
        if self.bad is not None:
            # Every pixel that a bad one has a share in, by linear interpolation; splines reach farther, but fade.
            found[map_coordinates(self.bad, places, np.float32, order=1, mode="mirror") > _SHARE] = np.nan
        return found
