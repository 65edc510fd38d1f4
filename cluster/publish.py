"""Completing a catalogue whose partitions are written: metadata, margin, run record; what makes it open comes last."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.engines import run_tasks
from cluster.inference.stages import Plan
from cluster.ledger import (
    RUN_FOLDER,
    Record,
    describe_versions,
    list_begun_files,
    list_remaining_files,
    locate_output,
    read_record,
)
from cluster.seal import compute_checksums, find_changed
from cluster.telemetry import RunTelemetry
from photoz.catalogue.hats import (
    MARGIN,
    PRIMARY,
    Partition,
    finish_catalogue,
    finish_collection,
    finish_margin,
    read_partition,
)
from photoz.catalogue.margins import plan_margins, write_margins
from photoz.errors import CatalogueError, PhotozError
from photoz.schema import make_field
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.storage import exists, find_files, join, open_atomic, read_json, remove, write_json
from photoz.tiles.fetch import choose_threads

logger = logging.getLogger(__name__)

_READS, _GROUP = 32, 1000  # records read at one time from a store, and asked for together


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
    remove(join(config.locations.catalogue, MARGIN))
    if margin:
        write_margin(config, partitions)
    files = compute_checksums(config, config.locations.catalogue, _list_published(config))
    write_json(_locate_seal(config), {"key": _compute_publish_key(config, partitions), "files": files})
    finish_collection(config.locations.catalogue, name=config.run.name, margin=margin)


def write_margin(config: Config, partitions: list[Partition]) -> None:
    """Write the margin of the finished primary table: the neighbours' rows within ``sources.margin_arcsec``."""
    location = config.locations.catalogue.rstrip("/")
    results = run_tasks(
        partial(write_margins, config), plan_margins(location, partitions), config, label="squares of margins"
    )
    margins = [margin for result in results for margin in result["margins"]]
    schema = read_partition(location, partitions[0]).schema
    finish_margin(location, margins, threshold=config.sources.margin_arcsec, schema=schema)


def is_published(config: Config) -> bool:
    """Tell whether the catalogue was completed."""
    return exists(join(config.locations.catalogue, "collection.properties"))


def explain_unpublished(config: Config, partitions: list[Partition]) -> str:
    """Say why a catalogue must be completed (again), or return "" when it was, and is still what was completed.

    The partitions' own files are not looked at: `cluster.ledger.explain_remaining` does that.
    """
    if not is_published(config):
        return "it is not complete"
    try:
        seal = read_json(_locate_seal(config))
    except (FileNotFoundError, PhotozError):
        return "what it was completed with is not known"
    if seal.get("key") != _compute_publish_key(config, partitions):
        return "its partitions or its margin are no longer those it was completed with"
    changed = find_changed(config, config.locations.catalogue, seal["files"])
    return f"{changed[0]} and {len(changed) - 1} other files are missing or damaged" if changed else ""


def _locate_seal(config: Config) -> str:
    return join(config.locations.catalogue, RUN_FOLDER, "published.json")


def _compute_publish_key(config: Config, partitions: list[Partition]) -> str:
    """Compute the key of what the metadata and the margin depend on."""
    digest = hashlib.sha256(f"{config.run.name} {config.inference.estimator} {config.sources.margin_arcsec}".encode())
    for record in _read_records(config, partitions):
        digest.update(f"{record.partition.name} {record.rows} {record.sha256}".encode())
    return digest.hexdigest()


def _list_published(config: Config) -> list[str]:
    """List the margin's files and all metadata, but not the partitions' files: each record has its own's checksum."""
    names = find_files(config.locations.catalogue)
    metadata = [name for name in names if name.startswith(f"{PRIMARY}/") and "/Npix=" not in name]
    return metadata + [name for name in names if name.startswith(f"{MARGIN}/")]


def unpublish(config: Config) -> None:
    """Take back what makes the catalogue and its margin open: its partitions are about to be replaced."""
    remove(join(config.locations.catalogue, "collection.properties"))
    for table in (locate_output(config), join(config.locations.catalogue, MARGIN)):
        for name in ("hats.properties", "properties", "partition_info.csv", "dataset/_metadata"):
            remove(join(table, name))


def _read_records(config: Config, partitions: list[Partition]) -> Iterator[Record]:
    """Read the partitions' records, from a store many at one time: each waits for it."""
    location = config.locations.catalogue
    with ThreadPoolExecutor(choose_threads(location, _READS)) as pool:
        for at in range(0, len(partitions), _GROUP):
            group = partitions[at : at + _GROUP]
            for partition, record in zip(group, pool.map(partial(read_record, location), group), strict=True):
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
        "weights": dict(plan.weights),
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
            make_field("stage", pa.string(), unit="", description="read, cutout or estimate"),
            make_field("subject", pa.string(), unit="", description="the tile or the object_id"),
            make_field("rows", pa.int64(), unit="", description="rows it cost their image or estimate"),
            make_field("tries", pa.int32(), unit="", description="times the partition was tried"),
            make_field("error", pa.string(), unit="", description="what was said"),
        ]
    )
    with open_atomic(join(config.locations.catalogue, RUN_FOLDER, "failures.parquet")) as file:
        pq.write_table(pa.Table.from_pylist(failures, schema=schema), file)
