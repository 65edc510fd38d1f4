"""Seconds and bytes by stage, gathered where the work is done and read where it is reported; progress in the log.

Code that does a stage's work says so with `timed`; it costs nothing unless somebody up the call stack has asked with
`gather`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

RENEWED = 15
"""Level of progress that a terminal alone shows, on a line that it renews; between DEBUG and INFO."""

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_RENEWALS = 0.5

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


class Pace:
    """Log how far something is: at INFO every ten seconds and at its end, and between at `RENEWED`.

    The records have an attribute ``progress``, "going" or "last": a terminal renews one line for all of them.

    Parameters
    ----------
    logger : logging.Logger
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        now = time.monotonic()
        self._last = {logging.INFO: now, RENEWED: now}

    def tell(self, describe: Callable[[], str], *, last: bool = False) -> None:
        """Log a line, which is made only if it is due."""
        now = time.monotonic()
        if last or now - self._last[logging.INFO] >= _SECONDS_BETWEEN_LINES:
            level = logging.INFO
        elif now - self._last[RENEWED] >= _SECONDS_BETWEEN_RENEWALS and self._logger.isEnabledFor(RENEWED):
            level = RENEWED
        else:
            return
        # A line of the log renews that of the terminal, too.
        self._last |= {level: now, RENEWED: now}
        self._logger.log(level, "%s", describe(), extra={"progress": "last" if last else "going"})


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
        self._pace, self._label, self._total = Pace(logger), label, total
        self._start = time.monotonic()

    def tell(self, done: int) -> None:
        """Say that so many are done, unless something was said just now."""
        self._pace.tell(lambda: self._describe(done))

    def _describe(self, done: int) -> str:
        elapsed = time.monotonic() - self._start
        left = elapsed * (self._total - done) / max(done, 1)
        return f"{self._label} {done} of {self._total}, {elapsed:.0f} s so far, {left:.0f} s left at most"
