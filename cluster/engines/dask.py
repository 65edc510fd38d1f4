"""Dask distributed: a scheduler of its own, on this machine or wherever its workers are."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.comm import get_address_host, normalize_address

from cluster.engines.address import check_address
from cluster.engines.base import (
    WORKER_VARIABLES,
    Attempt,
    Engine,
    Failure,
    Lost,
    Outcome,
    Result,
    Stages,
    Success,
    Task,
)
from photoz.errors import ConfigError
from photoz.settings.engine import EngineSettings

_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"  # of Dask's settings
MOST_TASKS, TASKS_A_CORE = 2000, 10
"""Of Dask, or for each core where that is more; of further ones some share one, since each costs the driver 1.5 ms."""
# Of 10,000 tasks the driver grew by 116 MiB when Dask held all, by 19 when it held a thousand (docs/scaling.md).
# Counted in tasks of ours, of which a task of Dask may be several: a worker keeps the results of all of them.
_LEAST_HELD, _GROUP = 1000, 200  # that Dask's scheduler knows of at one time, and that go to it together


@dataclass(frozen=True)
class DaskEngine(Engine):
    """Runs each task on one of Dask's workers; its stages go one after the other, in one task of Dask.

    Parameters
    ----------
    client : distributed.Client or None
        Of the cluster that has been joined.
    """

    client: Client | None = None

    def run(self, attempt: Attempt[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Call ``attempt(task)`` on the workers."""
        started = time.time()
        with self.lend_dask() as client:
            most = max(MOST_TASKS, TASKS_A_CORE * sum(client.ncores().values()))
            size = max(1, -(-len(tasks) // most))
            groups = [tasks[first : first + size] for first in range(0, len(tasks), size)]
            for _, future in map_dask(client, _call_attempts, groups, size, attempt=attempt):
                # Raises what `Attempt` takes for fatal, and KilledWorker of a task that has lost too many: either ends
                # the run.
                yield from future.result()
                # A worker keeps a result until its future is released, so each is as soon as it has been read.
                future.release()
            yield Lost(count_lost(client, _call_attempts, since=started))

    def run_stages(self, stages: Stages[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Run the stages on the workers; a task whose workers were lost too often fails like one that raised."""
        started = time.time()
        with self.lend_dask() as client:
            for task, future in map_dask(client, _call_stages, tasks, stages=stages):
                # Not by ``result()``, which would raise: one partition's error must not end the others.
                if future.status == "finished":
                    yield Success(future.result())
                else:
                    yield Failure.of(task, future.exception())
                future.release()
            yield Lost(count_lost(client, _call_stages, since=started))

    @contextmanager
    def join(self) -> Iterator[Self]:
        """Connect to the scheduler that the settings name, or run a LocalCluster, once for all that is nested."""
        with self.lend_dask() as client:
            yield replace(self, client=client)

    @contextmanager
    def lend_dask(self) -> Iterator[Client]:
        """Lend the client of the cluster that has been joined, or join one for the time of the block."""
        # What is nested shares one client; a LocalCluster more would start its workers anew.
        if self.client is not None:
            yield self.client
        else:
            with _connect(self.settings) as client:
                yield client


@contextmanager
def _connect(settings: EngineSettings) -> Iterator[Client]:
    # Workers of a cluster that stands already keep their environment: there `photoz.inference.keep_memory` tells
    # malloc.
    if settings.address:
        check_address(settings.address, "engine.address", "leave it out, and workers of this machine are started")
        with _join(settings.address) as client:
            yield client
        return
    # These variables are read once, when a process starts, so the nanny must set them before it spawns the worker.
    # Beside Dask's own, or the user's, of one thread for each library: without them each worker's would take all cores.
    variables = {**dask.config.get(_ENVIRONMENT, {}), **WORKER_VARIABLES}
    # One thread a worker: storage options, torch's threads and the loaded estimator are the process's.
    with (
        dask.config.set({_ENVIRONMENT: variables}),
        LocalCluster(n_workers=settings.workers, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        if settings.most_workers > settings.workers:
            local.adapt(minimum=settings.workers, maximum=settings.most_workers)
        yield client


def _join(address: str) -> Client:
    # Not by a Client that fails: it stays what all of Dask in this process would use.
    try:
        get_address_host(normalize_address(address))
    except ValueError as error:
        raise ConfigError(f"Dask can make nothing of engine.address = {address!r}: {error}") from error
    return Client(address)


# A function of its own for each kind of work: Dask's keys begin with its name, by which `count_lost` tells the work
# apart.
def _call_attempts(tasks: Sequence[Task], *, attempt: Attempt[Task, Result]) -> list[Success[Result] | Failure[Task]]:
    return [attempt(task) for task in tasks]


def _call_stages(task: Task, *, stages: Stages[Task, Result]) -> Result:
    return stages(task)


def map_dask(
    client: Client, function: Callable[..., Any], tasks: Sequence[Task], size: int = 1, /, **settings: Any
) -> Iterator[tuple[Task, Any]]:
    """Yield each task with its finished future.

    As tasks end others go to the scheduler, so that scheduler and driver never hold all of them: each takes them some
    12 kB.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Takes the task, and ``settings`` by name.
    tasks : sequence
    size : int
        What a task holds of those whose results are kept until they are read.
    **settings
        As of dask's ``Client.map``.
    """
    # Two a core in any case, or workers would wait for the driver.
    cores = sum(client.ncores().values())
    most, step = max(_LEAST_HELD // size, (10 if size == 1 else 2) * cores), max(1, _GROUP // size)
    held: dict[str, Task] = {}
    waiting = as_completed()
    for first in range(0, len(tasks), step):
        group = tasks[first : first + step]
        # Not pure: keys made from the content would make one future of two equal tasks, and one entry of ``held``.
        futures = client.map(function, group, pure=False, **settings)
        held |= {future.key: task for future, task in zip(futures, group, strict=True)}
        waiting.update(futures)
        del futures  # of which the cluster forgets those that are released
        while len(held) >= most:
            future = next(waiting)
            yield held.pop(future.key), future
    for future in waiting:
        yield held.pop(future.key), future


def count_lost(client: Client, function: Callable[..., Any], *, since: float) -> int:
    """Count the tasks that Dask gave to another worker because the one that had them was lost.

    A task counts each time, whether the worker was at it, was about to begin, or held its result. It runs again without
    our doing, and is none of those that raise. Several of ours that share one of Dask's count once. On Ray each stage
    notes it: `cluster.engines.reruns`.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        What the tasks call: other work of the same cluster does not count.
    since : float
        [s since 1970] when the work began.
    """
    # Dask stamps events by the scheduler's clock: on another host the two may differ, and the count with them.
    events = [event for when, event in client.get_events("all") if when >= since]
    lost = [event for event in events if event.get("action") == "remove-worker"]
    keys = [key for event in lost for name in ("processing-tasks", "lost-computed-tasks") for key in event[name]]
    return sum(str(key).startswith(f"{function.__name__}-") for key in keys)
