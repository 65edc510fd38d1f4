"""Inference over a survey: from the plan to the finished catalogue, whatever engine runs the stages in between."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from cluster.engines.base import Engine, Failure, Lost, Outcome, Success
from cluster.engines.choose import open_engine
from cluster.engines.retries import describe_fault, insist, run_passes
from cluster.inference.live import keep_page
from cluster.inference.plan import Plan, find_remaining, plan_run
from cluster.inference.publish import (
    Done,
    RunRecord,
    explain_unpublished,
    publish,
    sum_up_records,
    unpublish,
    write_run_record,
)
from cluster.inference.stages import make_stages
from cluster.lock import Holder, Lock, find_holder, hold_lock
from cluster.telemetry import Progress, RunTelemetry
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record, locate_in_run
from photoz.errors import CatalogueError, ProgramError
from photoz.settings.config import Config
from photoz.sources import list_source_partitions
from photoz.storage import is_store_trouble

logger = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 5  # of a partition; all stand in run/failures.parquet


def infer_catalogue(config: Config, engine: Engine | None = None) -> RunRecord:
    """Estimate every source of the source catalogue and write the photo-z catalogue.

    Parameters
    ----------
    config : Config
    engine : Engine, optional
        Whose cluster has been joined; by default the settings' own is for the time of this.

    Returns
    -------
    RunRecord
        Also written to ``run/run.json`` in the catalogue.

    Raises
    ------
    ConfigError, EstimatorError, CatalogueError
        Before any work: settings, estimator and catalogues that do not fit together, or another run at work on the
        same output. After it: partitions that could not be done even when giving up what cannot be read.
    """
    retries = config.engine.retries
    # Before a cluster is joined, so that what does not fit together is told while nothing has been started.
    plan = insist(lambda: plan_run(config), retries, "planning the run")
    partitions = insist(lambda: list_source_partitions(config.locations.sources), retries, "listing the partitions")
    folder, join_in = locate_in_run(config.locations.catalogue), config.inference.join
    with ExitStack() as stack:
        # The engine before the lock: who helps another run needs it while that one has the lock.
        joined = stack.enter_context(open_engine(config.engine, config.storage_options, engine))
        run = Inference(plan, partitions, joined, RunTelemetry())
        stack.enter_context(run.telemetry.keep_telling())
        if join_in:
            help_holder(run, find_holder(folder))
        # Who helped waits for the lock: should the other run die after all, this one completes the catalogue.
        lock = stack.enter_context(hold_lock(folder, run_key=plan.run_key, wait=join_in))
        done = complete_catalogue(run, lock)
        # Under the lock still, or another run could write its record first and have it overwritten.
        return insist(lambda: write_run_record(plan, done, run.telemetry), retries, "the run's record")


@dataclass(frozen=True)
class Inference:
    """A run of inference under way.

    Parameters
    ----------
    plan : Plan
    partitions : list of Partition
        All of the source catalogue.
    engine : Engine
        Joined to its cluster.
    telemetry : RunTelemetry
        Made when the cluster is there, for its metrics.
    """

    plan: Plan
    partitions: list[Partition]
    engine: Engine
    telemetry: RunTelemetry


def complete_catalogue(run: Inference, lock: Lock) -> Done:
    """Do what remains and publish, as the one run that holds the output's lock.

    Raises
    ------
    CatalogueError
        The partitions are done, and what completes the catalogue cannot be written.
    """
    plan, partitions, engine = run.plan, run.partitions, run.engine
    config, retries = plan.config, engine.settings.retries

    def sum_up() -> Done:
        return insist(lambda: sum_up_records(config.locations.catalogue, partitions), retries, "reading the records")

    remaining = insist(lambda: find_remaining(plan, partitions, engine), retries, "looking at what is done")
    logger.info("%d of %d partitions to do", len(remaining), len(partitions))
    # What this run did beside another may have come after that one had read the files to publish them.
    if not remaining and not run.telemetry.partitions:
        done = sum_up()
        reason = insist(partial(explain_unpublished, plan, done, engine), retries, "looking at what is published")
        if not reason:
            return done
        logger.info("the catalogue must be completed: %s", reason)
    with keep_page(plan, partitions, remaining, run.telemetry):
        # Before the first file is replaced: a catalogue that opens must never hold rows of two runs.
        insist(lambda: unpublish(config.locations.catalogue), retries, "closing the catalogue")
        estimate_all(run, remaining)
        # This run may have been cut off and taken over since: two that publish would undo each other's work.
        insist(lock.check, retries, "looking at the lock")
        return publish_done(run, sum_up)


def publish_done(run: Inference, sum_up: Callable[[], Done]) -> Done:
    """Publish what is done; raises as `complete_catalogue` does."""
    plan, config, retries = run.plan, run.plan.config, run.engine.settings.retries
    try:
        done = sum_up()
        insist(lambda: publish(plan, done, run.engine), retries, "completing the catalogue")
        return done
    except Exception as error:
        # Running again would not mend what is neither a disk's nor a store's trouble.
        if not isinstance(error, OSError) and not is_store_trouble(error):
            raise
        raise CatalogueError(
            f"all partitions of {config.locations.catalogue} are done, but it could not be completed ({error}): make "
            "room or wait for the store, and run the job again"
        ) from error


def help_holder(run: Inference, holder: Holder | None) -> None:
    """Do what remains beside the run that holds the output's lock, from the other end.

    Raises
    ------
    CatalogueError
        That run works with other weights, settings or code.
    """
    if holder is None or not holder.alive:
        return
    if holder.run_key != run.plan.run_key:
        raise CatalogueError(
            f"process {holder.process} on {holder.host} writes this output with another estimator, other "
            "settings or other code: wait for it, or set locations.catalogue to another folder"
        )
    # Backwards: the two meet once, and a partition that both are at is written twice with the same bytes.
    remaining = find_remaining(run.plan, run.partitions, run.engine)[::-1]
    logger.info("joining process %s on %s: %d partitions to do", holder.process, holder.host, len(remaining))
    estimate_all(run, remaining)


def estimate_all(run: Inference, partitions: list[Partition]) -> None:
    """Estimate partitions; those that fail again after a pause, in the end giving up what still cannot be read.

    The engines run a lost worker's partitions again by themselves. A partition that raises (a store that does not
    answer) they would only try at once, and Ray Data not even that.

    Raises
    ------
    CatalogueError
        Partitions failed to the last.
    ProgramError
        Partitions failed for an error in the program; they are tried once.
    """
    plan, telemetry, retries = run.plan, run.telemetry, run.engine.settings.retries

    def run_pass(remaining: Sequence[Partition], number: int) -> Iterator[Outcome[Record, Partition]]:
        # A plan for each pass: whether it gives up is part of the keys in its records.
        now = replace(plan, give_up=number > retries, attempt=number, retried=telemetry.retried)
        return estimate_partitions(now, remaining, run.engine)

    # Before the first pass, or the gauge of what remains would say 0 while the first partitions are done.
    telemetry.expect(len(partitions))
    # By partition, which is small: a record holds all that was set aside.
    done, problem = set(), ""
    for outcome in run_passes(run_pass, partitions, retries, lambda failures: f"{len(failures)} partitions failed"):
        match outcome:
            case Success(result=record):
                done.add(record.partition)
                telemetry.add(record)
            case Failure(fault=True):
                problem = problem or outcome.problem
            case Failure():
                telemetry.retry()
            case Lost(reruns=reruns):
                telemetry.lose(reruns)
    # By what came back, since what failed in one pass may have been done in a later one.
    remaining = [partition for partition in partitions if partition not in done]
    if problem:
        raise ProgramError(describe_fault(f"{len(remaining)} partitions", problem))
    if remaining:
        raise CatalogueError(
            f"{len(remaining)} partitions could not be done, {remaining[0].name} first: the log says why; run the job "
            "again to go on from here"
        )


def estimate_partitions(
    plan: Plan, partitions: Sequence[Partition], engine: Engine
) -> Iterator[Outcome[Record, Partition]]:
    """Run the stages over partitions on the engine and log what comes of each.

    Parameters
    ----------
    plan : Plan
    partitions : sequence of Partition
        Those of this pass.
    engine : Engine

    Yields
    ------
    Outcome
        Of each partition, with its record where it was done.
    """
    progress = Progress(len(partitions), "partitions", retried=plan.retried)
    for outcome in engine.run_stages(make_stages(plan), partitions):
        match outcome:
            case Success(result=record, reruns=reruns):
                _log_record(record, progress)
                # Only of the record in memory: the worker that wrote the file could not know what the engine counts.
                yield Success(replace(record, sums=record.sums | {"reruns": reruns}))
            case Failure(task=partition, problem=problem) if problem:
                logger.warning("%s failed: %s", partition.name, problem)
                yield outcome
            case _:
                yield outcome


def _log_record(record: Record, progress: Progress) -> None:
    progress.advance(galaxies=record.rows, quarantined=len(record.problems))
    for problem in record.problems[:_PROBLEMS_LOGGED]:
        subject = f"{problem['subject']} ({problem['rows']} rows)"
        logger.warning("%s: %s set aside (%s): %s", record.partition.name, subject, problem["stage"], problem["error"])
