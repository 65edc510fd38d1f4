"""Completing a catalogue whose partitions are written: metadata, margin, run record; what makes it open comes last."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from cluster.ledger import RUN_FOLDER, Record, describe_versions, list_remaining_files, locate_output, read_record
from cluster.partitioning import write_margin
from cluster.stages import Plan
from photoz.catalogue import Partition, finish_catalogue, finish_collection
from photoz.config import Config, config_to_dict
from photoz.errors import CatalogueError
from photoz.storage import exists, join, remove, write_json

logger = logging.getLogger(__name__)


def publish(plan: Plan, partitions: list[Partition]) -> None:
    """Complete the catalogue: metadata of the primary table, the margin, and last what makes it open as one."""
    config = plan.config
    for stale in list_remaining_files(config):
        logger.info("removing %s, which the source catalogue no longer has", stale)
        remove(stale)
    rows = [(record.partition, record.rows) for record in _read_records(config, partitions)]
    info = {"photoz_run": config.run.name, "photoz_estimator": config.inference.estimator}
    finish_catalogue(config.locations.catalogue, rows, info=info)
    margin = config.sources.margin_arcsec > 0
    if margin:
        write_margin(config, config.locations.catalogue)
    finish_collection(config.locations.catalogue, name=config.run.name, margin=margin)


def is_published(config: Config) -> bool:
    """Tell whether the catalogue was completed."""
    return exists(join(config.locations.catalogue, "collection.properties"))


def unpublish(config: Config) -> None:
    """Take back what makes the catalogue open: its partitions are about to be replaced."""
    remove(join(config.locations.catalogue, "collection.properties"))
    remove(join(locate_output(config), "hats.properties"))


def _read_records(config: Config, partitions: list[Partition]) -> Iterator[Record]:
    for partition in partitions:
        record = read_record(config.locations.catalogue, partition)
        if record is None:
            raise CatalogueError(f"partition {partition.name} has no completion record: run the job again")
        yield record


def write_run_record(plan: Plan, partitions: list[Partition], *, done: int, started: float) -> dict[str, Any]:
    """Sum up the partitions' records and write the run record beside the catalogue."""
    rows, estimated, flags, seconds = 0, 0, Counter[str](), Counter[str]()
    for record in _read_records(plan.config, partitions):
        rows += record.rows
        estimated += record.estimated
        flags.update(record.flags)
        seconds.update(record.seconds)
    summary = {
        "run": plan.config.run.name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "partitions": len(partitions),
        "partitions_done_now": done,
        "rows": rows,
        "estimated": estimated,
        "completeness": estimated / rows if rows else 1.0,
        "flags": dict(flags),
        "stage_seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "run_key": plan.run_key,
        "estimator": plan.estimator,
        "versions": describe_versions(),
        "config": config_to_dict(plan.config),
    }
    write_json(join(plan.config.locations.catalogue, RUN_FOLDER, "run.json"), summary)
    return summary
