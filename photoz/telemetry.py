"""Seconds and bytes by stage, gathered where the work is done and read where it is reported.

Code that does a stage's work says so with `timed`; it costs nothing unless somebody up the call stack has asked with
`gather`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
