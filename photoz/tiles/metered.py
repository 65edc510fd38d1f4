"""A Zarr store that counts what is asked of it."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore


@dataclass
class Traffic:
    """What was asked of a store, and how long at least one request was under way.

    Parameters
    ----------
    requests, bytes_read : int
    seconds : float
        [s] during which one request or more was unanswered.
    """

    requests: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    _open: int = 0
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self) -> None:
        """Note a request."""
        with self._lock:
            self.requests += 1
            if self._open == 0:
                self._since = time.perf_counter()
            self._open += 1

    def end(self, answer: int) -> None:
        """Note an answer of so many bytes."""
        with self._lock:
            self.bytes_read += answer
            self._open -= 1
            if self._open == 0:
                self.seconds += time.perf_counter() - self._since


class MeteredStore(WrapperStore[Store]):
    """Pass every request on, and keep count of the reads in ``traffic``."""

    def __init__(self, store: Store, traffic: Traffic | None = None) -> None:
        super().__init__(store)
        self.traffic = traffic if traffic is not None else Traffic()

    def _with_store(self, store: Store) -> "MeteredStore":
        return MeteredStore(store, self.traffic)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a value or a part of it."""
        async with self._metered() as answer:
            value = await self._store.get(key, prototype, byte_range)
            answer.append(len(value) if value is not None else 0)
        return value

    @asynccontextmanager
    async def _metered(self) -> AsyncIterator[list[int]]:
        self.traffic.begin()
        answer: list[int] = []
        try:
            yield answer
        finally:
            self.traffic.end(sum(answer))
