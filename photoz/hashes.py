"""Which identifiers of any number of rows come more than once, told in bounded memory by hashes of 64 bits.

Each part's task leaves the sorted hashes of its identifiers in a folder, with the bounds of stretches of hash values in
front (`write_hashes`). One task a bucket of hash values then reads its stretch of every file (`read_bucket`). Equal
identifiers have equal hashes, so none that comes twice can hide; those behind hashes that are equal are looked up where
they came from, as text (`list_files`, `pick`), so that two that merely share a hash are not reported.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.storage import list_folder, open_atomic, open_file

HashArray = npt.NDArray[np.uint64]

BINS = 1024
"""Stretches of hash values whose bounds stand in front of a file. A bucket is one or more of them, so that how many
buckets there are can be settled when all rows are counted."""
MOST_LOOKED_UP = 10_000
"""Equal hashes that are looked up, where it is enough to know whether there is any such identifier: a billion share
0.03 hashes by chance; more than this many are no chance."""
_BYTES_PER_ID = 200  # a bucket's task of the audit takes 170 a row at its peak, one that looks all of them up as much


@dataclass(frozen=True)
class BucketTask:
    """Some stretches of hash values, from ``start`` and up to, without, ``stop``, over all files of a folder."""

    folder: str
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Bucket:
    """Hashes of one bucket by their side, and which of the files each came from (its place in the list)."""

    files: list[str]
    hashes: dict[str, HashArray]
    places: dict[str, npt.NDArray[np.int32]]


def plan_buckets(folder: str, rows: int, memory_gib: float) -> list[BucketTask]:
    """Plan the comparison of the hashes that tasks left in a folder.

    Parameters
    ----------
    folder : str
    rows : int
        Whose hashes lie there.
    memory_gib : float
        [GiB] a worker may take, which bounds how many identifiers are compared at one time.

    Returns
    -------
    list of BucketTask

    Examples
    --------
    >>> len(plan_buckets("", 1_240_000, 2.0)), len(plan_buckets("", 1_000_000_000, 2.0))
    (1, 94)
    """
    count = min(BINS, max(1, math.ceil(rows * _BYTES_PER_ID / (memory_gib * 2**30))))
    return [BucketTask(folder, number * BINS // count, (number + 1) * BINS // count) for number in range(count)]


def hash_ids(ids: Iterable[str | None]) -> HashArray:
    """Hash identifiers to 64 bits (BLAKE2b), the same on every machine; shape (N,).

    >>> hash_ids(["a", "b", "a"])[0] == hash_ids(["a"])[0]
    np.True_
    """
    # Not Python's `hash`, which is salted in each process: workers would disagree. A null id becomes the text "None".
    digests = (hashlib.blake2b(str(value).encode(), digest_size=8).digest() for value in ids)
    # Little-endian on disk and here, so that workers of any kind can read each other's files.
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def write_hashes(location: str, *sides: HashArray) -> None:
    """Write a part's hashes, sorted, with the bounds of their stretches in front.

    Parameters
    ----------
    location : str
        File to write; its name ends in ``.ids``.
    *sides : numpy.ndarray of uint64
        Hashes that are kept apart: of the same number of sides in every file of a folder.
    """
    ordered = [np.sort(side) for side in sides]
    # The bounds in front let a bucket's task seek to its stretch. Without them each task would read every file whole,
    # as it does those of few identifiers: of a hundred thousand partitions the bounds would take more than a gigabyte.
    bins = BINS if max(map(len, sides)) > BINS else 1
    bounds = [np.append(np.searchsorted(side, _find_starts(bins)), len(side)) for side in ordered]
    # Read by this run alone, and removed at its end.
    with open_atomic(location, lasting=False) as file:
        file.write(bins.to_bytes(8, "little"))
        for array in (*(bound.astype("<i8") for bound in bounds), *(side.astype("<u8") for side in ordered)):
            file.write(array.tobytes())


def read_bucket(task: BucketTask, sides: Sequence[str]) -> Bucket:
    """Read one bucket of hashes from all files of its folder.

    Parameters
    ----------
    task : BucketTask
    sides : sequence of str
        Names for what `write_hashes` was given, in its order.
    """
    files = list_folder(task.folder, "*.ids")
    # An empty array first, since numpy concatenates no empty list, and a catalogue may be empty.
    hashes: dict[str, list[HashArray]] = {side: [np.empty(0, np.uint64)] for side in sides}
    places: dict[str, list[npt.NDArray[np.int32]]] = {side: [np.empty(0, np.int32)] for side in sides}
    for place, name in enumerate(files):
        for side, values in zip(sides, _read_stretch(name, task, len(sides)), strict=True):
            hashes[side].append(values)
            places[side].append(np.full(len(values), place, np.int32))
    return Bucket(
        files,
        {side: np.concatenate(hashes[side]) for side in sides},
        {side: np.concatenate(places[side]) for side in sides},
    )


def list_files(bucket: Bucket, side: str, hashes: HashArray) -> list[str]:
    """List the files of a bucket with one of some hashes: no others need be looked through for identifiers."""
    wanted_N = _find_among(bucket.hashes[side], np.sort(hashes))
    return [bucket.files[place] for place in np.unique(bucket.places[side][wanted_N])]


def pick(batches: Iterable[pa.Array | pa.ChunkedArray], hashes: HashArray) -> pa.ChunkedArray:
    """Pick the identifiers with one of some hashes, once for each row that has them; a null is the text "None".

    >>> pick([pa.array(["a", "b"]), pa.array(["b", None])], hash_ids(["b", None])).to_pylist()
    ['b', 'b', 'None']
    """
    found, ordered = [pa.array([], pa.string())], np.sort(hashes)
    for ids in batches:
        among_N = _find_among(hash_ids(ids.to_pylist()), ordered)
        picked = pc.fill_null(ids.filter(pa.array(among_N)).cast(pa.string()), "None")
        found += picked.chunks if isinstance(picked, pa.ChunkedArray) else [picked]
    return pa.chunked_array(found)


def _find_among(values: HashArray, ordered: HashArray) -> npt.NDArray[np.bool_]:
    # Not `isin`, which sorts them anew for each batch: there may be millions.
    if not len(ordered):
        return np.zeros(len(values), np.bool_)
    # What is larger than all of them is placed behind the end.
    among_N: npt.NDArray[np.bool_] = ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values
    return among_N


def _read_stretch(name: str, task: BucketTask, sides: int) -> list[HashArray]:
    with open_file(name) as file:
        bins = int.from_bytes(file.read(8), "little")
        # A row of bounds for each side, the end after the starts, 8 bytes a number.
        header = np.frombuffer(file.read(8 * sides * (bins + 1)), dtype="<i8").reshape(sides, -1)
        # The last bound of a side is its length, and so tells where the next begins.
        starts = 8 + header.nbytes + 8 * np.concatenate([[0], np.cumsum(header[:-1, -1])])
        first, last = (task.start, task.stop) if bins == BINS else (0, 1)
        stretches = []
        for start, bounds in zip(starts.tolist(), header, strict=True):
            low, high = int(bounds[first]), int(bounds[last])
            file.seek(start + 8 * low)
            stretches.append(_cut(np.frombuffer(file.read(8 * (high - low)), dtype="<u8").astype(np.uint64), task))
    return stretches


def _cut(ordered: HashArray, task: BucketTask) -> HashArray:
    """Take the hashes of a bucket from sorted ones."""
    starts = _find_starts(BINS)
    low = int(np.searchsorted(ordered, starts[task.start]))
    high = int(np.searchsorted(ordered, starts[task.stop])) if task.stop < BINS else len(ordered)
    return ordered[low:high]


@cache
def _find_starts(bins: int) -> HashArray:
    """Find where each of some equal stretches of hash values begins."""
    # Python's integers: 2^64 fits none of numpy's, and floats hold 53 of the 64 bits.
    return np.array([(number << 64) // bins for number in range(bins)], dtype=np.uint64)
