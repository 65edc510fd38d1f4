"""One call that runs the same plain function over many tasks on any engine.

The engines do the engine's work: Ray Data schedules, bounds memory and starts lost tasks again; Dask does the same with
its own scheduler. Nothing here keeps a queue; what raised is handed to the engine once more.
"""

import logging
import os
import pickle
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from cluster.reruns import begin, counting
from cluster.telemetry import Progress
from photoz.errors import ConfigError, PhotozError
from photoz.settings.config import Config
from photoz.settings.engine import Engine
from photoz.storage import StorageOptions, is_store_trouble, use_options

logger = logging.getLogger(__name__)

# With glibc's defaults a network's buffers go back to the kernel after every layer: up to half the speed. Dask's own
# default asks for the opposite. One arena, because the other thresholds do nothing for threads that have another, as
# Dask's have that run its tasks.
MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_ARENA_MAX": "1",
}

MOST_BLOCKS = 2000
"""Of Ray Data, each of which costs its driver some 9 ms; more tasks share one."""
_LONGEST_PAUSE = 60.0  # seconds between two attempts
_LEAST_HELD, _GROUP = 1000, 200  # tasks that Dask's scheduler knows of at one time, and that go to it together

Task = TypeVar("Task")
Result = TypeVar("Result")
Function = Callable[[Task], Result]


def run_tasks(
    function: Function[Task, Result],
    tasks: Sequence[Task],
    config: Config,
    *,
    label: str,
    last: Function[Task, Result] | None = None,
    again: "Again | None" = None,
) -> Iterator[Result]:
    """Run ``function(task)`` for every task and yield the results as they finish.

    A task that raises (a store that does not answer) is tried again after a pause, ``engine.retries`` times: Dask would
    do so only at once, and Ray Data not at all. What photoz raises on purpose (`PhotozError`), and what a task raises
    the last time, ends the run.

    Parameters
    ----------
    function : callable
        Module-level function; what it needs besides the task is bound to it by `functools.partial`. It, what is bound
        and the tasks must pickle.
    tasks : sequence
        Work units, independent of each other.
    config : Config
        ``engine`` says what runs them; ``storage`` goes with the function to where it runs.
    label : str
        What the tasks are, for the progress line ("tiles").
    last : callable, optional
        In place of ``function`` when a task is tried for the last time.
    again : Again, optional
        Counts what is done again.

    Yields
    ------
    object
        One result a task, in any order; ``rows`` of a result that has any are counted as galaxies done.
    """
    again = again or Again()
    run = {"serial": _run_serial, "ray": _run_ray, "dask": _run_dask}[config.engine.name]
    progress = Progress(len(tasks), label)
    for number in range(config.engine.retries + 1):
        final = number == config.engine.retries
        attempt = Attempt(last if final and last else function, final, config.storage_options)
        failures: list[Failure] = []
        for result in run(attempt, tasks, config, again):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                progress.advance(galaxies=_count_rows(result))
                yield result
        if not failures:
            return
        again.retried += len(failures)
        progress.retried += len(failures)
        tasks = [failure.task for failure in failures]
        wait_to_retry(number, f"{len(tasks)} {label} failed ({failures[0].problem})")


def _count_rows(result: Any) -> int:
    return int(result.get("rows", 0) if isinstance(result, Mapping) else getattr(result, "rows", 0))


def wait_to_retry(number: int, failed: str) -> None:
    """Log what failed, and wait the longer the more attempts there have been."""
    pause = min(2.0**number, _LONGEST_PAUSE)
    logger.warning("%s; again in %.0f s", failed, pause)
    time.sleep(pause)


def insist(action: Callable[[], Result], config: Config, label: str) -> Result:
    """Do something that may be done twice, and again after a pause while a disk or store does not answer.

    Parameters
    ----------
    action : callable
        Called at most 1 + ``engine.retries`` times.
    config : Config
    label : str
        What it is, for the log ("the run's record").

    Returns
    -------
    object
        What it returns; what it raises the last time, or that is no trouble of a store, passes.
    """
    for number in range(config.engine.retries):
        try:
            return action()
        except Exception as error:
            if not is_store_trouble(error):
                raise
            wait_to_retry(number, f"{label} failed ({type(error).__name__}: {error})")
    return action()


