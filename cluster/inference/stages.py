"""The three stages of inference, each a plain function of one partition: read, estimate, write."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from operator import attrgetter

import numpy as np
import pyarrow as pa

from cluster.engines.base import Stages
from cluster.inference.plan import Plan, compute_key
from cluster.ledger import describe_weights, explain_remaining, locate_output
from photoz.catalogue.hats import Partition, write_partition
from photoz.catalogue.records import Record, read_record, write_record
from photoz.errors import EstimatorError
from photoz.estimators import Estimator
from photoz.inference import estimate_rows, prepare_estimator, read_cutouts
from photoz.inputs import Problem
from photoz.schema import Flag
from photoz.sources import read_sources
from photoz.storage import use_options
from photoz.telemetry import gather, timed


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


def make_stages(plan: Plan) -> Stages[Partition, Record]:
    """Make the stages that each partition of a run goes through: its rows and cutouts, their redshifts, its file."""
    return Stages(
        read=partial(read_stage, plan),
        prepare=partial(prepare_stage, plan),
        estimate=partial(estimate_stage, plan),
        write=partial(write_stage, plan),
        name=attrgetter("name"),
    )


def read_stage(plan: Plan, partition: Partition) -> Work:
    """Read a partition's sources and the cutouts that the estimator needs."""
    config = plan.config
    # Engines call stages as they are, without an `Attempt` that would do it.
    use_options(config.storage_options)
    with _measured("read_stage", {}) as sums:
        key = compute_key(plan, partition)
        # Looked at again: a run that works beside this one may have done it since both were planned.
        if not explain_remaining(config.locations.catalogue, partition, key):
            return Work(partition, key=key, rows=None)
        sources = read_sources(config.locations.sources, partition)
        read = read_cutouts(sources, config.locations.tiles, plan, give_up=plan.give_up)
    return Work(partition, key=key, rows=read.table, problems=read.problems, sums=sums)


def estimate_stage(plan: Plan, work: Work) -> Work:
    """Estimate the redshifts of what `read_stage` read."""
    # Another run has done it, whose record `write_stage` takes over.
    if work.rows is None:
        return work
    # Outside of what is measured: it is loaded once a process, and the seconds say how busy that is with estimating.
    estimator = prepare_stage(plan)
    with _measured("estimate_stage", work.sums) as sums:
        try:
            found = estimate_rows(
                work.rows, estimator, batch_size=plan.config.inference.batch_size, give_up=plan.give_up
            )
        except Exception:
            _estimators.clear()  # what this process holds may be what is broken
            raise
    # With the host: in two pods a process may have the same number.
    name = f"{socket.gethostname()}:{os.getpid()}"
    problems = (*work.problems, *found.problems)
    return replace(work, rows=found.table, problems=problems, sums=sums, estimator=name)


def write_stage(plan: Plan, work: Work) -> Record:
    """Write the partition's file, then its completion record."""
    use_options(plan.config.storage_options)
    location = plan.config.locations.catalogue
    if work.rows is None:
        done = read_record(location, work.partition)
        assert done is not None, "another run has just done this partition"
        # Its seconds and bytes stand in the figures of the run that did it.
        return replace(done, sums={}, shared=True)
    # The file, then the record that says it is done: a crash in between has the partition done again.
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
        # With the zeros, as the audit counts them.
        flags={str(flag.name): int(((flags_N & flag) != 0).sum()) for flag in Flag},
        problems=[asdict(problem) | {"tries": plan.attempt} for problem in work.problems],
        sums=sums,
        estimator=work.estimator,
    )
    write_record(location, record)
    return record


_estimators: dict[str, Estimator] = {}


def prepare_stage(plan: Plan) -> Estimator:
    """Load the estimator, unless this process holds the one of the same run: changed weights load again."""
    if plan.run_key not in _estimators:
        # An actor loads before it has read anything in its process.
        use_options(plan.config.storage_options)
        # One at a time: a worker of a lasting cluster would come to hold the networks of all runs it has served.
        _estimators.clear()
        _estimators[plan.run_key] = prepare_planned(plan)
    return _estimators[plan.run_key]


def prepare_planned(plan: Plan) -> Estimator:
    """Load the estimator that the run was planned with.

    Raises
    ------
    EstimatorError
        It has been trained again since: what it gives would be recorded as the other's.
    """
    estimator = prepare_estimator(plan.estimator, plan.config.inference)
    if describe_weights(plan.estimator) != plan.weights:  # looked at after they were read
        raise EstimatorError(f"the estimator at {plan.estimator} has changed since this run began: run the job again")
    return estimator


@contextmanager
def _measured(stage: str, before: dict[str, float]) -> Iterator[dict[str, float]]:
    """Gather the block's seconds and bytes; the yielded sums are those before and, at the end, the block's."""
    # A copy: where a worker is lost the same work goes through the stage once more.
    sums = dict(before)
    with gather() as own, timed(stage):
        yield sums
    # After the block: both gather and timed add what they have only when theirs ends.
    for name, amount in own.items():
        sums[name] = sums.get(name, 0) + amount
