"""Open a tile of the store and read windows of it."""

import json
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from zarr.errors import BaseZarrError
from zarr.storage import FsspecStore, LocalStore

from photoz.errors import MissingTileError, TileError
from photoz.storage import JsonObject, find_filesystem, find_options
from photoz.tiles.chunks import ChunkedArray
from photoz.tiles.fetch import Fetch, Traffic, choose_threads, make_fetch

READS = 4
"""Groups of windows read at one time from a store: while one waits for it, others are decoded."""
WINDOWS_PER_READ = 64
"""Windows whose chunks are in memory for each of the reads: 10 MB in four bands and chunks of 64 pixels."""
_SQUARE, _STRIP = 1024, 64
"""[pixel] Windows in one square are read together, strip by strip: with the default layout they share a shard, and
neighbours chunks. With another it costs some bytes that are read twice."""

_OUTSIDE = {"image": np.nan, "mask": 0}
"""The arrays that are read, and what is outside the image."""

FORMAT = 1
"""Version of the attributes; raised when a reader of the older one would misread a tile."""

# A failed CRC32C is a ValueError, a frame that zstd refuses a RuntimeError. A store that does not answer raises other
# errors: they pass, since asking again may help.
DAMAGE = (BaseZarrError, ValueError, RuntimeError, FileNotFoundError, KeyError, IndexError, TypeError)


def tile_location(tiles: str, name: str) -> str:
    """Return the location of a tile's Zarr group."""
    return f"{tiles.rstrip('/')}/{name}.zarr"