@dataclass
class Again:
    """Counts what a run did more than once."""

    retried: int = 0
    """Times that a task raised and was tried again."""
    reruns: int = 0
    """Times that the engine began again, unasked, what a lost worker had."""


@dataclass(frozen=True)
class Failure:
    """A task that raised and will be tried again."""

    task: Any
    problem: str


@dataclass(frozen=True)
class Attempt:
    """Calls a task's function; what that raises becomes a `Failure`, unless this is the last attempt."""

    function: Function[Any, Any]
    final: bool
    storage: StorageOptions

    def __call__(self, task: Any) -> Any:
        """Call the function where the task is to run, with the run's storage options."""
        use_options(self.storage)
        try:
            return self.function(task)
        except Exception as error:
            if self.final or isinstance(error, PhotozError):
                raise
            return Failure(task, f"{type(error).__name__}: {error}")


def _run_serial(attempt: Attempt, tasks: Sequence[Any], config: Config, again: Again) -> Iterator[Any]:
    del config, again  # nothing runs again unasked
    for task in tasks:
        yield attempt(task)


def _run_ray(attempt: Attempt, tasks: Sequence[Any], config: Config, again: Again) -> Iterator[Any]:
    if not tasks:
        return
    import ray.data

    with ray_cluster(config.engine), counting() as begun:
        # Pickled, since Ray Data would turn dataclasses and tuples into something else on their way through Arrow.
        size = -(-len(tasks) // MOST_BLOCKS)
        firsts = range(0, len(tasks), size)
        items = [{"number": first, "tasks": pickle.dumps(tasks[first : first + size])} for first in firsts]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        data = data.flat_map(
            _call_pickled,
            fn_args=(attempt, begun),
            num_cpus=1,
            compute=ray.data.TaskPoolStrategy(size=max(1, config.engine.workers)),
        )
        for row in data.iter_rows():
            again.reruns += int(row["reruns"])
            yield pickle.loads(row["result"])


def _call_pickled(row: dict[str, Any], attempt: Attempt, begun: Any) -> list[dict[str, Any]]:
    """Call the tasks of a block; its first row says how often they had begun before."""
    reruns = begin(begun, "block", str(row["number"]))
    results = [pickle.dumps(attempt(task)) for task in pickle.loads(row["tasks"])]
    return [{"result": result, "reruns": 0 if number else reruns} for number, result in enumerate(results)]


def _run_dask(attempt: Attempt, tasks: Sequence[Any], config: Config, again: Again) -> Iterator[Any]:
    started = time.time()
    with dask_client(config) as client:
        for _, future in map_dask(client, _call_attempt, tasks, attempt=attempt):
            yield future.result()
            future.release()
        again.reruns += _count_lost(client, _call_attempt, since=started)


def map_dask(
    client: Any, function: Callable[..., Any], tasks: Sequence[Task], /, **settings: Any
) -> Iterator[tuple[Task, Any]]:
    """Yield each task with its finished future; ``settings`` as of dask's ``Client.map``.

    As tasks end others go to the scheduler, so that scheduler and driver never hold all of them: each takes them some
    12 kB.
    """
    from distributed import as_completed

    most = max(_LEAST_HELD, 10 * sum(client.ncores().values()))
    held: dict[str, Task] = {}
    waiting = as_completed()
    for first in range(0, len(tasks), _GROUP):
        group = tasks[first : first + _GROUP]
        futures = client.map(function, group, pure=False, **settings)
        held |= {future.key: task for future, task in zip(futures, group, strict=True)}
        waiting.update(futures)
        del futures  # of which the cluster forgets those that are released
        while len(held) >= most:
            future = next(waiting)
            yield held.pop(future.key), future
    for future in waiting:
        yield held.pop(future.key), future


def _call_attempt(task: Any, *, attempt: Attempt) -> Any:
    return attempt(task)


def count_reruns(config: Config, function: Callable[..., Any], *, since: float) -> int:
    """Count the tasks that Dask gave to another worker because the one that had them was lost.

    A task counts each time, whether the worker was at it, was about to begin, or held its result. It runs again without
    our doing, and is none of those that raise. On Ray each stage notes it: `cluster.reruns`.

    Parameters
    ----------
    config : Config
    function : callable
        What the tasks call: other work of the same cluster does not count.
    since : float
        [s since 1970] when the run began.

    Returns
    -------
    int
        0 on other engines.
    """
    if config.engine.name != "dask":
        return 0
    with dask_client(config) as client:
        return _count_lost(client, function, since=since)


def _count_lost(client: Any, function: Callable[..., Any], *, since: float) -> int:
    events = [event for when, event in client.get_events("all") if when >= since]
    lost = [event for event in events if event.get("action") == "remove-worker"]
    keys = [key for event in lost for name in ("processing-tasks", "lost-computed-tasks") for key in event[name]]
    return sum(str(key).startswith(f"{function.__name__}-") for key in keys)


_joined_clients: list[Any] = []


@contextmanager
def join_cluster(config: Config) -> Iterator[None]:
    """Keep one cluster of the engine for everything the block does: starting workers takes longer than many a task."""
    match config.engine.name:
        case "ray":
            with ray_cluster(config.engine):
                yield
        case "dask":
            with dask_client(config) as client:
                _joined_clients.append(client)
                try:
                    yield
                finally:
                    _joined_clients.remove(client)
        case _:
            yield


@contextmanager
def ray_cluster(engine: Engine) -> Iterator[None]:
    """Join the Ray cluster this process belongs to or is told of, or start a local one for the time of the block."""
    import ray

    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(engine)
    limit_ray_data_noise()
    try:
        yield
    finally:
        if started_here:
            ray.shutdown()


def _start_ray(engine: Engine) -> None:
    import ray

    # A job that `ray job submit` starts finds the cluster in RAY_ADDRESS; "local" starts a new one and never joins
    # one that happens to run on this machine.
    address = engine.address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        use_own_token()
    ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING, include_dashboard=None)


