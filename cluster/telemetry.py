"""Progress of long work, told in the log: inside jobs Ray shows none of its own."""

import logging
import time

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Count finished tasks and galaxies, and log done/total, rate and time left every few seconds.

    Parameters
    ----------
    total : int
        Number of tasks.
    label : str
        What the tasks are ("partitions").
    """

    def __init__(self, total: int, label: str) -> None:
        self._total = total
        self._label = label
        self._done = 0
        self._galaxies = 0
        self._start = time.monotonic()
        self._last_line = self._start

    @property
    def galaxies(self) -> int:
        """Galaxies finished so far."""
        return self._galaxies

    @property
    def seconds(self) -> float:
        """[s] since the work began."""
        return time.monotonic() - self._start

    def advance(self, *, galaxies: int = 0) -> None:
        """Count one more finished task with this many galaxies."""
        self._done += 1
        self._galaxies += galaxies
        now = time.monotonic()
        if self._done == self._total or now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            logger.info("%s", self.describe())

    def describe(self) -> str:
        """Return the progress as one line."""
        elapsed = max(self.seconds, 1e-9)
        left = elapsed * (self._total - self._done) / max(self._done, 1)
        line = f"{self._done}/{self._total} {self._label}"
        if self._galaxies:
            line += f", {self._galaxies:,} galaxies, {self._galaxies / elapsed:,.0f}/s"
        return f"{line}, {elapsed:.0f} s so far, about {left:.0f} s left"
