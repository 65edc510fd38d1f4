"""A fourth engine, all of it: processes of this machine. What an engine must do at least, and where it is named."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from cluster.engines.base import Attempt, Engine, Outcome, Result, Task


@dataclass(frozen=True)
class ProcessEngine(Engine):
    """Runs tasks in processes of `concurrent.futures`."""

    def run(self, attempt: Attempt[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Call ``attempt(task)`` in a process."""
        # Not forked: the driver may hold threads.
        with ProcessPoolExecutor(self.settings.workers, multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(attempt, task) for task in tasks]):
                yield future.result()
