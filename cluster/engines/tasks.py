"""One call that runs the same plain function over many tasks on any engine; what raised is handed to it once more."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cluster.engines.base import Attempt, Engine, Failure, Lost, Outcome, Result, Success, Task
from cluster.engines.retries import describe_fault, run_passes
from cluster.telemetry import Progress
from photoz.errors import PhotozError, ProgramError


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    engine: Engine,
    *,
    label: str,
    last: Callable[[Task], Result] | None = None,
    again: Counter[str] | None = None,
) -> Iterator[Result]:
    """Run ``function(task)`` for every task and yield the results as they finish.

    A task that raises (a store that does not answer) is tried again after a pause, ``engine.retries`` times: Dask would
    do so only at once, and Ray Data not at all. What photoz raises on purpose (`PhotozError`), and what a task raises
    the last time, ends the run; so does a fault of the program (`cluster.engines.base.FAULTS`), when the others are
    through.

    Parameters
    ----------
    function : callable
        Module-level function; what it needs besides the task is bound to it by `functools.partial`. It, what is bound
        and the tasks must pickle. The galaxies of the progress line are the ``rows`` of its results.
    tasks : sequence
        Work units, independent of each other.
    engine : Engine
        From `cluster.engines.choose`.
    label : str
        What the tasks are, for the progress line ("tiles").
    last : callable, optional
        In place of ``function`` when a task is tried for the last time.
    again : Counter, optional
        Counts what is done again: "retried", times that a task raised and was tried again; "reruns", times that the
        engine began again, unasked, what a lost worker had.

    Yields
    ------
    object
        One result a task, in any order.

    Raises
    ------
    ProgramError
        A task raised what only an error in the program raises.
    """
    retries = engine.settings.retries
    progress = Progress(len(tasks), label)
    # Not ``again or ...``: an empty Counter is false, and the caller's own would stay empty.
    counts = Counter[str]() if again is None else again

    def run_pass(remaining: Sequence[Task], number: int) -> Iterator[Outcome[Result, Task]]:
        # Passes count from 1, so that this is the one after all retries.
        final = number > retries
        # The last time any error ends the run: results that lack one would look like all of them.
        fatal = (Exception,) if final else (PhotozError,)
        return engine.run(Attempt(last if final and last else function, engine.storage, fatal), remaining)

    def describe(failures: Sequence[Failure[Task]]) -> str:
        return f"{len(failures)} {label} failed ({failures[0].problem})"

    for outcome in run_passes(run_pass, tasks, retries, describe):
        match outcome:
            case Success(result=result):
                progress.advance(galaxies=_count_rows(result))
                yield result
            case Failure(fault=True, problem=problem):
                raise ProgramError(describe_fault(label, problem))
            case Failure():
                counts["retried"] += 1
                progress.retry()
            case Lost(reruns=reruns):
                counts["reruns"] += reruns


def _count_rows(result: Any) -> int:
    # By name: what audit, ingest and n(z) return has no class in common, and not all of it counts rows.
    return int(result.get("rows", 0) if isinstance(result, Mapping) else getattr(result, "rows", 0))
