"""Sky positions to pixel windows to cutouts: plain array functions, and one that reads them from an open tile.

A window's pixel ``size // 2`` is the one nearest the position. Pixels outside the image are NaN.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from photoz.errors import TileError
from photoz.schema import Flag

LARGEST_BLOCK, SMALLEST_BLOCK = 1024, 128
"""[pixel] sides of the squares of sky that are read at once and cut from."""
PIXELS_PER_WINDOW = 2 * 128**2
"""[pixel] of a block that may be decoded for each window in it before several smaller reads are cheaper: a read costs
about 3 ms and a chunk of 128 x 128 pixels in four bands about 0.7 ms (zarr-python, docs/benchmarks)."""

THREADS = 4
"""Blocks read at one time: hides a store's latency. At most so many blocks are in memory, 17 MB each in four bands."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Block = tuple[int, int, int, int]
"""[pixel] y0, y1, x0, x1: half-open ranges of rows and columns."""


class WorldCoordinates(Protocol):
    """The one method of `astropy.wcs.WCS` that is used."""

    def all_world2pix(
        self, ra: object, dec: object, origin: int, /, **options: object
    ) -> Sequence[npt.NDArray[np.float64]]:
        """Convert positions [deg] to pixel positions x, y."""


class ReadableTile(Protocol):
    """What `extract_cutouts` needs of a tile; `photoz.tiles.Tile` is one."""

    @property
    def name(self) -> str: ...
    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def wcs(self) -> WorldCoordinates: ...
    def read_window(self, y0: int, y1: int, x0: int, x1: int) -> FloatArray: ...
    def read_mask_window(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]: ...


def extract_cutouts(
    tile: ReadableTile, ra_N: npt.ArrayLike, dec_N: npt.ArrayLike, size: int, *, bands: Sequence[str]
) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Cut a square around each position out of a tile.

    Parameters
    ----------
    tile : photoz.tiles.Tile
        Open tile.
    ra_N, dec_N : array_like, shape (N,)
        [deg] positions, ICRS; a NaN position is off the image.
    size : int
        [pixel] side of a cutout.
    bands : sequence of str
        Bands wanted, in the order wanted.

    Returns
    -------
    cutouts_NBYX : ndarray of float32, shape (N, bands, size, size)
        [flux, zero point of the survey]; NaN outside the image and where the image is.
    flags_N : ndarray of int32, shape (N,)
        Bits OFF_IMAGE, PARTIAL_CUTOUT, EMPTY_CUTOUT and MASKED_PIXELS of `photoz.schema.Flag`.

    Raises
    ------
    TileError
        The tile lacks a band, or a chunk of it is damaged.
    """
    order = _find_bands(tile, bands)
    y0_N, x0_N = compute_windows(tile.wcs, ra_N, dec_N, size)
    cutouts = np.full((len(y0_N), len(order), size, size), np.nan, np.float32)
    masked = np.zeros(len(y0_N), bool)

    def cut(plan: tuple[IntArray, Block]) -> None:
        rows, (y0, y1, x0, x1) = plan
        y0_n, x0_n = y0_N[rows] - y0, x0_N[rows] - x0
        cutouts[rows] = cut_windows(tile.read_window(y0, y1, x0, x1), y0_n, x0_n, size)[:, order]
        masked[rows] = find_masked(tile.read_mask_window(y0, y1, x0, x1), y0_n, x0_n, size)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(cut, plan_blocks(y0_N, x0_N, size, tile.shape)))
    return cutouts, flag_cutouts(cutouts, masked, find_off_image(y0_N, x0_N, size, tile.shape))


def compute_windows(
    wcs: WorldCoordinates, ra_N: npt.ArrayLike, dec_N: npt.ArrayLike, size: int
) -> tuple[IntArray, IntArray]:
    """Find the first row and column of the window around each position.

    Returns
    -------
    y0_N, x0_N : ndarray of int64, shape (N,)
        [pixel] 0-based; far outside any image where a position has no pixel (NaN, or the far side of the sky).
    """
    ra, dec = np.atleast_1d(np.asarray(ra_N, np.float64)), np.atleast_1d(np.asarray(dec_N, np.float64))
    x_N, y_N = wcs.all_world2pix(ra, dec, 0, quiet=True) if len(ra) else (ra, dec)
    return _first_pixel(y_N, size), _first_pixel(x_N, size)


def plan_blocks(y0_N: IntArray, x0_N: IntArray, size: int, shape: tuple[int, int]) -> Iterator[tuple[IntArray, Block]]:
    """Group windows into blocks of the image, so that each chunk is decoded about once where windows are dense.

    A square of ``LARGEST_BLOCK`` is quartered until its windows are dense enough to pay for decoding all of it.

    Yields
    ------
    rows : ndarray of int64
        Indices of the windows of one block.
    block : (int, int, int, int)
        [pixel] y0, y1, x0, x1: the smallest part of the image that covers them. Windows wholly outside are left out.
    """
    inside = np.flatnonzero(~find_off_image(y0_N, x0_N, size, shape))
    waiting = _split(inside, y0_N, x0_N, LARGEST_BLOCK)
    while waiting:
        rows, side = waiting.pop()
        y0, y1 = max(int(y0_N[rows].min()), 0), min(int(y0_N[rows].max()) + size, shape[0])
        x0, x1 = max(int(x0_N[rows].min()), 0), min(int(x0_N[rows].max()) + size, shape[1])
        sparse = (y1 - y0) * (x1 - x0) > PIXELS_PER_WINDOW * len(rows)
        if len(rows) > 1 and sparse and side > SMALLEST_BLOCK:
            waiting += _split(rows, y0_N, x0_N, side // 2)
        else:
            yield rows, (y0, y1, x0, x1)


def _split(rows: IntArray, y0_N: IntArray, x0_N: IntArray, side: int) -> list[tuple[IntArray, int]]:
    """Group windows by the square of this side [pixel] that they start in."""
    if not len(rows):
        return []
    squares = np.stack([y0_N[rows] // side, x0_N[rows] // side], axis=1)
    order = np.lexsort((squares[:, 1], squares[:, 0]))
    starts = np.flatnonzero(np.any(np.diff(squares[order], axis=0) != 0, axis=1)) + 1
    return [(group, side) for group in np.split(rows[order], starts)]


def cut_windows(image_BYX: FloatArray, y0_N: IntArray, x0_N: IntArray, size: int) -> FloatArray:
    """Cut windows out of an image in memory.

    Parameters
    ----------
    image_BYX : ndarray of float32, shape (B, Y, X)
        Image.
    y0_N, x0_N : ndarray of int64, shape (N,)
        [pixel] first row and column of each window; may be negative or beyond the image.
    size : int
        [pixel] side.

    Returns
    -------
    ndarray of float32, shape (N, B, size, size)
        NaN outside the image.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    >>> cut_windows(image, np.array([0]), np.array([2]), 2)[0, 0]
    array([[ 2., nan],
           [ 5., nan]], dtype=float32)
    """
    cutouts = np.full((len(y0_N), image_BYX.shape[0], size, size), np.nan, np.float32)
    for n, (y0, x0) in enumerate(zip(y0_N.tolist(), x0_N.tolist(), strict=True)):
        there, here = _overlap(y0, x0, size, image_BYX.shape[1:])
        cutouts[n][:, *here] = image_BYX[:, *there]
    return cutouts


def find_masked(mask_YX: npt.NDArray[np.uint8], y0_N: IntArray, x0_N: IntArray, size: int) -> npt.NDArray[np.bool_]:
    """Tell for each window whether any pixel of it is masked; shape (N,). Pixels outside the mask count as clear."""
    masked = np.zeros(len(y0_N), bool)
    if mask_YX.any():
        for n, (y0, x0) in enumerate(zip(y0_N.tolist(), x0_N.tolist(), strict=True)):
            there, _ = _overlap(y0, x0, size, mask_YX.shape)
            masked[n] = mask_YX[there].any()
    return masked


def find_off_image(y0_N: IntArray, x0_N: IntArray, size: int, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell for each window whether it lies wholly outside an image of this shape; shape (N,)."""
    return (y0_N + size <= 0) | (y0_N >= shape[0]) | (x0_N + size <= 0) | (x0_N >= shape[1])


