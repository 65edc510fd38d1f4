"""Read many ranges of stored objects at once: from the local disk, by obstore, or by whatever fsspec opens.

Kept beside fsspec's own reading because a store gives 2,303 cutouts/s so and 131 by s3fs (docs/benchmarks/reading.md).
"""

import asyncio
import math
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict, TypeVar

from fsspec.asyn import get_loop, sync
from fsspec.implementations.local import LocalFileSystem

from photoz.storage import find_filesystem, find_options

IN_FLIGHT = 256
"""Calls of a process that may be unanswered at one time, each for one range or, by obstore, for all of an object: with
30 ms of latency, at most 8,500 a second."""
_OBSTORE_OPTIONS = {"endpoint_url", "anon", "client_kwargs"}
"""Of s3fs's options, those that can be told to obstore; with any other, s3fs reads."""

Answer = TypeVar("Answer")
Range = tuple[str, int, int | None]
"""Key of an object, first byte and byte after the last; a negative first byte counts from the end."""
Fetch = Callable[[Sequence[Range]], list[bytes | None]]
"""Reads ranges; None where there is no such object."""


class Call(NamedTuple):
    """One call of a function that fetches: requests, [byte] what came back, and [s] when it began and ended."""

    requests: int
    bytes_read: int
    begin: float
    end: float


@dataclass(frozen=True)
class Traffic:
    """What was asked of a store.

    Parameters
    ----------
    calls : list of Call
        Those that have ended, of all threads.
    """

    calls: list[Call] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many ranges were asked for."""
        return sum(call.requests for call in self.calls)

    @property
    def bytes_read(self) -> int:
        """[byte] what came back."""
        return sum(call.bytes_read for call in self.calls)

    @property
    def seconds(self) -> float:
        """[s] during which one call or more was unanswered."""
        # Of several threads' calls the sum would be more than the time that passed.
        return measure_union((call.begin, call.end) for call in self.calls)

    def measure(self, fetch: Fetch) -> Fetch:
        """Return a function that fetches and keeps count here."""

        def measured(ranges: Sequence[Range]) -> list[bytes | None]:
            begin = time.perf_counter()
            found: list[bytes | None] = []
            try:
                found = fetch(ranges)
            finally:
                size = sum(len(content) for content in found if content is not None)
                # Appending to a list is safe between threads; a sum that is counted up is not. A call that raised
                # counts, too: it took its time.
                self.calls.append(Call(len(ranges), size, begin, time.perf_counter()))
            return found

        return measured


def measure_union(spans: Iterable[tuple[float, float]]) -> float:
    """Measure how long at least one of several spans of time lasts.

    >>> measure_union([(0, 2), (5, 6), (1, 3)])
    4.0
    """
    total, reached = 0.0, -math.inf
    # In order of their beginnings, so that what was reached so far is one number.
    for begin, end in sorted(spans):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total


def make_fetch(location: str) -> Fetch:
    """Make the function that reads ranges of the objects of a folder (a path or any URL that fsspec opens)."""
    filesystem, root = find_filesystem(location)
    # By the system's own calls: fsspec opens a file anew for every range.
    if isinstance(filesystem, LocalFileSystem):
        return lambda ranges: _fetch_local(root, ranges)
    # A chain such as simplecache::s3:// begins otherwise, and is left to fsspec with its cache.
    if location.startswith("s3://") and (store := _open_s3(root.partition("/")[0], _describe_s3())) is not None:
        prefix = root.partition("/")[2]
        return lambda ranges: _fetch_from_obstore(store, prefix, ranges)
    # A store without asyncio is asked one range after the other.
    if filesystem.async_impl:
        return lambda ranges: _run(
            _get_from_fsspec(filesystem, f"{root}/{key}", first, last) for key, first, last in ranges
        )
    return lambda ranges: [_read_whole(filesystem, f"{root}/{key}", first, last) for key, first, last in ranges]


def choose_threads(location: str, most: int) -> int:
    """Choose how many threads ask for ranges of a folder: one of a local disk, where others would only wait for Python.

    There the kernel is told of a thread's ranges before they are read.
    """
    return 1 if isinstance(find_filesystem(location)[0], LocalFileSystem) else most


def _fetch_local(root: str, ranges: Sequence[Range]) -> list[bytes | None]:
    files: dict[str, int | None] = {}
    try:
        for key, _, _ in ranges:
            # Each file is opened once for all its ranges: a shard has 256 chunks (docs/benchmarks/reading.md).
            if key not in files:
                files[key] = _open(f"{root}/{key}")
        # All places are known before the first is read, so that the kernel can fetch the others in the meantime.
        places = [_measure(files[key], first, last) for key, first, last in ranges]
        if len(places) > 1 and hasattr(os, "posix_fadvise"):  # not on macOS
            for file, start, length in filter(None, places):
                # It returns at once. Meant for a cold disk, which was not measured (docs/benchmarks/reading.md).
                os.posix_fadvise(file, start, length, os.POSIX_FADV_WILLNEED)
        # pread leaves the file's position alone, and gives fewer bytes at its end; who asked compares the length.
        return [None if place is None else os.pread(place[0], place[2], place[1]) for place in places]
    finally:
        for opened in files.values():
            if opened is not None:
                os.close(opened)


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def _measure(file: int | None, first: int, last: int | None) -> tuple[int, int, int] | None:
    """Return file, first byte and length of a range; None where there is no file."""
    if file is None:
        return None
    # Asked for only where it is needed: most ranges have both ends.
    size = os.fstat(file).st_size if first < 0 or last is None else 0
    start = max(size + first, 0) if first < 0 else first
    return file, start, (size if last is None else last) - start


def _read_whole(filesystem: Any, path: str, first: int, last: int | None) -> bytes | None:
    try:
        return bytes(filesystem.cat_file(path, start=first, end=last))
    except FileNotFoundError:
        return None


def _run(requests: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Run requests on fsspec's loop, side by side with those of other threads."""

    async def gather() -> list[Answer]:
        return await asyncio.gather(*(_limited(request) for request in requests))

    # fsspec's loop runs in a thread of its own, so this works from any thread.
    result: list[Answer] = sync(get_loop(), gather)
    return result


