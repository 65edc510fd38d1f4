"""Seconds and bytes by stage, gathered where the work is done and read where it is reported; progress in the log.

Code that does a stage's work says so with `timed`; it costs nothing unless somebody up the call stack has asked with
`gather`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SECONDS_BETWEEN_LINES = 5.0

# Of the context and not of the process, in which stages may run in threads side by side. A thread that is started
# begins with none: what it measures it must hand back, as the readers in `photoz.inputs` do.
_gathered: ContextVar[dict[str, float] | None] = ContextVar("_gathered", default=None)


@contextmanager
def gather() -> Iterator[dict[str, float]]:
    """Gather what `timed` and `count` tell within the block.

    Yields
    ------
    dict
        Name -> sum; complete when the block ends.

    Examples
    --------
    >>> with gather() as sums:
    ...     count("bytes_read", 512)
    ...     count("bytes_read", 512)
    >>> sums
    {'bytes_read': 1024}
    """
    sums: dict[str, float] = {}
    # A block within another takes all: the outer one has nothing of it unless it is handed on.
    token = _gathered.set(sums)
    try:
        yield sums
    finally:
        _gathered.reset(token)


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Add the seconds the block takes to ``<stage>_s``."""
    start = time.perf_counter()
    try:
        yield
    finally:
        # Also of a block that raises: its seconds were spent.
        count(f"{stage}_s", time.perf_counter() - start)


def count(name: str, amount: float) -> None:
    """Add an amount to a sum."""
    sums = _gathered.get()
    if sums is not None:
        sums[name] = sums.get(name, 0) + amount


class Progress:
    """Say in the log every few seconds how far a computation is; nothing of one that is over before.

    Parameters
    ----------
    logger : logging.Logger
    label : str
        What is counted ("mlp: step").
    total : int
        How many of them there are, or may be at most.
    """

    def __init__(self, logger: logging.Logger, label: str, total: int) -> None:
        self._logger, self._label, self._total = logger, label, total
        self._start = self._last_line = time.monotonic()

    def tell(self, done: int) -> None:
        """Say that so many are done, unless something was said just now."""
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        elapsed = now - self._start
        left = elapsed * (self._total - done) / max(done, 1)
        line = "%s %d of %d, %.0f s so far, %.0f s left at most"
        self._logger.info(line, self._label, done, self._total, elapsed, left)
