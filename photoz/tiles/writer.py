"""Write a tile of the store, a stripe of shards at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import Crc32cCodec, ZstdCodec

from photoz.errors import TileError
from photoz.metrics import MAD_TO_SIGMA
from photoz.storage import name_full_disk
from photoz.tiles.reader import DAMAGE, FORMAT, make_store, read_attributes, tile_location
from photoz.tiles.settings import Tiles

ZSTD_LEVEL = 1
"""Sky noise does not compress: higher levels cost time and save nothing (docs/benchmarks)."""


@dataclass(frozen=True)
class TileTemplate:
    """What a tile will hold: its name, bands, rows and columns, and whether weights come with it."""

    name: str
    bands: tuple[str, ...]
    shape: tuple[int, int]
    weights: bool = False


class TileWriter:
    """Write one tile; a reader sees it only once `finish` has been called.

    Parameters
    ----------
    tiles : str
        Folder of the store, a path or any URL that fsspec opens.
    template : TileTemplate
        What the tile will hold.
    layout : photoz.tiles.settings.Tiles
        Chunks, shards, codec and checksums.
    """

    def __init__(self, tiles: str, template: TileTemplate, layout: Tiles) -> None:
        self.template = template
        self._tiles = tiles
        self._layout = layout
        # Before the arrays are replaced: a crash in between must leave no tile that calls itself complete.
        invalidate_tile(tiles, template.name)
        self._group = zarr.create_group(
            store=make_store(tile_location(tiles, template.name)), overwrite=True, zarr_format=3
        )
        # Whole at once, though stripes come one by one: readers take the shape of the tile from the arrays.
        stack = (len(template.bands), *template.shape)
        self._arrays = {
            "image": self._create("image", stack, "float32", np.nan),
            # What was never written counts as masked in every band, not as good.
            "mask": self._create("mask", template.shape, "uint8", 255),
        }
        if template.weights:
            self._arrays["weight"] = self._create("weight", stack, "float32", np.nan)

    @property
    def stripe(self) -> int:
        """[pixel] rows to write at a time: those of a shard, so that no shard is written twice."""
        return self._layout.shard

    def write_rows(self, y0: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write a stripe.

        Parameters
        ----------
        y0 : int
            [pixel] first row, a multiple of `stripe`.
        arrays : mapping of str to ndarray
            ``image`` and ``weight`` of shape (bands, rows, columns), ``mask`` of shape (rows, columns).

        Raises
        ------
        StorageFullError
            The disk has no room left.
        OSError
            The store does not take the data.
        """
        with name_full_disk(self._tiles):
            self._write_rows(y0, arrays)

    def _write_rows(self, y0: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, stripe in arrays.items():
            array = self._arrays[name]
            for x0 in range(0, stripe.shape[-1], self._layout.shard):
                # A shard at a time: Zarr reads a shard that is written in parts, and writes it again.
                block = stripe[..., x0 : x0 + self._layout.shard]
                if name == "image" and self._layout.quantize:
                    # The noise is that of this shard, so the step follows the depth over the tile.
                    block = quantize(block, self._layout.quantize)
                array[..., y0 : y0 + block.shape[-2], x0 : x0 + block.shape[-1]] = block

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Record what the tile is and that it is complete, in one last write."""
        own = {"format": FORMAT, "bands": list(self.template.bands), "complete": True}
        # One object, zarr.json, holds them all: the tile is complete in the same write that describes it. own comes
        # last, lest an attribute overrule it.
        self._group.update_attributes({**attributes, **own})

    def _create(self, name: str, shape: tuple[int, ...], dtype: str, fill: float) -> "zarr.Array[Any]":
        # All bands in one chunk: a cutout asks for the same pixels of each, in one range.
        shard = (*shape[:-2], self._layout.shard, self._layout.shard)
        chunk = (*shape[:-2], self._layout.chunk, self._layout.chunk)
        # A mask compresses to next to nothing, so that one request reads a shard of it whole.
        compress = name == "mask" or self._layout.codec == "zstd"
        return self._group.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=shard if name == "mask" else chunk,
            shards=None if name == "mask" else shard,
            fill_value=fill,
            compressors=_make_codecs(compress, self._layout.checksum),
            # Blank shards are written too, so that a lost one can be told from a blank one.
            config={"write_empty_chunks": True},
        )


def quantize(image_BYX: npt.NDArray[np.float32], fraction: float) -> npt.NDArray[np.float32]:
    """Round each band to multiples of the largest power of two that is no more than a fraction of its noise.

    Parameters
    ----------
    image_BYX : ndarray of float32, shape (B, Y, X)
        NaN stays NaN.
    fraction : float
        Of the noise: the standard deviation that the median absolute difference of neighbouring pixels tells, which
        correlated noise makes smaller than it is, and so the rounding finer.

    Returns
    -------
    ndarray of float32, shape (B, Y, X)
        Off by half a step at most; a band without noise is returned as it is.

    Examples
    --------
    >>> sky = np.random.default_rng(0).normal(size=(1, 100, 100)).astype(np.float32)
    >>> steps = quantize(sky, 0.25) / 0.125
    >>> bool((steps == np.round(steps)).all())
    True
    """
    rounded = np.array(image_BYX)
    for band in rounded:
        # Of neighbours and not from the mean: gradients of the sky and most light of sources drop out.
        differences = np.abs(np.diff(band, axis=-1))
        known = differences[np.isfinite(differences)]
        # The difference of two pixels has twice the variance of one.
        noise = MAD_TO_SIGMA * float(np.median(known)) / np.sqrt(2) if len(known) else 0.0
        if noise > 0:
            # A power of two leaves zeros at the end of the mantissa, which zstd packs; another step would fill it
            # again.
            step = np.float32(2.0 ** np.floor(np.log2(fraction * noise)))
            band[:] = np.round(band / step) * step
    return rounded


def invalidate_tile(tiles: str, name: str) -> None:
    """Mark a tile as unfinished, so that nobody reads what no longer fits the survey's files or the settings.

    Raises
    ------
    TileError
        What is there is no tile that can be marked.
    """
    # Nothing is written where there is no such tile, or it is marked already.
    if read_attributes(tiles, name).get("complete"):
        try:
            zarr.open_group(store=make_store(tile_location(tiles, name)), mode="r+").update_attributes(
                {"complete": False}
            )
        except DAMAGE as error:
            raise TileError(f"tile {name} in {tiles!r} cannot be replaced: {error}; remove it by hand") from error


def _make_codecs(compress: bool, checksum: bool) -> tuple[BytesBytesCodec, ...]:
    # The checksum comes last, over the bytes as they are stored, so that damage is told before zstd sees it.
    codecs: list[BytesBytesCodec] = [ZstdCodec(level=ZSTD_LEVEL)] if compress else []
    return (*codecs, Crc32cCodec()) if checksum else tuple(codecs)