async def _limited(request: Coroutine[Any, Any, Answer]) -> Answer:
    async with _get_slots():
        return await request


@lru_cache(maxsize=1)
def _get_slots() -> asyncio.Semaphore:
    # Made at the first use and once a process: it belongs to the loop that awaits it, of which fsspec has one.
    return asyncio.Semaphore(IN_FLIGHT)


async def _get_from_fsspec(filesystem: Any, path: str, first: int, last: int | None) -> bytes | None:
    try:
        return bytes(await filesystem._cat_file(path, start=first, end=last))
    except FileNotFoundError:
        return None


def _fetch_from_obstore(store: Any, prefix: str, ranges: Sequence[Range]) -> list[Any]:
    """Fetch the ranges of each object by one call, which asks for them side by side: a call costs Python 0.1 ms."""
    by_key: dict[str, list[int]] = {}
    whole = []
    for number, (key, first, last) in enumerate(ranges):
        # get_ranges_async wants both ends; these go one by one.
        if first < 0 or last is None:
            whole.append(number)
        else:
            by_key.setdefault(key, []).append(number)
    objects = [
        _get_ranges(store, f"{prefix}/{key}", [ranges[n][1] for n in numbers], [ranges[n][2] for n in numbers])
        for key, numbers in by_key.items()
    ]
    ends = [_get_end(store, f"{prefix}/{ranges[n][0]}", ranges[n][1]) for n in whole]
    found: list[Any] = [None] * len(ranges)
    # All at one time, whatever object they are of: behind 30 ms of latency a second round costs as much as the first.
    answers = _run([*objects, *ends])
    for numbers, contents in zip([*by_key.values(), *([n] for n in whole)], answers, strict=True):
        # None stands for an object that is missing: all its ranges stay None.
        for n, content in zip(numbers, contents or [], strict=contents is not None):
            found[n] = content
    return found


async def _get_ranges(store: Any, path: str, starts: Sequence[int], ends: Sequence[int | None]) -> list[Any] | None:
    try:
        # coalesce=0: obstore would otherwise read across gaps of up to 1 MB, many times the bytes of a few chunks.
        return [memoryview(part) for part in await store.get_ranges_async(path, starts=starts, ends=ends, coalesce=0)]
    except FileNotFoundError:  # as which obstore raises it, not as its own NotFoundError
        return None


async def _get_end(store: Any, path: str, first: int) -> list[Any] | None:
    """Get an object from a byte on, or its last bytes."""
    try:
        # A suffix range needs no length, so that an index at the end of a shard is one request and not two.
        wanted = {"suffix": -first} if first < 0 else {"offset": first}
        answer = await store.get_async(path, options={"range": wanted} if first else {})
        return [memoryview(await answer.bytes_async())]
    except FileNotFoundError:  # as which obstore raises it, not as its own NotFoundError
        return None


def _describe_s3() -> tuple[tuple[str, str], ...] | None:
    """Translate s3fs's options of this process into obstore's; None where they hold one that cannot be."""
    options = find_options("s3://")
    # A copy, from which what is understood is taken: whatever is left, obstore cannot be told.
    client = dict(options.get("client_kwargs", {}))
    endpoint = options.get("endpoint_url") or client.pop("endpoint_url", "")
    region = client.pop("region_name", "")
    # Slower by s3fs rather than with an option that is silently left out, such as a proxy or a certificate.
    if set(options) - _OBSTORE_OPTIONS or client:
        return None
    told = {"endpoint": endpoint, "region": region, "skip_signature": "true" if options.get("anon") else ""}
    # A tuple, as the cache's key must be hashable.
    return tuple((name, value) for name, value in told.items() if value)


@lru_cache(maxsize=16)
def _open_s3(bucket: str, options: tuple[tuple[str, str], ...] | None) -> Any:
    """Open a bucket by obstore, whose requests take a tenth of s3fs's processor time; None where it cannot be."""
    if options is None:
        return None
    try:
        from obstore.store import S3Store
    except ImportError:
        return None
    told = dict(options)
    # obstore refuses plain HTTP unless it is told.
    client = {"allow_http": True} if told.get("endpoint", "").startswith("http://") else {}
    credentials = None if "skip_signature" in told else _find_credentials()
    return S3Store(bucket, client_options=client, credential_provider=credentials, **told)


class _Credential(TypedDict):
    """What obstore asks for."""

    access_key_id: str
    secret_access_key: str
    token: str | None
    expires_at: datetime


def _find_credentials() -> Callable[[], Any] | None:
    """Have obstore ask botocore for credentials, as s3fs does: profiles and files count, not the environment alone."""
    from botocore.session import Session

    # botocore comes with s3fs; imported here, since only S3 needs it.
    session = Session()
    if session.get_credentials() is None:
        return None

    def provide() -> _Credential:
        # Frozen, so that key, secret and token are of one renewal.
        frozen = session.get_credentials().get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(minutes=5),  # botocore knows when they must be renewed
        }

    return provide