@dataclass(frozen=True, eq=False)
class Tile:
    """A finished tile of the store, open for reading.

    Parameters
    ----------
    name : str
        ``KIDS_180.0_-0.5``.
    bands : tuple of str
        In the order of the image's first axis.
    shape : (int, int)
        Rows and columns.
    wcs : astropy.wcs.WCS
        Celestial, two-dimensional; pixel positions 0-based.
    checksum : str
        Digest of the source files' contents and the settings that shaped the stored pixels.
    attributes : mapping
        All that ingest recorded: FITS headers, zero points, sources, layout.
    location : str
        Of the tile's Zarr group.
    traffic : Traffic
        What has been asked of the store since the tile was opened.
    """

    name: str
    bands: tuple[str, ...]
    shape: tuple[int, int]
    wcs: WCS
    checksum: str
    attributes: Mapping[str, Any]
    location: str
    traffic: Traffic
    _fetch: Fetch
    _chunked: Mapping[str, ChunkedArray | None]

    def read_windows(
        self, y0_N: npt.NDArray[np.int64], x0_N: npt.NDArray[np.int64], size: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Read square windows, reading each chunk that they touch about once.

        Parameters
        ----------
        y0_N, x0_N : ndarray of int64, shape (N,)
            [pixel] first row and column of each window; may be negative or beyond the image.
        size : int
            [pixel] side.

        Returns
        -------
        windows_NBYX : ndarray of float32, shape (N, bands, size, size)
            [flux, zero point of the survey]; NaN outside the image and where a band has no pixel.
        masked_N : ndarray of bool, shape (N,)
            Whether any pixel is masked.

        Raises
        ------
        TileError
            A chunk is missing or damaged.
        """
        # Every row is written below, by whichever thread reads it.
        windows = np.empty((len(y0_N), len(self.bands), size, size), np.float32)
        masked = np.zeros(len(y0_N), bool)
        # lexsort takes its last key first: square by square, strips within it, then along the strip.
        order = np.lexsort((x0_N, y0_N // _STRIP, x0_N // _SQUARE, y0_N // _SQUARE))

        def read(rows: npt.NDArray[np.int64]) -> None:
            windows[rows] = self._cut("image", y0_N[rows], x0_N[rows], size)
            masked[rows] = self._cut("mask", y0_N[rows], x0_N[rows], size).any(axis=(1, 2))

        # Groups write to rows of their own, so that no lock is needed. Eight or sixteen at a time gained nothing
        # (docs/benchmarks/reading.md).
        with ThreadPoolExecutor(choose_threads(self.location, READS)) as pool:
            # list, since an error of a thread is raised only when its result is asked for.
            list(pool.map(read, np.array_split(order, range(WINDOWS_PER_READ, len(order), WINDOWS_PER_READ))))
        return windows, masked

    def _cut(self, name: str, y0_N: npt.NDArray[np.int64], x0_N: npt.NDArray[np.int64], size: int) -> npt.NDArray[Any]:
        chunked = self._chunked[name]
        if chunked is None:
            return self._cut_by_zarr(name, y0_N, x0_N, size)
        try:
            return chunked.read_windows(self._fetch, y0_N, x0_N, size, outside=_OUTSIDE[name])
        except DAMAGE as error:
            raise TileError(
                f"tile {self.name}: {name} cannot be read in {len(y0_N)} windows from row {y0_N.min()}, column "
                f"{x0_N.min()} on: {error}; remove the tile and run jobs/ingest_dr4.py again"
            ) from error

    def read_window(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.float32]:
        """Read pixels of all bands.

        Parameters
        ----------
        y0, y1, x0, x1 : int
            [pixel] half-open ranges of rows and columns within the tile.

        Returns
        -------
        ndarray of float32, shape (bands, y1 - y0, x1 - x0)
            [flux, zero point of the survey]; NaN where a band has no pixel.

        Raises
        ------
        TileError
            A chunk is missing or damaged.
        """
        window: npt.NDArray[np.float32] = self._read("image", (slice(None), slice(y0, y1), slice(x0, x1)))
        # Only then, since asking whether an object exists is a request of its own.
        if window.size and np.isnan(window).all():
            self._require_shards(y0, y1, x0, x1)
        return window

    def read_mask_window(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Read the mask.

        Parameters
        ----------
        y0, y1, x0, x1
            As in `read_window`.

        Returns
        -------
        ndarray of uint8, shape (y1 - y0, x1 - x0)
            Bit *i* is set where band *i* is masked; bands from the eighth on share the last bit.

        Raises
        ------
        TileError
            A chunk is missing or damaged.
        """
        mask: npt.NDArray[np.uint8] = self._read("mask", (slice(y0, y1), slice(x0, x1)))
        return mask

    def _cut_by_zarr(
        self, name: str, y0_N: npt.NDArray[np.int64], x0_N: npt.NDArray[np.int64], size: int
    ) -> npt.NDArray[Any]:
        array = self._arrays[name]
        windows = np.full((len(y0_N), *array.shape[:-2], size, size), _OUTSIDE[name], array.dtype)
        for window, y0, x0 in zip(windows, y0_N.tolist(), x0_N.tolist(), strict=True):
            # A negative start would count from the array's end, and cut pixels of the other side of the tile.
            low_y, low_x = (min(max(start, 0), length) for start, length in zip((y0, x0), self.shape, strict=True))
            high_y, high_x = (
                min(max(start + size, low), length)
                for start, low, length in zip((y0, x0), (low_y, low_x), self.shape, strict=True)
            )
            pixels = self._read(name, (..., slice(low_y, high_y), slice(low_x, high_x)))
            window[..., low_y - y0 : high_y - y0, low_x - x0 : high_x - x0] = pixels
        return windows

    @cached_property
    def _arrays(self) -> Mapping[str, "zarr.Array[Any]"]:
        # Opened at the first use: reading by chunks does without zarr-python.
        group = _open_group(self.location)
        return {name: _as_array(group[name]) for name in ("image", "mask")}

    def _read(self, array: str, selection: tuple[Any, ...]) -> npt.NDArray[Any]:
        try:
            return np.asarray(self._arrays[array][selection])
        except DAMAGE as error:
            raise TileError(
                f"tile {self.name}: {array} cannot be read in {_describe(selection)}: {error}; "
                "remove the tile and run jobs/ingest_dr4.py again"
            ) from error

    def _require_shards(self, y0: int, y1: int, x0: int, x1: int) -> None:
        """Tell a blank area from a lost shard, which Zarr reads as fill values."""
        image = self._arrays["image"]
        # Without shards a chunk is the stored object.
        _, rows, columns = image.shards or image.chunks
        fs, root = find_filesystem(self.location)
        for row in range(y0 // rows, (y1 - 1) // rows + 1):
            for column in range(x0 // columns, (x1 - 1) // columns + 1):
                # 0, since a shard holds all bands (`TileWriter`).
                key = image.metadata.encode_chunk_key((0, row, column))
                if not fs.exists(f"{root}/image/{key}"):
                    raise TileError(
                        f"tile {self.name}: shard {key} of image is missing; "
                        "remove the tile and run jobs/ingest_dr4.py again"
                    )


def open_tile(tiles: str, name: str) -> Tile:
    """Open a tile of the store.

    Parameters
    ----------
    tiles : str
        Folder of the store, a path or any URL that fsspec opens.
    name : str
        Name of the tile.

    Raises
    ------
    TileError
        There is no such tile, it is unfinished, or its metadata are damaged.
    """
    # Counted from the metadata on: opening is part of what a tile costs.
    location, traffic = tile_location(tiles, name), Traffic()
    fetch = traffic.measure(make_fetch(location))
    try:
        metadata = [json.loads(bytes(content)) for content in _fetch_metadata(fetch, tiles, name)]
        attributes = dict(metadata[0]["attributes"])
        # Before anything else is looked at: a tile that is being written may lack what follows.
        if attributes.get("complete") is not True:
            raise TileError(f"tile {name} in {tiles!r} is unfinished: run jobs/ingest_dr4.py again")
        if attributes.get("format") != FORMAT:
            raise TileError(
                f"tile {name} in {tiles!r} has format {attributes.get('format')!r}, not {FORMAT}: ingest it again"
            )
        header = fits.Header.fromstring(str(attributes["wcs"]), sep="\n")
        with warnings.catch_warnings():
            # astropy tells of every card that it puts right, and each worker opens each of its tiles.
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header, naxis=2)
        arrays = {key: ChunkedArray.parse(key, each) for key, each in zip(_OUTSIDE, metadata[1:], strict=True)}
        # Of the image, the first of _OUTSIDE.
        rows, columns = metadata[1]["shape"][-2:]
        bands = tuple(str(band) for band in attributes["bands"])
        checksum = str(attributes["checksum"])
        return Tile(name, bands, (rows, columns), wcs, checksum, attributes, location, traffic, fetch, arrays)
    except DAMAGE as error:
        raise TileError(f"tile {name} in {tiles!r} is damaged: {error}; remove it and ingest it again") from error


def _fetch_metadata(fetch: Fetch, tiles: str, name: str) -> list[bytes]:
    """Read the metadata of the group and of its arrays, at one time."""
    # Zarr would ask for them one after the other, at a latency each.
    group, *arrays = fetch([("zarr.json", 0, None), *((f"{array}/zarr.json", 0, None) for array in _OUTSIDE)])
    if group is None:
        raise MissingTileError(f"there is no tile {name} in {tiles!r}: run jobs/ingest_dr4.py")
    # A tile whose writing was interrupted may lack an array; the group's attributes, written last, tell it.
    return [group, *(b"{}" if array is None else array for array in arrays)]


def read_attributes(tiles: str, name: str) -> JsonObject:
    """Return what ingest recorded about a tile; empty where there is none or it cannot be read."""
    try:
        return dict(_open_group(tile_location(tiles, name)).attrs)
    # A tile that cannot be read is one to be made anew, so it counts as none.
    except (FileNotFoundError, *DAMAGE):
        return {}


def list_tiles(tiles: str) -> list[str]:
    """List the names of the store's tiles, finished or not."""
    fs, root = find_filesystem(tiles)
    # ls raises for a folder that is not there; a store without tiles is none yet.
    if not fs.exists(root):
        return []
    names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(root, detail=False))
    return sorted(name.removesuffix(".zarr") for name in names if name.endswith(".zarr"))


def make_store(location: str, *, read_only: bool = False) -> FsspecStore | LocalStore:
    """Make Zarr's store of a location, which would not know this process's storage options by itself."""
    if "://" not in location:
        return LocalStore(location, read_only=read_only)
    return FsspecStore.from_url(location, storage_options=find_options(location), read_only=read_only)


def _open_group(location: str) -> zarr.Group:
    return zarr.open_group(store=make_store(location, read_only=True), mode="r")


def _as_array(node: Any) -> "zarr.Array[Any]":
    if not isinstance(node, zarr.Array):
        raise TypeError(f"{node!r} is no array")
    return node


def _describe(selection: tuple[Any, ...]) -> str:
    rows, columns = selection[-2:]
    return f"rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
