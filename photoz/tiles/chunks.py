"""Cut many windows out of a chunked Zarr v3 array by reading the chunks they touch, each once, and nothing else.

Kept beside zarr-python because it cuts 11,725 cutouts/s from disk where that cuts 719 (docs/benchmarks/reading.md).

zarr-python reads one selection at a time, asks for the index of a shard each time and takes about 1 ms of processor
time a chunk. This reads the two layouts that our writer makes; `photoz.tiles.Tile` leaves any other to zarr-python.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from photoz.tiles.fetch import Fetch, Range

# Zarr v3's sharding codec: this number as offset and length marks a chunk that is not stored.
_ABSENT = 2**64 - 1
_CRC = 4  # bytes
_WHOLE = -1  # in place of the last byte: all of the object
# Of the index, whatever those of the chunks: fixed in size, so that its place at the end of the object is known.
_INDEX_CODECS = ["bytes", "crc32c"]

Chunk = tuple[int, int]
"""Row and column of a chunk in the grid of chunks."""
Place = tuple[str, int, int]
"""Key of the object that holds a chunk, first byte, and byte after the last."""
Piece = tuple[int, slice, slice, slice, slice]
"""Number of a window, rows and columns of a chunk, and those of the window that they go to."""
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ChunkedArray:
    """An array (..., Y, X) of little-endian numbers in square chunks, sharded or not, with zstd, CRC32C or neither.

    Parameters
    ----------
    prefix : str
        Of the keys of its objects.
    shape : tuple of int
    dtype : numpy.dtype
    fill : float
        Value of chunks that are not stored.
    chunk, shard : int
        [pixel] sides of a chunk and of a stored object.
    codecs : tuple of str
        After "bytes", in the order of writing.
    """

    prefix: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: float
    chunk: int
    shard: int
    codecs: tuple[str, ...]
    sharded: bool
    _indices: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    # Of the indices alone. Two threads may read one index at the same time, and both find the same.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def parse(cls, prefix: str, metadata: Mapping[str, Any]) -> "ChunkedArray | None":
        """Make it from an array's ``zarr.json``; None for a layout that is not read here."""
        outer = list(metadata["chunk_grid"]["configuration"]["chunk_shape"])
        codecs, inner, sharded = metadata["codecs"], outer, False
        if codecs[0]["name"] == "sharding_indexed":
            sharding = codecs[0]["configuration"]
            index = [codec["name"] for codec in sharding["index_codecs"]]
            # The specification's default is "end"; another writer may put the index first.
            if index != _INDEX_CODECS or sharding.get("index_location", "end") != "end":
                return None
            codecs, inner, sharded = sharding["codecs"], list(sharding["chunk_shape"]), True
        names = [codec["name"] for codec in codecs]
        shape, leading = tuple(metadata["shape"]), list(metadata["shape"][:-2])
        known = names[0] == "bytes" and codecs[0].get("configuration", {}).get("endian", "little") == "little"
        known &= names[1:] in ([], ["crc32c"], ["zstd"], ["zstd", "crc32c"])
        # Keys like image/c/0/3/5, which `_make_key` writes without asking the metadata.
        known &= metadata["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
        # All bands in one chunk: the keys' and the index's leading places are 0 then.
        known &= all(sides[:-2] == leading and sides[-1] == sides[-2] for sides in (inner, outer))
        if not known:
            return None
        # Zarr's own names of types (float32, uint8) are NumPy's.
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
        # JSON has no NaN: Zarr writes it as text, which float() reads.
        fill = float(metadata["fill_value"])
        return cls(prefix, shape, dtype, fill, inner[-1], outer[-1], tuple(names[1:]), sharded)

    def read_windows(
        self, fetch: Fetch, y0_N: IntArray, x0_N: IntArray, size: int, *, outside: float
    ) -> npt.NDArray[Any]:
        """Read square windows.

        Parameters
        ----------
        fetch : callable
            Reads ranges; see `photoz.tiles.fetch`.
        y0_N, x0_N : ndarray of int64, shape (N,)
            [pixel] first row and column of each window; may be negative or beyond the array.
        size : int
            [pixel] side.
        outside : float
            Value of pixels outside the array.

        Returns
        -------
        ndarray, shape (N, ..., size, size)

        Raises
        ------
        ValueError
            A chunk's checksum or length is wrong.
        FileNotFoundError
            A stored object is missing.
        """
        # What lies outside the array stays this value; no piece of a window is written there.
        windows = np.full((len(y0_N), *self.shape[:-2], size, size), outside, self.dtype)
        pieces = self._split_windows(y0_N, x0_N, size)
        places = self._locate(fetch, sorted(pieces))
        stored = [(chunk, place) for chunk, place in places.items() if place is not None]
        # One call for all chunks, so that what waits for the store waits for them side by side.
        contents = dict(zip((chunk for chunk, _ in stored), _fetch_merged(fetch, [p for _, p in stored]), strict=True))
        for chunk, parts in pieces.items():
            # Decoded once for all windows that touch the chunk, and dropped before the next: memory holds one decoded
            # chunk.
            pixels = self._decode(contents[chunk]) if chunk in contents else None
            for n, rows, columns, to_rows, to_columns in parts:
                windows[n, ..., to_rows, to_columns] = self.fill if pixels is None else pixels[..., rows, columns]
        return windows

    def _split_windows(self, y0_N: IntArray, x0_N: IntArray, size: int) -> dict[Chunk, list[Piece]]:
        """Split windows at the borders of chunks."""
        pieces: dict[Chunk, list[Piece]] = {}
        for n, (y0, x0) in enumerate(zip(y0_N.tolist(), x0_N.tolist(), strict=True)):
            # Columns once a window and not once a row of chunks. Plain integers: at a few chunks a window NumPy's calls
            # cost more than the sums (11,071 to 12,089 cutouts/s, docs/benchmarks/reading.md).
            across = list(self._split_axis(x0, size, self.shape[-1]))
            for row, rows, to_rows in self._split_axis(y0, size, self.shape[-2]):
                for column, columns, to_columns in across:
                    pieces.setdefault((row, column), []).append((n, rows, columns, to_rows, to_columns))
        return pieces

    def _split_axis(self, first: int, size: int, length: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield the chunks that one axis of a window touches: their number, what of them, and where in the window."""
        # Empty for a window wholly outside: low is not less than last then.
        low, last = max(first, 0), min(first + size, length)
        while low < last:
            chunk = low // self.chunk
            origin = chunk * self.chunk
            high = min(last, origin + self.chunk)
            yield chunk, slice(low - origin, high - origin), slice(low - first, high - first)
            low = high

    def _locate(self, fetch: Fetch, chunks: Iterable[Chunk]) -> dict[Chunk, Place | None]:
        """Find where each chunk is stored; None: nowhere."""
        if not self.sharded:
            # An object is a chunk, whose length only the store knows.
            return {chunk: (self._make_key(chunk), 0, _WHOLE) for chunk in chunks}
        side = self.shard // self.chunk
        found: dict[Chunk, Place | None] = {}
        by_key = {chunk: self._make_key((chunk[0] // side, chunk[1] // side)) for chunk in chunks}
        # Those not known yet, all in one call: from a store an index costs a latency of its own, 30 ms in the
        # benchmark.
        self._read_indices(fetch, sorted(set(by_key.values()) - self._indices.keys()))
        for chunk, key in by_key.items():
            offset, length = self._indices[key][chunk[0] % side, chunk[1] % side].tolist()
            found[chunk] = None if offset == _ABSENT else (key, offset, offset + length)
        return found

    def _read_indices(self, fetch: Fetch, keys: Sequence[str]) -> None:
        """Read indices of shards that are not known yet; they are kept as long as the array."""
        side = self.shard // self.chunk
        # Offset and length of each chunk, 8 bytes each: 4 kB of a shard of 16 x 16 chunks, read from the object's end.
        length = 16 * side * side + _CRC
        for key, content in zip(keys, fetch([(key, -length, None) for key in keys]) if keys else [], strict=True):
            if content is None:
                raise FileNotFoundError(f"shard {key} is missing")
            # A shard that was cut short has pixels where its index should be; the checksum would tell it too, but not
            # what it is.
            if len(content) != length:
                raise ValueError(f"shard {key} has an index of {len(content)} bytes, not {length}")
            index = np.frombuffer(_check_crc(content), "<u8").reshape(side, side, 2)
            with self._lock:
                self._indices[key] = index

    def _make_key(self, position: Chunk) -> str:
        # One chunk spans every leading axis, which `parse` asks for.
        zeros = ["0"] * (len(self.shape) - 2)
        return "/".join([self.prefix, "c", *zeros, str(position[0]), str(position[1])])

    def _decode(self, content: Any) -> npt.NDArray[Any]:
        # Reading undoes what writing did, last codec first.
        if self.codecs[-1:] == ("crc32c",):
            content = _check_crc(content)
        if self.codecs[:1] == ("zstd",):
            content = Zstd().decode(content)
        # A view of the bytes that came: windows are cut from it without a copy of the chunk.
        return np.frombuffer(content, self.dtype).reshape(*self.shape[:-2], self.chunk, self.chunk)


def _check_crc(content: Any) -> memoryview:
    # Slices of a view copy nothing; of bytes each would copy a chunk.
    view = memoryview(content)
    body, crc = view[:-_CRC], int.from_bytes(view[-_CRC:], "little")
    if google_crc32c.value(np.frombuffer(body, np.uint8)) != crc:  # an array: memory views are refused
        raise ValueError("a checksum (CRC32C) does not match")
    return body


def _fetch_merged(fetch: Fetch, places: Sequence[Place]) -> list[Any]:
    """Read places, those that follow each other in an object in one request."""
    # By key and first byte, so that what follows in an object follows here.
    order = sorted(range(len(places)), key=lambda n: places[n])
    starts = [n for n, (before, after) in enumerate(pairwise(order), 1) if not _follow(places[before], places[after])]
    groups = [order[low:high] for low, high in pairwise([0, *starts, len(order)]) if high > low]
    ranges: list[Range] = []
    for group in groups:
        key, first, _ = places[group[0]]
        last = places[group[-1]][2]
        ranges.append((key, first, None if last == _WHOLE else last))
    found: list[Any] = [None] * len(places)
    for group, (key, first, end), content in zip(groups, ranges, fetch(ranges), strict=True):
        if content is None:
            raise FileNotFoundError(f"shard {key} is missing")
        # A short answer would otherwise be cut into chunks of the wrong bytes, and without CRC32C into wrong pixels.
        if end is not None and len(content) != end - first:
            raise ValueError(f"shard {key} ends at byte {first + len(content)}, before {end}")
        view = memoryview(content)
        for n in group:
            _, low, high = places[n]
            # All of an object is asked for alone: its last byte is not known, so nothing follows it.
            found[n] = view if end is None else view[low - first : high - first]
    return found


def _follow(before: Place, after: Place) -> bool:
    # Touching ranges alone: bytes between would be read and thrown away.
    return before[0] == after[0] and before[2] == after[1]
