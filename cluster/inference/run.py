"""Inference over a survey: the stages of `cluster.inference.stages` over all partitions, on any engine.

Serial and Dask run the stages one after the other in one task a partition. Ray Data runs them as separate operators, so
that the actors that hold the network never wait on storage.
"""

import logging
import pickle
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from cluster.engines import (
    MALLOC_SETTINGS,
    MOST_BLOCKS,
    check_resources,
    count_reruns,
    dask_client,
    find_resources,
    insist,
    join_cluster,
    map_dask,
    run_tasks,
    wait_to_retry,
)
from cluster.inference.stages import (
    Plan,
    Work,
    compute_key,
    estimate_stage,
    prepare_planned,
    process_partition,
    read_ahead,
    read_stage,
    write_stage,
)
from cluster.ledger import check_output, compute_run_key, describe_weights, explain_remaining
from cluster.lock import Holder, Lock, find_holder, hold_lock
from cluster.publish import Done, explain_unpublished, publish, sum_up_records, unpublish, write_run_record
from cluster.reruns import begin, counting
from cluster.telemetry import Progress, RunTelemetry
from photoz.catalogue.hats import Partition, list_partitions
from photoz.catalogue.records import Record, has_records, locate_in_run
from photoz.errors import CatalogueError
from photoz.estimators import load_estimator
from photoz.estimators.base import check_bands
from photoz.settings.config import Config
from photoz.storage import is_store_trouble, join, use_options

logger = logging.getLogger(__name__)

_PROBLEMS_LOGGED = 5  # of a partition; all stand in run/failures.parquet


def infer_catalogue(config: Config) -> dict[str, Any]:
    """Estimate every source of the source catalogue and write the photo-z catalogue.

    Parameters
    ----------
    config : Config

    Returns
    -------
    dict
        The run record, also written to ``run/run.json`` in the catalogue.

    Raises
    ------
    ConfigError, EstimatorError, CatalogueError
        Before any work: settings, estimator and catalogues that do not fit together, or another run at work on the
        same output. After it: partitions that could not be done even when giving up what cannot be read.
    """
    plan = insist(lambda: plan_run(config), config, "planning the run")
    partitions = insist(lambda: list_partitions(config.locations.sources), config, "listing the partitions")
    folder, join_in = locate_in_run(config.locations.catalogue), config.inference.join
    with ExitStack() as stack:
        stack.enter_context(join_cluster(config))
        telemetry = RunTelemetry()  # of the cluster, for its metrics
        stack.enter_context(telemetry.keep_telling())
        if join_in:
            help_holder(plan, partitions, telemetry, find_holder(folder))
        lock = stack.enter_context(hold_lock(folder, run_key=plan.run_key, wait=join_in))
        done = complete_catalogue(plan, partitions, telemetry, lock)
        telemetry.reruns += count_reruns(config, process_partition, since=telemetry.started)
        return insist(lambda: write_run_record(plan, done, telemetry), config, "the run's record")


def complete_catalogue(plan: Plan, partitions: list[Partition], telemetry: RunTelemetry, lock: Lock) -> Done:
    """Do what remains and publish, as the one run that holds the output's lock."""
    config = plan.config

    def sum_up() -> Done:
        return insist(lambda: sum_up_records(config.locations.catalogue, partitions), config, "reading the records")

    remaining = insist(lambda: find_remaining(plan, partitions), config, "looking at what is done")
    logger.info("%d of %d partitions to do", len(remaining), len(partitions))
    # What this run did beside another may have come after that one had read the files to publish them.
    if not remaining and not telemetry.partitions:
        done = sum_up()
        reason = insist(lambda: explain_unpublished(config, done), config, "looking at what is published")
        if not reason:
            return done
        logger.info("the catalogue must be completed: %s", reason)
    insist(lambda: unpublish(config.locations.catalogue), config, "closing the catalogue")
    estimate_all(plan, remaining, telemetry)
    insist(lock.check, config, "looking at the lock")
    try:
        done = sum_up()
        insist(lambda: publish(plan, done), config, "completing the catalogue")
        return done
    except Exception as error:
        if not isinstance(error, OSError) and not is_store_trouble(error):
            raise
        raise CatalogueError(
            f"all partitions of {config.locations.catalogue} are done, but it could not be completed ({error}): make "
            "room or wait for the store, and run the job again"
        ) from error


