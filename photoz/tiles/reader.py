"""Open a tile of the store and read windows of it."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import zarr
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from zarr.errors import BaseZarrError
from zarr.storage import FsspecStore, LocalStore

from photoz.errors import MissingTileError, TileError
from photoz.tiles.metered import MeteredStore, Traffic

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
    _arrays: Mapping[str, zarr.Array[Any]]

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
        if window.size and np.isnan(window).all():
            self._require_shards(y0, y1, x0, x1)
        return window

    def read_mask_window(self, y0: int, y1: int, x0: int, x1: int) -> npt.NDArray[np.uint8]:
        """Read the mask: bit *i* is set where band *i* is masked; shape (y1 - y0, x1 - x0). Raises as `read_window`."""
        mask: npt.NDArray[np.uint8] = self._read("mask", (slice(y0, y1), slice(x0, x1)))
        return mask

    def _read(self, array: str, selection: tuple[slice, ...]) -> npt.NDArray[Any]:
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
        _, rows, columns = image.shards or image.chunks
        fs, root = fsspec.url_to_fs(self.location)
        for row in range(y0 // rows, (y1 - 1) // rows + 1):
            for column in range(x0 // columns, (x1 - 1) // columns + 1):
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
    traffic = Traffic()
    group = _open_group(tiles, name, traffic)
    attributes = dict(group.attrs)
    if attributes.get("complete") is not True:
        raise TileError(f"tile {name} in {tiles!r} is unfinished: run jobs/ingest_dr4.py again")
    if attributes.get("format") != FORMAT:
        raise TileError(
            f"tile {name} in {tiles!r} has format {attributes.get('format')!r}, not {FORMAT}: ingest it again"
        )
    try:
        header = fits.Header.fromstring(str(attributes["wcs"]), sep="\n")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header, naxis=2)
        arrays = {key: _as_array(group[key]) for key in ("image", "mask")}
        _, rows, columns = arrays["image"].shape
        bands = tuple(str(band) for band in attributes["bands"])  # type: ignore[union-attr]
        checksum, location = str(attributes["checksum"]), tile_location(tiles, name)
        return Tile(name, bands, (rows, columns), wcs, checksum, attributes, location, traffic, arrays)
    except DAMAGE as error:
        raise TileError(f"tile {name} in {tiles!r} is damaged: {error}; remove it and ingest it again") from error


def read_attributes(tiles: str, name: str) -> dict[str, Any]:
    """Return what ingest recorded about a tile; empty where there is none or it cannot be read."""
    try:
        return dict(_open_group(tiles, name).attrs)
    except TileError:
        return {}


def list_tiles(tiles: str) -> list[str]:
    """List the names of the store's tiles, finished or not."""
    fs, root = fsspec.url_to_fs(tiles)
    if not fs.exists(root):
        return []
    names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(root, detail=False))
    return sorted(name.removesuffix(".zarr") for name in names if name.endswith(".zarr"))


def _open_group(tiles: str, name: str, traffic: Traffic | None = None) -> zarr.Group:
    location = tile_location(tiles, name)
    try:
        remote = "://" in location
        store = FsspecStore.from_url(location, read_only=True) if remote else LocalStore(location, read_only=True)
        return zarr.open_group(store=MeteredStore(store, traffic), mode="r")
    except FileNotFoundError as error:
        raise MissingTileError(f"there is no tile {name} in {tiles!r}: run jobs/ingest_dr4.py") from error
    except DAMAGE as error:
        raise TileError(f"tile {name} in {tiles!r} is damaged: {error}; remove it and ingest it again") from error


def _as_array(node: Any) -> zarr.Array[Any]:
    if not isinstance(node, zarr.Array):
        raise TypeError(f"{node!r} is no array")
    return node


def _describe(selection: tuple[slice, ...]) -> str:
    rows, columns = selection[-2:]
    return f"rows {rows.start} to {rows.stop}, columns {columns.start} to {columns.stop}"
