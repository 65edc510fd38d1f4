"""Every id exactly once, proved in bounded memory for a catalogue of any size.

Two facts together prove it. First, each partition's ids are compared with those of the same source partition as
strings, one to one (`compare_ids`): a source's id passes through and so does its position, so nothing is lost or made
up when all partitions agree. Second, no id may come twice in the whole. For that each partition's task leaves 64-bit
hashes of its ids, sorted, in a folder; one task a bucket of hash values then reads its stretch of every file
(`audit_ids`). Equal ids have equal hashes, so a duplicate cannot hide; hashes that are equal are looked up in the
partitions they came from, as strings, so two ids that merely share a hash are not reported.

The hashes also tell what became of ids that the partitions do not agree on: lost, unknown to the sources, or in
another partition.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photoz.audit.columns import read_rows
from photoz.audit.findings import FIRST_IDS, Finding, make_finding
from photoz.catalogue.hats import Partition
from photoz.errors import CatalogueError
from photoz.storage import join, list_folder, open_atomic, open_file

HashArray = npt.NDArray[np.uint64]
_MOST_LOOKED_UP = 10_000  # a billion ids share 0.03 hashes by chance; more than this many are no chance
_SIDES = ("found", "expected")


@dataclass(frozen=True)
class BucketTask:
    """One stretch of hash values, over all partitions."""

    spill: str
    bucket: int
    buckets: int


def plan_buckets(spill: str, buckets: int) -> list[BucketTask]:
    """Plan the comparison of the hashes that the partitions' tasks left in a folder."""
    return [BucketTask(spill, bucket, buckets) for bucket in range(buckets)]


def hash_ids(ids: Iterable[str | None]) -> HashArray:
    """Hash ids to 64 bits (BLAKE2b), the same on every machine; shape (N,).

    >>> hash_ids(["a", "b", "a"])[0] == hash_ids(["a"])[0]
    np.True_
    """
    # Not Python's `hash`, which is salted in each process: workers would disagree. A null id becomes the text "None".
    digests = (hashlib.blake2b(str(value).encode(), digest_size=8).digest() for value in ids)
    # Little-endian on disk and here, so that workers of any kind can read each other's files.
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def compare_ids(found: Sequence[str], expected: Sequence[str]) -> tuple[list[str], list[str]]:
    """Compare a partition's ids with its sources', with their multiplicity.

    Returns
    -------
    (list of str, list of str)
        Missing from ``found``, and found without being expected; sorted.

    >>> compare_ids(["a", "a", "c"], ["a", "b", "c"])
    (['b'], ['a'])
    """
    # Counters, not sets: an id that comes twice and is expected once is extra once.
    missing, extra = Counter(expected), Counter(found)
    missing.subtract(found)
    extra.subtract(expected)
    return sorted((+missing).elements()), sorted((+extra).elements())


def spill_ids(location: str, found: Sequence[str], expected: Sequence[str], *, buckets: int) -> None:
    """Write the sorted hashes of a partition's ids and of its sources', with the bounds of the buckets in front.

    Parameters
    ----------
    location : str
        File to write.
    found, expected : sequence of str
        Ids of the partition and of its sources.
    buckets : int
        Stretches of hash values that are read one at a time.
    """
    sides = [np.sort(hash_ids(found)), np.sort(hash_ids(expected))]
    # The bounds in front let a bucket's task seek to its stretch. Without them each task would read every file whole.
    bounds = [np.append(np.searchsorted(side, _bucket_starts(buckets)), len(side)) for side in sides]
    with open_atomic(location) as file:
        for array in (*(bound.astype("<i8") for bound in bounds), *(side.astype("<u8") for side in sides)):
            file.write(array.tobytes())


def locate_spill(spill: str, partition: Partition) -> str:
    """Return the file of a partition's hashes."""
    return join(spill, f"{partition.name}.ids")


def audit_ids(catalogue: str, sources: str, task: BucketTask) -> list[Finding]:
    """Compare one bucket of hashes over all partitions.

    Parameters
    ----------
    catalogue, sources : str
        The photo-z catalogue and its source catalogue (HATS), which are read where hashes tell of a problem.
    task : BucketTask

    Returns
    -------
    list of Finding
        Lost, unknown, duplicate and misplaced ids.
    """
    bucket = _read_bucket(task)
    classes = _classify(bucket)
    # Lost ids are looked up among the sources, since the catalogue no longer has them.
    findings = [
        _report(check, sources if check == "lost ids" else catalogue, bucket, hashes)
        for check, hashes in classes.items()
        if len(hashes) and check != "duplicate ids"
    ]
    return findings + _report_duplicates(catalogue, sources, bucket, classes["duplicate ids"])


@dataclass(frozen=True, eq=False)
class _Bucket:
    """Hashes of one bucket, ``found`` then ``expected``, and which partition each came from."""

    partitions: list[Partition]
    hashes: dict[str, HashArray]
    places: dict[str, npt.NDArray[np.int32]]


