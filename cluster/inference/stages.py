"""The three stages of inference, each a plain function of one partition: read, estimate, write."""

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa

from cluster.ledger import compute_partition_key, describe_weights, explain_remaining, locate_output
from photoz.catalogue.hats import Partition, read_partition, write_partition
from photoz.catalogue.records import Record, read_record, write_record
from photoz.errors import EstimatorError
from photoz.estimators import Estimator
from photoz.inference import estimate_rows, prepare_estimator, read_cutouts
from photoz.inputs import Problem
from photoz.schema import Flag
from photoz.settings.config import Config
from photoz.storage import use_options
from photoz.telemetry import gather, timed

_READ_AHEAD = 2
"""Partitions whose cutouts one process holds, that being estimated included: 100 MB of 5,000 galaxies each."""


@dataclass(frozen=True)
class Plan:
    """What one run does: made before any work, small enough to send everywhere."""

    config: Config
    estimator: str
    """Location of the estimator's folder."""
    image_bands: tuple[str, ...]
    cutout_size: int
    weights: Mapping[str, str]
    """SHA-256 of every file of that folder."""
    run_key: str
    give_up: bool = False
    """Last pass: what still cannot be read costs its rows their image, and is not tried again."""
    attempt: int = 1
    """Which pass this is over what has raised before."""
    retried: int = 0
    """Times that a partition of this run has raised before this pass, for the progress line."""


@dataclass(frozen=True)
class Work:
    """One partition on its way through the stages.

    Parameters
    ----------
    partition : Partition
    key : str
        Content key of its inputs.
    rows : pyarrow.Table or None
        None when another run that shares the output has finished the partition.
    problems : tuple of Problem
        What cost rows their image or estimate so far.
    sums : dict
        Seconds and bytes by stage so far.
    estimator : str
        Host and process that estimated it.
    """

    partition: Partition
    key: str
    rows: pa.Table | None
    problems: tuple[Problem, ...] = ()
    sums: dict[str, float] = field(default_factory=dict)
    estimator: str = ""


def compute_key(partition: Partition, plan: Plan) -> str:
    """Compute the content key that a partition has now."""
    images = bool(plan.image_bands)
    return compute_partition_key(plan.config.locations, partition, plan.run_key, images=images, give_up=plan.give_up)


def read_stage(partition: Partition, plan: Plan) -> Work:
    """Read a partition's sources and the cutouts that the estimator needs."""
    config = plan.config
    problems: list[Problem] = []
    use_options(config.storage_options)
    with _measured("read_stage", {}) as sums:
        key = compute_key(partition, plan)
        if not explain_remaining(config.locations.catalogue, partition, key):
            return Work(partition, key=key, rows=None)
        sources = read_partition(config.locations.sources, partition)
        rows = read_cutouts(sources, config, plan, give_up=plan.give_up, problems=problems)
    return Work(partition, key=key, rows=rows, problems=tuple(problems), sums=sums)


def estimate_stage(work: Work, plan: Plan, estimator: Estimator) -> Work:
    """Estimate the redshifts of what `read_stage` read."""
    if work.rows is None:
        return work
    problems = list(work.problems)
    with _measured("estimate_stage", work.sums) as sums:
        try:
            rows = estimate_rows(work.rows, plan.config, estimator, give_up=plan.give_up, problems=problems)
        except Exception:
            _estimators.clear()  # what this process holds may be what is broken
            raise
    name = f"{socket.gethostname()}:{os.getpid()}"
    return replace(work, rows=rows, problems=tuple(problems), sums=sums, estimator=name)


def write_stage(work: Work, plan: Plan) -> Record:
    """Write the partition's file, then its completion record."""
    use_options(plan.config.storage_options)
    location = plan.config.locations.catalogue
    if work.rows is None:
        done = read_record(location, work.partition)
        assert done is not None, "another run has just done this partition"
        return replace(done, sums={}, shared=True)
    with _measured("write_stage", work.sums) as sums:
        rows, sha256 = write_partition(locate_output(location), work.partition, work.rows)
    flags_N = work.rows["flags"].to_numpy()
    record = Record(
        order=work.partition.order,
        pixel=work.partition.pixel,
        key=work.key,
        rows=rows,
        estimated=int(np.isfinite(work.rows["z_phot"].to_numpy()).sum()),
        sha256=sha256,
        flags={str(flag.name): int(((flags_N & flag) != 0).sum()) for flag in Flag},
        problems=[asdict(problem) | {"tries": plan.attempt} for problem in work.problems],
        sums=sums,
        estimator=work.estimator,
    )
    write_record(location, record)
    return record


def process_partition(partition: Partition, plan: Plan) -> Record:
    """Run the three stages one after the other, with the estimator loaded once a process."""
    use_options(plan.config.storage_options)
    return write_stage(estimate_stage(read_stage(partition, plan), plan, _prepare_once(plan.run_key, plan)), plan)


def prepare_planned(plan: Plan) -> Estimator:
    """Load the estimator that the run was planned with.

    Raises
    ------
    EstimatorError
        It has been trained again since: what it gives would be recorded as the other's.
    """
    estimator = prepare_estimator(plan.estimator, plan.config)
    if describe_weights(plan.estimator) != plan.weights:  # looked at after they were read
        raise EstimatorError(f"the estimator at {plan.estimator} has changed since this run began: run the job again")
    return estimator


def read_ahead(partitions: Sequence[Partition], plan: Plan) -> Iterator[tuple[Partition, Callable[[], Record]]]:
    """Read partitions in a thread, some ahead of the one that is estimated.

    Yields
    ------
    partition : Partition
    process : callable
        Runs the other two stages and returns its record; raises what any stage raised.
    """

    def process(read: Future[Work]) -> Record:
        work = read.result()
        return write_stage(estimate_stage(work, plan, _prepare_once(plan.run_key, plan)), plan)

    with ThreadPoolExecutor(1) as pool:
        reads: deque[Future[Work]] = deque()
        for number, partition in enumerate(partitions):
            for each in partitions[number + len(reads) : number + _READ_AHEAD]:
                reads.append(pool.submit(read_stage, each, plan))
            yield partition, partial(process, reads.popleft())


_estimators: dict[str, Estimator] = {}


def _prepare_once(key: str, plan: Plan) -> Estimator:
    """Load the estimator, unless this process holds the one with the same key: changed weights load again."""
    if key not in _estimators:
        _estimators.clear()
        _estimators[key] = prepare_planned(plan)
    return _estimators[key]


@contextmanager
def _measured(stage: str, before: dict[str, float]) -> Iterator[dict[str, float]]:
    """Gather the block's seconds and bytes; the yielded sums are those before and, at the end, the block's."""
    sums = dict(before)
    with gather() as own, timed(stage):
        yield sums
    for name, amount in own.items():
        sums[name] = sums.get(name, 0) + amount
