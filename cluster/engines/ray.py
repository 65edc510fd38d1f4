"""Ray Data: tasks, and stages as operators of their own, so that actors with the network never wait on storage."""

import logging
import os
import pickle
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import ray
import ray.data
from ray.data import ActorPoolStrategy, TaskPoolStrategy

from cluster.console import WORKER_FORMAT
from cluster.engines.address import check_address
from cluster.engines.base import (
    WORKER_VARIABLES,
    Attempt,
    Engine,
    Failure,
    Lost,
    Needs,
    Outcome,
    Result,
    Stages,
    Success,
    Task,
)
from cluster.engines.reruns import begin, counting
from cluster.engines.retries import insist
from photoz.errors import ConfigError, PhotozError
from photoz.settings.engine import EngineSettings

Row = dict[str, Any]
"""Ray Data's own form of a row, or of a batch, whose values are arrays then."""
MOST_BLOCKS = 2000
"""Of Ray Data, each of which costs its driver some 9 ms; more tasks share one."""


@dataclass(frozen=True)
class RayEngine(Engine):
    """Runs the work on the Ray cluster that the job runs in, that the settings name, or that it starts.

    Work goes pickled, since Ray Data would turn dataclasses and tuples into something else on their way through Arrow.
    """

    def run(self, attempt: Attempt[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Call ``attempt(task)`` in Ray's tasks."""
        if not tasks:
            return
        with self.join(), counting() as begun:
            # What a block costs the driver is shared: 5.88 ms a task where there are 1,000, 0.11 ms of 100,000
            # (docs/scaling.md).
            size = -(-len(tasks) // MOST_BLOCKS)
            firsts = range(0, len(tasks), size)
            items = [{"number": first, "tasks": pickle.dumps(tasks[first : first + size])} for first in firsts]
            # As many blocks as items: left to itself Ray Data puts several into one, which then run one after the
            # other.
            data = ray.data.from_items(items, override_num_blocks=len(items)).flat_map(
                _call_block,
                fn_args=(attempt, begun),
                num_cpus=1,
                compute=TaskPoolStrategy(size=max(1, self.settings.workers)),
            )
            # What `Attempt` takes for fatal is raised here and ends the run: of this dataset no block may fail.
            for row in data.iter_rows():
                yield pickle.loads(row["outcome"])

    def run_stages(self, stages: Stages[Task, Result], tasks: Sequence[Task]) -> Iterator[Outcome[Result, Task]]:
        """Run each stage as an operator; what raises goes through the later ones as what it is.

        A task whose block Ray Data gives up, as one whose workers were lost, is missing from the results, and Ray's log
        says why.
        """
        if not tasks:
            return
        with self.join(), counting() as begun:
            check_resources(find_resources(self.settings), self.settings)
            data = self._plan_stages(stages, tasks, begun)
            done = set()
            for row in data.iter_rows():
                done.add(row["number"])
                found = pickle.loads(row["work"])
                if isinstance(found, _Raised):
                    yield Failure(tasks[row["number"]], found.problem, found.fault)
                else:
                    yield Success(found, int(row["reruns"]))
        # Known only at the end: a block that raised leaves nothing in the dataset, not even its numbers.
        yield from (Failure(task, "") for number, task in enumerate(tasks) if number not in done)

    def _plan_stages(self, stages: Stages[Task, Result], tasks: Sequence[Task], begun: Any) -> Any:
        # One row a task. Where there are more of them than blocks some share a task of Ray, which hands them on as they
        # are done; when one raises, those of its block that are finished are found so in the next pass.
        settings, own = self.settings, (stages, begun)
        items = [
            {"number": number, "name": stages.name(task), "work": pickle.dumps(task)}
            for number, task in enumerate(tasks)
        ]
        data = (
            ray.data.from_items(items, override_num_blocks=min(len(items), MOST_BLOCKS))
            # Half a CPU: a reader waits for its store most of the time.
            .map(_read_row, fn_args=own, compute=TaskPoolStrategy(size=settings.workers), num_cpus=0.5)
            .map_batches(
                EstimatorActor,
                fn_constructor_args=(*own, settings.retries),
                batch_size=1,  # a row is a partition, whose galaxies the estimator batches itself
                compute=ActorPoolStrategy(size=settings.estimators),
                num_cpus=settings.cpus_per_estimator,
                num_gpus=settings.gpus_per_estimator,
                runtime_env={"env_vars": WORKER_VARIABLES},  # read once, when a process starts
            )
            # Without a limit Ray starts a process, which takes seconds, for each of ten files a processor.
            .map(_write_row, fn_args=own, compute=TaskPoolStrategy(size=settings.workers), num_cpus=0.1)
        )
        # What a stage raises goes on as `_Raised`; a block that Ray gives up, its workers lost time and again, is
        # missing from the results. Of this dataset alone, not by the context that all share: other work must raise.
        data.context.max_errored_blocks = -1
        return data

    @contextmanager
    def join(self) -> Iterator[Self]:
        """Join the cluster for the time of the block; see `ray_cluster`."""
        with ray_cluster(self.settings):
            yield self

    def run_alone(self, function: Callable[[], Result], needs: Needs) -> Result:
        """Call a function in a task of Ray with what it needs.

        Raises
        ------
        PhotozError
            What the function raised of ours, without Ray's traceback.
        """
        with self.join():
            # Ray refuses nothing: a task that asks for more than there is waits for ever.
            needs.check(find_resources(self.settings))
            task = ray.remote(_call).options(
                num_cpus=needs.cpus,
                num_gpus=needs.gpus,
                max_retries=needs.retries,
                runtime_env={"env_vars": WORKER_VARIABLES},
            )
            try:
                result: Result = ray.get(task.remote(function))
            except ray.exceptions.RayTaskError as error:
                # Ray raises a class made of the cause's and its own, with a traceback as its message; a job tells its
                # user one line.
                if isinstance(error.cause, PhotozError):
                    raise error.cause from error
                raise
            return result


# Since ray.remote takes plain functions and classes alone, and what is to be called is often a partial.
def _call(function: Callable[[], Result]) -> Result:
    log_in_worker()
    return function()


def _call_block(row: Row, attempt: Attempt[Any, Any], begun: Any) -> list[Row]:
    """Call the tasks of a block, and say first how often they had begun before."""
    # Noted before the work, as in each stage: a worker that dies in it has left its mark.
    reruns = begin(begun, "block", str(row["number"]))
    outcomes = [attempt(task) for task in pickle.loads(row["tasks"])]
    return [{"outcome": pickle.dumps(outcome)} for outcome in (Lost(reruns), *outcomes)]


@dataclass(frozen=True)
class _Raised:
    """Stands for a task's work after a stage has raised; as of `Failure`."""

    problem: str
    fault: bool


def _attempt(stage: str, function: Callable[[Any], Any], pickled: bytes, name: str, begun: Any) -> tuple[bytes, int]:
    """Call a stage's function, unless an earlier stage raised; returns what it made, and its reruns."""
    work, reruns = pickle.loads(pickled), 0
    if isinstance(work, _Raised):
        return pickled, 0
    try:
        reruns = begin(begun, stage, name)
        return pickle.dumps(function(work)), reruns
    except Exception as error:  # noqa: BLE001 - as on the other engines, one task does not end the run
        failure = Failure.of(name, error)
        return pickle.dumps(_Raised(failure.problem, failure.fault)), reruns


def _read_row(row: Row, stages: Stages[Any, Any], begun: Any) -> Row:
    work, reruns = _attempt("read", stages.read, row["work"], row["name"], begun)
    return row | {"work": work, "reruns": reruns}


class EstimatorActor:
    """Ray Data's estimating stage: loads the network before it has work, and holds it as long as it lives."""

    def __init__(self, stages: Stages[Any, Any], begun: Any, retries: int) -> None:
        self._stages = stages
        self._begun = begun
        # Here and not in a later pass: nothing has been given to this process yet that could fail and be tried again.
        insist(stages.prepare, retries, "loading the estimator")

    def __call__(self, batch: Row) -> Row:
        """Estimate a batch of one row."""
        (pickled,), (reruns,), (name,) = batch["work"], batch["reruns"], batch["name"]
        work, more = _attempt("estimate", self._stages.estimate, pickled, name, self._begun)
        return batch | {"work": [work], "reruns": [reruns + more]}


def _write_row(row: Row, stages: Stages[Any, Any], begun: Any) -> Row:
    work, reruns = _attempt("write", stages.write, row["work"], row["name"], begun)
    return {"number": row["number"], "work": work, "reruns": row["reruns"] + reruns}


@contextmanager
def ray_cluster(settings: EngineSettings) -> Iterator[None]:
    """Join the Ray cluster this process belongs to or is told of, or start a local one for the time of the block."""
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(settings)
    limit_ray_data_noise()
    try:
        yield
    finally:
        # Blocks may be nested: only who connected ends it, or the outer block would go on without a cluster.
        if started_here:
            ray.shutdown()


def _start_ray(settings: EngineSettings) -> None:
    # A job that `ray job submit` starts finds the cluster in RAY_ADDRESS; "local" starts a new one and never joins
    # one that happens to run on this machine.
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    origin = "engine.address" if settings.address else "the environment variable RAY_ADDRESS"
    if address == "local":
        use_own_token()
    else:
        # Ray itself waits for more than nine minutes for a cluster that is gone, and says nothing meanwhile.
        check_address(address, origin, "take it away, and a Ray cluster of this machine alone is started")
    try:
        ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING, include_dashboard=None)
    except ValueError as error:
        if address == "local":
            raise
        raise ConfigError(f"Ray can make nothing of {address!r}, which {origin} names: {error}") from error
    except OSError as error:
        # By its words alone Ray tells this error from others.
        if "AF_UNIX path" not in str(error):
            raise
        variable = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
        raise ConfigError(
            f"Ray cannot keep its sockets beneath {os.environ.get(variable)!r}, which the environment variable "
            f"{variable} names: a socket's path may have no more than 107 characters ({error}); set RAY_TMPDIR=/tmp"
        ) from error


def use_own_token() -> None:
    """Protect a Ray cluster that this process is about to start by a token of its own, unless it has been given one.

    Ray would write one to the home folder instead, and from then on refuse `ray job submit` to a head that was started
    without saying RAY_AUTH_MODE=token (seen with Ray 2.60).
    """
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def log_in_worker() -> None:
    """Write our own lines to the standard error of this worker, which Ray shows where the job runs."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(WORKER_FORMAT, datefmt="%H:%M:%S"))
    for name in ("photoz", "cluster"):
        logging.getLogger(name).setLevel(logging.INFO)
        logging.getLogger(name).handlers = [handler]
        logging.getLogger(name).propagate = False


def limit_ray_data_noise() -> None:
    """Turn off Ray Data's own progress bars: they are off inside jobs anyway, and ours go to the log."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # It counts the libraries that a worker imports as the task's own memory.
    context.issue_detectors_config.high_memory_detector_config.detection_time_interval_s = -1
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def find_resources(settings: EngineSettings) -> dict[str, float]:
    """Find the CPUs and GPUs of the joined Ray cluster, or those that the settings say it may grow to."""
    # Of an autoscaler that begins with no worker it tells none: without the settings' figures the job would be refused.
    now = ray.cluster_resources()
    return {"CPU": max(now.get("CPU", 0.0), settings.most_cpus), "GPU": max(now.get("GPU", 0.0), settings.most_gpus)}


def check_resources(available: Mapping[str, float], settings: EngineSettings) -> None:
    """Refuse settings under which Ray Data would wait for ever for a processor or a GPU.

    Raises
    ------
    ConfigError
        The estimators alone would take every CPU of the cluster, or need GPUs that it does not have.
    """
    cpus, gpus = available.get("CPU", 0.0), available.get("GPU", 0.0)
    wanted = settings.estimators * settings.cpus_per_estimator
    # At equality too: an actor keeps its CPUs as long as it lives, and the readers it waits for would never get one.
    if wanted >= cpus and wanted > 0:
        raise ConfigError(
            f"engine.estimators x engine.cpus_per_estimator = {wanted:g} CPUs leaves none of the cluster's "
            f"{cpus:g} to the readers: lower one of them, or start Ray with more CPUs"
        )
    wanted = settings.estimators * settings.gpus_per_estimator
    if wanted > gpus:
        raise ConfigError(
            f"engine.estimators x engine.gpus_per_estimator = {wanted:g} GPUs are more than the cluster's {gpus:g}: "
            "lower one of them, or start Ray where there are GPUs"
        )
