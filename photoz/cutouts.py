"""Sky positions to pixel windows to cutouts: plain array functions, and one that reads them from an open tile.

A window's pixel ``size // 2`` is the one nearest the position. Pixels outside the image are NaN, and so are those that
no exposure saw (`blank_unexposed`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from photoz.errors import TileError
from photoz.schema import Flag

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

UNEXPOSED_RUN = 16
"""[pixel] So many exact zeros in a row or column are no sky: of an image that fpack has rounded to a quarter of its
noise a tenth of the pixels may be 0, and 1e-16 of such runs."""


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
    def read_windows(self, y0_N: IntArray, x0_N: IntArray, size: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]: ...


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
        [flux, zero point of the survey]; NaN outside the image, where the image is and where no exposure was.
    flags_N : ndarray of int32, shape (N,)
        Bits OFF_IMAGE, PARTIAL_CUTOUT, EMPTY_CUTOUT and MASKED_PIXELS of `photoz.schema.Flag`.

    Raises
    ------
    TileError
        The tile lacks a band, or a chunk of it is damaged.
    """
    order = _find_bands(tile, bands)
    y0_N, x0_N = compute_windows(tile.wcs, ra_N, dec_N, size)
    cutouts, masked = tile.read_windows(y0_N, x0_N, size)
    # Picking bands copies all cutouts; the usual order needs no copy.
    if order != list(range(len(tile.bands))):
        cutouts = cutouts[:, order]
    blank_unexposed(cutouts)
    return cutouts, flag_cutouts(cutouts, masked, find_off_image(y0_N, x0_N, size, tile.shape))


def blank_unexposed(cutouts_NBYX: FloatArray) -> None:
    """Set to NaN what is no sky: a band of one value throughout, runs of exact zeros, and blocks of any one value.

    Coadds hold 0 where no exposure was, some -999 or another sentinel, which an estimator would take for a sky without
    a source. Measured pixels have noise.

    Parameters
    ----------
    cutouts_NBYX : ndarray of float32, shape (N, bands, size, size)
        Changed in place. Zeros count from `UNEXPOSED_RUN` on side by side in a row or a column, another value where
        the next row or column holds it, too.

    Examples
    --------
    >>> cutouts = np.ones((1, 1, 20, 20), np.float32) + np.arange(20, dtype=np.float32)
    >>> cutouts[..., :16, :3] = 0
    >>> blank_unexposed(cutouts)
    >>> int(np.isnan(cutouts).sum())
    48
    """
    if not cutouts_NBYX.size:
        return
    # Looked at closer only where it may be: of nearly all cutouts no band has as many zeros.
    zero_NBYX = cutouts_NBYX == 0
    for index in np.argwhere(zero_NBYX.sum(axis=(2, 3)) >= min(UNEXPOSED_RUN, cutouts_NBYX.shape[-1])):
        pixels_YX = cutouts_NBYX[tuple(index)]
        pixels_YX[find_unexposed(pixels_YX)] = np.nan
    # A single pixel is as constant as any.
    if cutouts_NBYX.shape[-1] > 1:
        _blank_blocks(cutouts_NBYX)
        cutouts_NBYX[(cutouts_NBYX == cutouts_NBYX[..., :1, :1]).all(axis=(2, 3))] = np.nan


def find_unexposed(pixels_YX: FloatArray) -> npt.NDArray[np.bool_]:
    """Find the pixels that no exposure saw: `UNEXPOSED_RUN` exact zeros or more side by side in a row or a column."""
    zero_YX = pixels_YX == 0
    # A look at the number first: most images have no such run.
    if zero_YX.sum() < min(UNEXPOSED_RUN, *zero_YX.shape):
        return np.zeros_like(zero_YX)
    return _find_runs(zero_YX) | _find_runs(zero_YX.T).T


def _blank_blocks(cutouts_NBYX: FloatArray) -> None:
    length = min(UNEXPOSED_RUN, cutouts_NBYX.shape[-1])
    # A value and its neighbour to the right; NaN is not the same as NaN.
    same_NBYX = cutouts_NBYX[..., 1:] == cutouts_NBYX[..., :-1]
    for index in np.argwhere(same_NBYX.sum(axis=(2, 3)) >= length - 1):
        band_YX = cutouts_NBYX[tuple(index)]
        band_YX[_find_blocks(band_YX, length) | _find_blocks(band_YX.T, length).T] = np.nan


