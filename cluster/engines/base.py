"""What an engine must be able to do, and what it is told and answers.

The engines do the engine's work: Ray Data schedules, bounds memory and starts lost tasks again; Dask does the same with
its own scheduler. Nothing here keeps a queue.
"""

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from cluster.waiting import choose_waiting
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions, use_options

if TYPE_CHECKING:
    # For the type alone: importing it takes seconds, which the other engines need not wait.
    from distributed import Client

# With glibc's defaults a network's buffers go back to the kernel after every layer: up to half the speed. Dask's own
# default asks for the opposite. One arena, because the other thresholds do nothing for threads that have another, as
# Dask's have that run its tasks.
MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_ARENA_MAX": "1",
}
WORKER_VARIABLES = {**MALLOC_SETTINGS, **choose_waiting()}
"""Environment of processes in which a network runs; on Dask of all workers."""

FAULTS = (AttributeError, ImportError, LookupError, NameError, NotImplementedError, SyntaxError, TypeError)
"""What only an error in the program raises: the same again wherever and whenever it is tried."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Success(Generic[Result]):
    """A task that has been done.

    Parameters
    ----------
    result : object
        What its function returned.
    reruns : int
        Times that the engine began it again, unasked, because a worker was lost.
    """

    result: Result
    reruns: int = 0


@dataclass(frozen=True)
class Failure(Generic[Task]):
    """A task that raised.

    Parameters
    ----------
    task : object
    problem : str
        What it raised; "" where only the engine's log says.
    fault : bool
        Whether that is a fault of the program (`FAULTS`), which no other try mends.
    """

    task: Task
    problem: str
    fault: bool = False

    @classmethod
    def of(cls, task: Task, error: BaseException) -> Self:
        """Make one of what a task raised."""
        fault = isinstance(error, FAULTS)
        return cls(task, f"{type(error).__name__}: {error}" + (f" ({find_place(error)})" if fault else ""), fault)


@dataclass(frozen=True)
class Lost:
    """Times that the engine began work again because a worker was lost, where it does not tell of which task."""

    reruns: int


Outcome = Success[Result] | Failure[Task] | Lost


@dataclass(frozen=True)
class Attempt(Generic[Task, Result]):
    """Calls a task's function where the task is to run.

    Parameters
    ----------
    function : callable
        Takes the task alone.
    storage : StorageOptions
        The run's storage options, for the process it runs in.
    fatal : tuple of exception classes
        What ends the run when it is raised; anything else, and every fault of the program, becomes a `Failure`.
    """

    function: Callable[[Task], Result]
    storage: StorageOptions
    fatal: tuple[type[Exception], ...] = ()

    def __call__(self, task: Task) -> Success[Result] | Failure[Task]:
        """Call the function."""
        # At each call: a worker of a shared cluster may have worked for another run in between.
        use_options(self.storage)
        try:
            return Success(self.function(task))
        # With its place, which is lost on the way from a worker.
        except FAULTS as error:
            return Failure.of(task, error)
        # Before the general case, of which each of these is one: what photoz raises on purpose no second try mends.
        except self.fatal:
            raise
        except Exception as error:  # noqa: BLE001 - a store raises whatever its client does: all is tried again
            return Failure.of(task, error)


def find_place(error: BaseException) -> str:
    """Say where in the program an error arose: of ours, where it passed last, for whoever is to mend it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if {"photoz", "cluster"} & set(Path(frame.filename).parts)] or frames
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "place unknown"


@dataclass(frozen=True)
class Stages(Generic[Task, Result]):
    """The stages that a task goes through: read -> estimate -> write. Each is a plain function, and must pickle.

    Parameters
    ----------
    read : callable
        Takes the task, and waits for storage most of the time.
    prepare : callable
        Loads what ``estimate`` holds in its process, which then need not.
    estimate : callable
        Takes what ``read`` returned; the stage that takes the processor or the GPU.
    write : callable
        Takes what ``estimate`` returned, and returns the result.
    name : callable
        Names a task in messages.
    """

    read: Callable[[Task], Any]
    prepare: Callable[[], object]
    estimate: Callable[[Any], Any]
    write: Callable[[Any], Result]
    name: Callable[[Task], str] = str

    def finish(self, work: Any) -> Result:
        """Run the stages after the first."""
        return self.write(self.estimate(work))

    def __call__(self, task: Task) -> Result:
        """Run all stages one after the other."""
        return self.finish(self.read(task))


@dataclass(frozen=True)
class Needs:
    """What a single large task needs of the machine that runs it.

    Parameters
    ----------
    cpus, gpus : float
    retries : int
        Times it may begin again because its worker was lost.
    check : callable
        Takes the cluster's CPUs and GPUs, and raises `ConfigError` where the task would wait for ever.
    """

    cpus: float
    gpus: float
    retries: int
    check: Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class Engine(ABC):
    """Spreads work: what an engine must do, and what one does that knows no better.

    Parameters
    ----------
    settings : EngineSettings
    storage : StorageOptions
        For every process that works.
    """

    settings: EngineSettings
    storage: StorageOptions

    @abstractmethod
    def run(self, attempt: Attempt[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Call ``attempt(task)`` for every task and yield what it returns, in any order, and what was lost."""

    def run_stages(self, stages: Stages[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Run the stages of every task and yield the outcomes, in any order; what raises never ends the run."""
        # Nothing is fatal here: a partition that raises goes into the next pass, while the others go on.
        return self.run(Attempt(stages, self.storage), tasks)

    def join(self) -> AbstractContextManager[Self]:
        """Join or start the engine's cluster for the time of the block, whose engine this yields.

        Starting workers takes longer than many a task: who runs several things joins once.
        """
        return nullcontext(self)

    def run_alone(self, function: Callable[[], Result], needs: Needs) -> Result:
        """Call a function where there is room for it; in this process where the engine knows no better."""
        # No cluster tells of its CPUs here, so ``needs.check`` has nothing to look at.
        del needs
        return function()

    def lend_dask(self) -> "AbstractContextManager[Client | None]":
        """Lend a Dask client to a library that spreads its work itself, or None from an engine that has none."""
        return nullcontext(None)