def help_holder(plan: Plan, partitions: list[Partition], telemetry: RunTelemetry, holder: Holder | None) -> None:
    """Do what remains beside the run that holds the output's lock, from the other end.

    Raises
    ------
    CatalogueError
        That run works with other weights, settings or code.
    """
    if holder is None or not holder.alive:
        return
    if holder.run_key != plan.run_key:
        raise CatalogueError(
            f"process {holder.process} on {holder.host} writes this output with another estimator, other "
            "settings or other code: wait for it, or set locations.catalogue to another folder"
        )
    remaining = find_remaining(plan, partitions)[::-1]
    logger.info("joining process %s on %s: %d partitions to do", holder.process, holder.host, len(remaining))
    estimate_all(plan, remaining, telemetry)


def estimate_all(plan: Plan, partitions: list[Partition], telemetry: RunTelemetry) -> None:
    """Estimate partitions; those that fail again after a pause, in the end giving up what still cannot be read.

    The engines run a lost worker's partitions again by themselves. A partition that raises (a store that does not
    answer) they would only try at once, and Ray Data not even that.
    """
    remaining, retries = partitions, plan.config.engine.retries
    telemetry.expect(len(partitions))
    for attempt in range(retries + 1):
        give_up = attempt == retries
        done = set()
        now = replace(plan, give_up=give_up, attempt=attempt + 1, retried=telemetry.retried)
        for record in estimate_partitions(now, remaining):
            done.add(record.partition)
            telemetry.add(record)
        remaining = [partition for partition in remaining if partition not in done]
        if not remaining:
            return
        telemetry.retry(len(remaining))
        if not give_up:
            wait_to_retry(attempt, f"{len(remaining)} partitions failed")
    raise CatalogueError(
        f"{len(remaining)} partitions could not be done, {remaining[0].name} first: the log says why; run the job "
        "again to go on from here"
    )


def plan_run(config: Config) -> Plan:
    """Check that sources, estimator, settings and output fit together, and fix what the run does."""
    list_partitions(config.locations.sources)
    location = join(config.locations.models, config.inference.estimator)
    estimator = load_estimator(location)
    check_bands(estimator, config.survey)
    owner = {"run": config.run.name, "estimator": config.inference.estimator, "survey": config.survey.name}
    check_output(config.locations.catalogue, owner)
    weights = describe_weights(location)
    return Plan(
        config=config,
        estimator=location,
        image_bands=estimator.image_bands,
        cutout_size=estimator.cutout_size,
        weights=weights,
        run_key=compute_run_key(config.survey, config.inference, weights),
    )


def find_remaining(plan: Plan, partitions: list[Partition]) -> list[Partition]:
    """Find the partitions that are not done, not done with these inputs, or whose file does not verify."""
    config = plan.config
    if not has_records(config.locations.catalogue):
        return partitions
    check = partial(_check_partition, plan=plan)
    reasons: Counter[str] = Counter()
    remaining = []
    for result in run_tasks(check, partitions, config, label="partitions checked"):
        reasons[result["reason"] or "done and verified"] += 1
        if result["reason"]:
            remaining.append(Partition(order=result["order"], pixel=result["pixel"]))
    for reason, count in reasons.most_common():
        logger.info("%d partitions: %s", count, reason)
    return sorted(remaining)


def _check_partition(partition: Partition, *, plan: Plan) -> dict[str, Any]:
    try:
        reason = explain_remaining(plan.config.locations.catalogue, partition, compute_key(partition, plan))
    except Exception as error:  # noqa: BLE001 - whatever keeps it from being checked, doing it again is safe
        logger.warning("%s could not be checked: %s", partition.name, error)
        reason = "it could not be checked"
    return asdict(partition) | {"reason": reason}