def use_own_token() -> None:
    """Protect a Ray cluster that this process is about to start by a token of its own, unless it has been given one.

    Ray would write one to the home folder instead, and from then on refuse `ray job submit` to a head that was started
    without saying RAY_AUTH_MODE=token (seen with Ray 2.60).
    """
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def limit_ray_data_noise() -> None:
    """Turn off Ray Data's own progress bars: they are off inside jobs anyway, and ours go to the log."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # It counts the libraries that a worker imports as the task's own memory.
    context.issue_detectors_config.high_memory_detector_config.detection_time_interval_s = -1
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def find_resources(engine: Engine) -> dict[str, float]:
    """Find the CPUs and GPUs of the joined Ray cluster, or those that the settings say it may grow to."""
    import ray

    now = ray.cluster_resources()
    return {"CPU": max(now.get("CPU", 0.0), engine.most_cpus), "GPU": max(now.get("GPU", 0.0), engine.most_gpus)}


def check_resources(available: Mapping[str, float], engine: Engine) -> None:
    """Refuse settings under which Ray Data would wait for ever for a processor or a GPU.

    Raises
    ------
    ConfigError
        The estimators alone would take every CPU of the cluster, or need GPUs that it does not have.
    """
    cpus, gpus = available.get("CPU", 0.0), available.get("GPU", 0.0)
    wanted = engine.estimators * engine.cpus_per_estimator
    if wanted >= cpus and wanted > 0:
        raise ConfigError(
            f"engine.estimators x engine.cpus_per_estimator = {wanted:g} CPUs leaves none of the cluster's "
            f"{cpus:g} to the readers: lower one of them, or start Ray with more CPUs"
        )
    wanted = engine.estimators * engine.gpus_per_estimator
    if wanted > gpus:
        raise ConfigError(
            f"engine.estimators x engine.gpus_per_estimator = {wanted:g} GPUs are more than the cluster's {gpus:g}: "
            "lower one of them, or start Ray where there are GPUs"
        )


@contextmanager
def dask_client(config: Config) -> Iterator[Any]:
    """Connect to the Dask scheduler the settings name, or run a LocalCluster for the time of the block.

    Within a block of `join_cluster` this is its client.
    """
    import dask
    from distributed import Client, LocalCluster

    if _joined_clients:
        yield _joined_clients[-1]
        return
    engine = config.engine
    if engine.address:
        with Client(engine.address) as client:
            yield client
        return
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": MALLOC_SETTINGS}),
        LocalCluster(n_workers=engine.workers, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        if engine.most_workers > engine.workers:
            local.adapt(minimum=engine.workers, maximum=engine.most_workers)
        yield client