def flag_cutouts(
    cutouts_NBYX: FloatArray, masked_N: npt.NDArray[np.bool_], off_N: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Set the bits of `photoz.schema.Flag` that follow from the pixels; shape (N,)."""
    finite = np.isfinite(cutouts_NBYX)
    flags = np.zeros(len(cutouts_NBYX), np.int32)
    flags[~finite.all(axis=(1, 2, 3))] |= Flag.PARTIAL_CUTOUT
    flags[np.any(~finite.any(axis=(2, 3)), axis=1)] |= Flag.EMPTY_CUTOUT
    flags[masked_N] |= Flag.MASKED_PIXELS
    flags[off_N] = Flag.OFF_IMAGE
    return flags


def _first_pixel(position_N: npt.NDArray[np.float64], size: int) -> IntArray:
    nearest = np.floor(np.nan_to_num(position_N, nan=1e9, posinf=1e9, neginf=-1e9) + 0.5)
    return np.clip(nearest, -1e9, 1e9).astype(np.int64) - size // 2


def _overlap(y0: int, x0: int, size: int, shape: Sequence[int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the slices of the image and those of the window where they lie on each other (empty where nowhere)."""
    there, here = [], []
    for first, length in ((y0, shape[-2]), (x0, shape[-1])):
        low, high = min(max(first, 0), length), max(min(first + size, length), 0)
        low = min(low, high)
        start = min(max(low - first, 0), size)
        there.append(slice(low, high))
        here.append(slice(start, start + high - low))
    return (there[0], there[1]), (here[0], here[1])


def _find_bands(tile: ReadableTile, bands: Sequence[str]) -> list[int]:
    missing = [band for band in bands if band not in tile.bands]
    if missing:
        raise TileError(
            f"tile {tile.name} has bands {list(tile.bands)} and lacks {missing}: "
            "ingest it with survey.image_bands that hold them"
        )
    return [tile.bands.index(band) for band in bands]