def estimate_partitions(plan: Plan, partitions: list[Partition]) -> Iterator[Record]:
    """Run the stages over partitions on the configured engine and yield their records as they finish.

    A partition that still fails after the engine's retries yields none.
    """
    run = {"serial": _estimate_serial, "dask": _estimate_dask, "ray": _estimate_ray}[plan.config.engine.name]
    progress = Progress(len(partitions), "partitions", retried=plan.retried)
    for record in run(plan, partitions):
        progress.advance(galaxies=record.rows, quarantined=len(record.problems))
        for problem in record.problems[:_PROBLEMS_LOGGED]:
            logger.warning("%s: %s set aside (%s): %s", record.partition.name, *_describe(problem))
        yield record


def _describe(problem: dict[str, str | int]) -> tuple[str, str, str]:
    return f"{problem['subject']} ({problem['rows']} rows)", str(problem["stage"]), str(problem["error"])


def _estimate_serial(plan: Plan, partitions: list[Partition]) -> Iterator[Record]:
    """Estimate one partition while the next ones are read."""
    for partition, process in read_ahead(partitions, plan):
        try:
            yield process()
        except Exception as error:  # noqa: BLE001 - as on the other engines, one partition does not end the run
            logger.warning("%s failed: %r", partition.name, error)


def _estimate_dask(plan: Plan, partitions: list[Partition]) -> Iterator[Record]:
    with dask_client(plan.config) as client:
        for partition, future in map_dask(client, process_partition, partitions, plan=plan):
            if future.status == "finished":
                yield future.result()
            else:
                logger.warning("%s failed: %r", partition.name, future.exception())
            future.release()


def _estimate_ray(plan: Plan, partitions: list[Partition]) -> Iterator[Record]:
    if not partitions:
        return
    import ray
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    engine = plan.config.engine
    check_resources(find_resources(engine), engine)
    # One row a partition: the pickled work. Of a survey with more partitions than blocks some share a task, which hands
    # them on as they are done; when one raises, those of its task that are finished are skipped in the next pass.
    items = [{"work": pickle.dumps(partition)} for partition in partitions]
    with counting() as begun:
        data = (
            ray.data.from_items(items, override_num_blocks=min(len(items), MOST_BLOCKS))
            .map(_read_row, fn_args=(plan, begun), compute=TaskPoolStrategy(size=engine.workers), num_cpus=0.5)
            .map_batches(
                EstimatorActor,
                fn_constructor_args=(plan, begun),
                batch_size=1,
                compute=ActorPoolStrategy(size=engine.estimators),
                num_cpus=engine.cpus_per_estimator,
                num_gpus=engine.gpus_per_estimator,
                runtime_env={"env_vars": MALLOC_SETTINGS},
            )
            # Without a limit Ray starts a process, which takes seconds, for each of ten files a processor.
            .map(_write_row, fn_args=(plan, begun), compute=TaskPoolStrategy(size=engine.workers), num_cpus=0.1)
        )
        # A lost worker's partition is run again by Ray; one that raises is missing from the results. Of this dataset
        # alone, not by the context that all share: other work must raise.
        data.context.max_errored_blocks = -1
        for row in data.iter_rows():
            record: Record = pickle.loads(row["work"])
            yield replace(record, sums=record.sums | {"reruns": int(row["reruns"])})


def _read_row(row: dict[str, Any], plan: Plan, begun: Any) -> dict[str, Any]:
    partition: Partition = pickle.loads(row["work"])
    reruns = begin(begun, "read", partition.name)
    return {"work": pickle.dumps(read_stage(partition, plan)), "reruns": reruns}


class EstimatorActor:
    """Ray Data's estimating stage: holds the network for as long as it lives."""

    def __init__(self, plan: Plan, begun: Any) -> None:
        use_options(plan.config.storage_options)
        self._plan = plan
        self._begun = begun
        self._estimator = insist(lambda: prepare_planned(plan), plan.config, "loading the estimator")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        (pickled,), (reruns,) = batch["work"], batch["reruns"]
        work: Work = pickle.loads(pickled)
        reruns += begin(self._begun, "estimate", work.partition.name)
        return {"work": [pickle.dumps(estimate_stage(work, self._plan, self._estimator))], "reruns": [reruns]}


def _write_row(row: dict[str, Any], plan: Plan, begun: Any) -> dict[str, Any]:
    work: Work = pickle.loads(row["work"])
    reruns = row["reruns"] + begin(begun, "write", work.partition.name)
    return {"work": pickle.dumps(write_stage(work, plan)), "reruns": reruns}
