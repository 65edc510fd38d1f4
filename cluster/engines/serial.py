"""No engine at all: the work is done in this process."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cluster.engines.base import Attempt, Engine, Failure, Outcome, Result, Stages, Success, Task

_READ_AHEAD = 2
"""Partitions whose cutouts one process holds, that being estimated included: 100 MB of 5,000 galaxies each."""


@dataclass(frozen=True)
class SerialEngine(Engine):
    """Does one task after the other."""

    def run(self, attempt: Attempt[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Call ``attempt(task)`` for every task in turn."""
        for task in tasks:
            yield attempt(task)

    def run_stages(self, stages: Stages[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Estimate one task while a thread reads the next ones."""
        # One reader: how many ranges a disk or store is asked for at a time is settled beneath it, in
        # `photoz.tiles.fetch`.
        with ThreadPoolExecutor(1) as pool:
            reads: deque[Future[Any]] = deque()
            for number, task in enumerate(tasks):
                # Not all at once: the pool would read on without end, and hold the cutouts of every partition.
                for each in tasks[number + len(reads) : number + _READ_AHEAD]:
                    reads.append(pool.submit(stages.read, each))
                yield _finish(task, reads.popleft(), stages)


def _finish(task: Task, read: Future[Any], stages: Stages[Task, Result]) -> Success[Result] | Failure[Task]:
    try:
        return Success(stages.finish(read.result()))
    except Exception as error:  # noqa: BLE001 - as on the other engines, one task does not end the run
        return Failure.of(task, error)