def _find_blocks(band_YX: FloatArray, length: int) -> npt.NDArray[np.bool_]:
    """Find runs of one value along a row, of some length, that the row above or beneath has beside them."""
    across_YX, down_YX = band_YX[:, 1:] == band_YX[:, :-1], band_YX[1:] == band_YX[:-1]
    if not across_YX.any() or not down_YX.any():
        return np.zeros(band_YX.shape, bool)
    starts_YX = np.lib.stride_tricks.sliding_window_view(across_YX, length - 1, axis=1).all(axis=2)
    run_YX, beside_YX = np.zeros(band_YX.shape, bool), np.zeros(band_YX.shape, bool)
    for offset in range(length):
        run_YX[:, offset : offset + starts_YX.shape[1]] |= starts_YX
    # A slope along one axis has runs across it, and none of its neighbours has their value.
    beside_YX[1:] |= down_YX
    beside_YX[:-1] |= down_YX
    return run_YX & beside_YX


def _find_runs(true_YX: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find what lies in a run of true values of some length along a row."""
    length = min(UNEXPOSED_RUN, true_YX.shape[1])
    starts = np.lib.stride_tricks.sliding_window_view(true_YX, length, axis=1).all(axis=2)
    runs = np.zeros_like(true_YX)
    for offset in range(length):
        runs[:, offset : offset + starts.shape[1]] |= starts
    return runs


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
    # 0-based, where FITS counts from 1. quiet: a position on the far side of the sky must not raise for all others.
    x_N, y_N = wcs.all_world2pix(ra, dec, 0, quiet=True) if len(ra) else (ra, dec)
    return _first_pixel(y_N, size), _first_pixel(x_N, size)


def find_off_image(y0_N: IntArray, x0_N: IntArray, size: int, shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Tell for each window whether it lies wholly outside an image of this shape; shape (N,)."""
    return (y0_N + size <= 0) | (y0_N >= shape[0]) | (x0_N + size <= 0) | (x0_N >= shape[1])


def flag_cutouts(
    cutouts_NBYX: FloatArray, masked_N: npt.NDArray[np.bool_], off_N: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int32]:
    """Set the bits of `photoz.schema.Flag` that follow from the pixels; shape (N,)."""
    finite = np.isfinite(cutouts_NBYX)
    flags = np.zeros(len(cutouts_NBYX), np.int32)
    # Any pixel of any band; a band without a single one is told besides.
    flags[~finite.all(axis=(1, 2, 3))] |= Flag.PARTIAL_CUTOUT
    flags[np.any(~finite.any(axis=(2, 3)), axis=1)] |= Flag.EMPTY_CUTOUT
    flags[masked_N] |= Flag.MASKED_PIXELS
    # Set, not added: off the image every other bit follows from that one.
    flags[off_N] = Flag.OFF_IMAGE
    return flags


def _first_pixel(position_N: npt.NDArray[np.float64], size: int) -> IntArray:
    # floor(x + 0.5) and not rint, which takes halves to the even pixel: neighbouring positions on pixel borders would
    # be rounded in opposite ways.
    nearest = np.floor(np.nan_to_num(position_N, nan=1e9, posinf=1e9, neginf=-1e9) + 0.5)
    # Clipped before it becomes an integer: what NaN or 1e300 becomes depends on the processor. 1e9 is off every image,
    # and size added to it overflows nothing.
    return np.clip(nearest, -1e9, 1e9).astype(np.int64) - size // 2


def _find_bands(tile: ReadableTile, bands: Sequence[str]) -> list[int]:
    missing = [band for band in bands if band not in tile.bands]
    if missing:
        raise TileError(
            f"tile {tile.name} has bands {list(tile.bands)} and lacks {missing}: "
            "ingest it with survey.image_bands that hold them"
        )
    # By name: the tile's order is that of survey.image_bands when it was ingested, the estimator's that of its
    # training.
    return [tile.bands.index(band) for band in bands]
