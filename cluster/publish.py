"""Completing a catalogue whose partitions are written: metadata, margin, run record; what makes it open comes last."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.engines import run_tasks
from cluster.ledger import (
    RUN_FOLDER,
    Record,
    describe_versions,
    describe_weights,
    list_begun_files,
    list_remaining_files,
    locate_output,
    read_record,
)
from cluster.stages import Plan
from cluster.telemetry import RunTelemetry
from photoz.catalogue import MARGIN, Partition, finish_catalogue, finish_collection, finish_margin, read_partition
from photoz.config import Config
from photoz.errors import CatalogueError
from photoz.margins import plan_margins, write_margins
from photoz.schema import make_field
from photoz.settings import config_to_dict
from photoz.storage import exists, join, open_atomic, remove, write_json

logger = logging.getLogger(__name__)


def publish(plan: Plan, partitions: list[Partition]) -> None:
    """Complete the catalogue: metadata of the primary table, the margin, and last what makes it open as one."""
    config = plan.config
    for stale in list_remaining_files(config):
        logger.info("removing %s, which the source catalogue no longer has", stale)
        remove(stale)
    for begun in list_begun_files(config):
        remove(begun)
    rows = [(record.partition, record.rows) for record in _read_records(config, partitions)]
    info = {"photoz_run": config.run.name, "photoz_estimator": config.inference.estimator}
    finish_catalogue(config.locations.catalogue, rows, info=info)
    margin = config.sources.margin_arcsec > 0
    if margin:
        write_margin(config, partitions)
    finish_collection(config.locations.catalogue, name=config.run.name, margin=margin)


def write_margin(config: Config, partitions: list[Partition]) -> None:
    """Write the margin of the finished primary table: the neighbours' rows within ``sources.margin_arcsec``."""
    location = config.locations.catalogue.rstrip("/")
    remove(join(location, MARGIN))
    results = run_tasks(write_margins, plan_margins(location, partitions), config, label="squares of margins")
    margins = [margin for result in results for margin in result["margins"]]
    schema = read_partition(location, partitions[0]).schema
    finish_margin(location, margins, threshold=config.sources.margin_arcsec, schema=schema)


def is_published(config: Config) -> bool:
    """Tell whether the catalogue was completed."""
    return exists(join(config.locations.catalogue, "collection.properties"))


def unpublish(config: Config) -> None:
    """Take back what makes the catalogue and its margin open: its partitions are about to be replaced."""
    remove(join(config.locations.catalogue, "collection.properties"))
    for table in (locate_output(config), join(config.locations.catalogue, MARGIN)):
        for name in ("hats.properties", "properties", "partition_info.csv", "dataset/_metadata"):
            remove(join(table, name))


def _read_records(config: Config, partitions: list[Partition]) -> Iterator[Record]:
    for partition in partitions:
        record = read_record(config.locations.catalogue, partition)
        if record is None:
            raise CatalogueError(f"partition {partition.name} has no completion record: run the job again")
        yield record


def write_run_record(plan: Plan, partitions: list[Partition], telemetry: RunTelemetry) -> dict[str, Any]:
    """Sum up the partitions' records and write the run record, and what failed, beside the catalogue."""
    rows, estimated, flags = 0, 0, Counter[str]()
    failures = []
    for record in _read_records(plan.config, partitions):
        rows += record.rows
        estimated += record.estimated
        flags.update(record.flags)
        failures += [asdict(record.partition) | problem for problem in record.problems]
    write_failures(plan.config, failures)
    summary = {
        "run": plan.config.run.name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(telemetry.started)),
        "partitions": len(partitions),
        "rows": rows,
        "estimated": estimated,
        "completeness": estimated / rows if rows else 1.0,
        "flags": dict(flags),
        "failures": len(failures),
        "this_run": telemetry.summarize(),
        "run_key": plan.run_key,
        "estimator": plan.estimator,
        "weights": describe_weights(plan.estimator),
        "versions": describe_versions(),
        "config": config_to_dict(plan.config),
    }
    write_json(join(plan.config.locations.catalogue, RUN_FOLDER, "run.json"), summary)
    return summary


def write_failures(config: Config, failures: list[dict[str, Any]]) -> None:
    """Write ``failures.parquet``: the tiles and rows that were set aside, how often tried, and what was said."""
    schema = pa.schema(
        [
            make_field("order", pa.int32(), unit="", description="HEALPix order of the partition"),
            make_field("pixel", pa.int64(), unit="", description="HEALPix pixel of the partition"),
            make_field("stage", pa.string(), unit="", description="read or estimate"),
            make_field("subject", pa.string(), unit="", description="the tile or the object_id"),
            make_field("rows", pa.int64(), unit="", description="rows it cost their image or estimate"),
            make_field("error", pa.string(), unit="", description="what was said"),
        ]
    )
    with open_atomic(join(config.locations.catalogue, RUN_FOLDER, "failures.parquet")) as file:
        pq.write_table(pa.Table.from_pylist(failures, schema=schema), file)