def _classify(bucket: _Bucket) -> dict[str, HashArray]:
    # One number for each hash on both sides, so that counting is by `bincount` and not by a dictionary of a bucket's
    # ids.
    values, number = np.unique(np.concatenate([bucket.hashes[side] for side in _SIDES]), return_inverse=True)
    split = len(bucket.hashes["found"])
    found = np.bincount(number[:split], minlength=len(values))
    expected = np.bincount(number[split:], minlength=len(values))
    # A number for each pair of hash and partition, to see which partition has fewer of an id than its sources.
    pair = number.astype(np.int64) * len(bucket.partitions) + np.concatenate([bucket.places[side] for side in _SIDES])
    pairs, pair_number = np.unique(pair, return_inverse=True)
    short = np.bincount(pair_number[:split], minlength=len(pairs)) < np.bincount(
        pair_number[split:], minlength=len(pairs)
    )
    moved = np.zeros(len(values), dtype=bool)
    # At least 1, as a bucket of no files has no partitions to divide by.
    moved[(pairs[short] // max(1, len(bucket.partitions))).astype(np.int64)] = True
    return {
        "lost ids": values[found < expected],
        "unknown ids": values[expected == 0],
        # An id that is lost is short in its partition too, and told once, as lost.
        "misplaced ids": values[moved & (found >= expected)],
        "duplicate ids": values[found > 1],
    }


def _report(check: str, location: str, bucket: _Bucket, hashes: HashArray) -> Finding:
    side = "expected" if check == "lost ids" else "found"
    # A few alone: all ids of a lost survey would be read from all its partitions again.
    ids, names = _look_up(location, bucket, hashes[:FIRST_IDS], side)
    detail = {
        "lost ids": f"{len(hashes)} sources are not in the catalogue; they belong in {_join(names)}",
        "unknown ids": f"{len(hashes)} ids are not in the source catalogue; they are in {_join(names)}",
        "misplaced ids": f"{len(hashes)} ids are in another partition than their sources; now in {_join(names)}",
    }[check]
    return make_finding(check, _only(names), detail, count=len(hashes), ids=sorted(ids))


def _report_duplicates(catalogue: str, sources: str, bucket: _Bucket, hashes: HashArray) -> list[Finding]:
    # All of them where that can be: an equal hash is proof of nothing until the strings are seen.
    looked_up = hashes if len(hashes) <= _MOST_LOOKED_UP else hashes[:FIRST_IDS]
    ids, names = _look_up(catalogue, bucket, looked_up, "found")
    repeated = sorted(value for value, count in ids.items() if count > 1)
    if not repeated:
        return []
    # Where only a few were looked up, hashes stand for ids: two ids that share one are too rare to change the count.
    count = len(repeated) if looked_up is hashes else len(hashes)
    # Whether to ingest or to infer again is what the reader must decide.
    in_sources, _ = _look_up(sources, bucket, hash_ids(repeated[:FIRST_IDS]), "expected")
    where = "the sources have them twice too" if max(in_sources.values(), default=0) > 1 else "the sources do not"
    detail = f"{count} ids come more than once, in {_join(names)}; {where}"
    return [make_finding("duplicate ids", _only(names), detail, count=count, ids=repeated)]


def _look_up(location: str, bucket: _Bucket, hashes: HashArray, side: str) -> tuple[Counter[str], list[str]]:
    """Read the ids behind hashes from the partitions they came from; count each, and name the partitions."""
    ids: Counter[str] = Counter()
    # Only partitions with one of these hashes are opened.
    wanted = np.isin(bucket.hashes[side], hashes)
    names = []
    for place in np.unique(bucket.places[side][wanted]):
        partition = bucket.partitions[place]
        names.append(partition.name)
        values = read_ids(location, partition)
        ids.update(np.asarray(values, dtype=object)[np.isin(hash_ids(values), hashes)].tolist())
    return ids, names


def read_ids(location: str, partition: Partition) -> list[str]:
    """Read a partition's ids; none where it cannot be read, which its own task reports."""
    try:
        return list(read_rows(location, partition, columns=["object_id"])["object_id"].to_pylist())
    except CatalogueError:
        return []


def _read_bucket(task: BucketTask) -> _Bucket:
    files = list_folder(task.spill, "*.ids")
    # An empty array first, since numpy concatenates no empty list, and a catalogue may be empty.
    hashes: dict[str, list[HashArray]] = {side: [np.empty(0, np.uint64)] for side in _SIDES}
    places: dict[str, list[npt.NDArray[np.int32]]] = {side: [np.empty(0, np.int32)] for side in _SIDES}
    for place, name in enumerate(files):
        for side, values in zip(_SIDES, _read_stretch(name, task), strict=True):
            hashes[side].append(values)
            places[side].append(np.full(len(values), place, np.int32))
    return _Bucket(
        partitions=[_parse_partition(name) for name in files],
        hashes={side: np.concatenate(hashes[side]) for side in _SIDES},
        places={side: np.concatenate(places[side]) for side in _SIDES},
    )


def _read_stretch(name: str, task: BucketTask) -> tuple[HashArray, HashArray]:
    with open_file(name) as file:
        # Two rows of bounds, found and expected, each with the end after the starts, 8 bytes a number.
        header = np.frombuffer(file.read(16 * (task.buckets + 1)), dtype="<i8").reshape(2, -1)
        # The last bound of the first side is its length, and so tells where the second begins.
        starts = (header.nbytes, header.nbytes + 8 * int(header[0, -1]))
        stretches = []
        for start, bounds in zip(starts, header, strict=True):
            low, high = int(bounds[task.bucket]), int(bounds[task.bucket + 1])
            file.seek(start + 8 * low)
            stretches.append(np.frombuffer(file.read(8 * (high - low)), dtype="<u8").astype(np.uint64))
    return stretches[0], stretches[1]


def _bucket_starts(buckets: int) -> HashArray:
    # Python's integers: 2^64 fits none of numpy's, and floats hold 53 of the 64 bits.
    return np.array([(bucket << 64) // buckets for bucket in range(buckets)], dtype=np.uint64)


def _parse_partition(name: str) -> Partition:
    # The name of `locate_spill`; so a file needs no header that says whose it is.
    order, pixel = name.rpartition("/")[2].removesuffix(".ids").split("_")
    return Partition(order=int(order.partition("=")[2]), pixel=int(pixel.partition("=")[2]))


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ""


def _join(names: list[str]) -> str:
    return ", ".join(names[:FIRST_IDS]) + (" and others" if len(names) > FIRST_IDS else "")
