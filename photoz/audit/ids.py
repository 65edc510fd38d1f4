"""Every id exactly once, proved in bounded memory for a catalogue of any size.

Two facts together prove it. First, each partition's ids are compared with those of the same source partition as
strings, one to one (`compare_ids`): a source's id passes through and so does its position, so nothing is lost or made
up when all partitions agree. Second, no id may come twice in the whole. For that each partition's task leaves 64-bit
hashes of its ids, sorted, in a folder; one task a bucket of hash values then reads its stretch of every file
(`audit_ids`, `photoz.hashes`).

The hashes also tell what became of ids that the partitions do not agree on: lost, unknown to the sources, or in
another partition.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from photoz.audit.columns import read_rows
from photoz.audit.findings import FIRST_IDS, TWICE_IN_SOURCES, Finding, make_finding
from photoz.catalogue.hats import Partition
from photoz.errors import CatalogueError
from photoz.hashes import (
    MOST_LOOKED_UP,
    Bucket,
    BucketTask,
    HashArray,
    hash_ids,
    list_files,
    pick,
    read_bucket,
    write_hashes,
)
from photoz.storage import join

_SIDES = ("found", "expected")


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


def spill_ids(location: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Write the sorted hashes of a partition's ids and of its sources'.

    Parameters
    ----------
    location : str
        File to write.
    found, expected : sequence of str
        Ids of the partition and of its sources.
    """
    write_hashes(location, hash_ids(found), hash_ids(expected))


def locate_spill(spill: str, partition: Partition) -> str:
    """Return the file of a partition's hashes."""
    return join(spill, f"{partition.name}.ids")


def audit_ids(catalogue: str, sources: str, task: BucketTask, *, keep: bool = False) -> list[Finding]:
    """Compare one bucket of hashes over all partitions.

    Parameters
    ----------
    catalogue, sources : str
        The photo-z catalogue and its source catalogue (HATS), which are read where hashes tell of a problem.
    task : BucketTask
    keep : bool
        Whether an id may come as often as it does in the sources.

    Returns
    -------
    list of Finding
        Lost, unknown, duplicate and misplaced ids.
    """
    bucket = read_bucket(task, _SIDES)
    classes = _classify(bucket, keep)
    # Lost ids are looked up among the sources, since the catalogue no longer has them.
    findings = [
        _report(check, sources if check == "lost ids" else catalogue, bucket, hashes)
        for check, hashes in classes.items()
        if len(hashes) and check != "duplicate ids"
    ]
    return findings + _report_duplicates(catalogue, sources, bucket, classes["duplicate ids"])


def _classify(bucket: Bucket, keep: bool) -> dict[str, HashArray]:
    # One number for each hash on both sides, so that counting is by `bincount` and not by a dictionary of a bucket's
    # ids.
    values, number = np.unique(np.concatenate([bucket.hashes[side] for side in _SIDES]), return_inverse=True)
    split = len(bucket.hashes["found"])
    found = np.bincount(number[:split], minlength=len(values))
    expected = np.bincount(number[split:], minlength=len(values))
    # A number for each pair of hash and partition, to see which partition has fewer of an id than its sources.
    pair = number.astype(np.int64) * len(bucket.files) + np.concatenate([bucket.places[side] for side in _SIDES])
    pairs, pair_number = np.unique(pair, return_inverse=True)
    short = np.bincount(pair_number[:split], minlength=len(pairs)) < np.bincount(
        pair_number[split:], minlength=len(pairs)
    )
    moved = np.zeros(len(values), dtype=bool)
    # At least 1, as a bucket of no files has no partitions to divide by.
    moved[(pairs[short] // max(1, len(bucket.files))).astype(np.int64)] = True
    return {
        "lost ids": values[found < expected],
        "unknown ids": values[expected == 0],
        # An id that is lost is short in its partition too, and told once, as lost.
        "misplaced ids": values[moved & (found >= expected)],
        "duplicate ids": values[(found > 1) & ~(keep & (found == expected))],
    }


def _report(check: str, location: str, bucket: Bucket, hashes: HashArray) -> Finding:
    side = "expected" if check == "lost ids" else "found"
    # A few alone: all ids of a lost survey would be read from all its partitions again.
    ids, names = _look_up(location, bucket, hashes[:FIRST_IDS], side)
    detail = {
        "lost ids": f"{len(hashes)} sources are not in the catalogue; they belong in {_join(names)}",
        "unknown ids": f"{len(hashes)} ids are not in the source catalogue; they are in {_join(names)}",
        "misplaced ids": f"{len(hashes)} ids are in another partition than their sources; now in {_join(names)}",
    }[check]
    return make_finding(check, _only(names), detail, count=len(hashes), ids=sorted(ids))


def _report_duplicates(catalogue: str, sources: str, bucket: Bucket, hashes: HashArray) -> list[Finding]:
    # All of them where that can be: an equal hash is proof of nothing until the strings are seen.
    looked_up = hashes if len(hashes) <= MOST_LOOKED_UP else hashes[:FIRST_IDS]
    ids, names = _look_up(catalogue, bucket, looked_up, "found")
    repeated = sorted(value for value, count in ids.items() if count > 1)
    if not repeated:
        return []
    # Where only a few were looked up, hashes stand for ids: two ids that share one are too rare to change the count.
    count = len(repeated) if looked_up is hashes else len(hashes)
    # Whether to ingest or to infer again is what the reader must decide.
    in_sources, _ = _look_up(sources, bucket, hash_ids(repeated[:FIRST_IDS]), "expected")
    too = max(in_sources.values(), default=0) > 1
    where = "the sources have them twice too" if too else "the sources do not"
    detail = f"{count} ids come more than once, in {_join(names)}; {where}"
    # Inference would make the same of the same sources, however often it is run.
    remedy = TWICE_IN_SOURCES if too else ""
    return [make_finding("duplicate ids", _only(names), detail, count=count, ids=repeated, remedy=remedy)]


def _look_up(location: str, bucket: Bucket, hashes: HashArray, side: str) -> tuple[Counter[str], list[str]]:
    """Read the ids behind hashes from the partitions they came from; count each, and name the partitions."""
    partitions = [_parse_partition(name) for name in list_files(bucket, side, hashes)]
    ids = pick((read_ids(location, partition) for partition in partitions), hashes)
    return Counter(ids.to_pylist()), [partition.name for partition in partitions]


def read_ids(location: str, partition: Partition) -> pa.ChunkedArray:
    """Read a partition's ids; none where it cannot be read, which its own task reports."""
    try:
        return read_rows(location, partition, columns=["object_id"])["object_id"]
    except CatalogueError:
        return pa.chunked_array([], pa.string())


def _parse_partition(name: str) -> Partition:
    # The name of `locate_spill`; so a file needs no header that says whose it is.
    order, pixel = name.rpartition("/")[2].removesuffix(".ids").split("_")
    return Partition(order=int(order.partition("=")[2]), pixel=int(pixel.partition("=")[2]))


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ""


def _join(names: list[str]) -> str:
    return ", ".join(names[:FIRST_IDS]) + (" and others" if len(names) > FIRST_IDS else "")
