"""Completing a catalogue whose partitions are written: metadata, margin, run record; what makes it open comes last."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.engines.base import Engine
from cluster.engines.tasks import run_tasks
from cluster.inference.plan import Plan
from cluster.ledger import describe_versions, list_begun_files, list_remaining_files, locate_output
from cluster.seal import compute_checksums, find_changed
from cluster.telemetry import RunFigures, RunTelemetry
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
from photoz.catalogue.records import Record, locate_in_run, read_records, read_run_file
from photoz.content import compute_key
from photoz.errors import CatalogueError
from photoz.schema import make_field
from photoz.settings import config_to_dict
from photoz.storage import exists, find_files, join, open_atomic, remove, write_json

logger = logging.getLogger(__name__)

_SEAL = "published.json"
_GROUP = 1000  # partitions whose failures are held at one time
_FAILURES = pa.schema(
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


@dataclass(frozen=True)
class Done:
    """What the completion records of all partitions say together, read once.

    Parameters
    ----------
    partitions : tuple of Partition
        In the order of the source catalogue.
    rows_of, sha256_of : tuple
        Of each partition: its rows, and the SHA-256 of its file.
    rows, estimated : int
        In all.
    flags : dict
        Flag name -> rows that carry it.
    failures : int
        Tiles and rows that were set aside; each stands in ``run/failures.parquet``.
    """

    partitions: tuple[Partition, ...]
    rows_of: tuple[int, ...]
    sha256_of: tuple[str, ...]
    estimated: int
    flags: dict[str, int]
    failures: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(self.rows_of)


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run when its catalogue is complete, also written as ``run/run.json``.

    Parameters
    ----------
    run : str
        Its name in the settings.
    started : str
        UTC, as 2026-01-31T12:00:00Z.
    partitions, rows, estimated, flags, failures
        As in `Done`, of the whole catalogue.
    completeness : float
        Share of the rows that have a redshift; 1 without a row.
    this_run : RunFigures
        Of this run alone; earlier ones may have done a part of the partitions.
    run_key : str
        What the run does (`cluster.ledger.compute_run_key`).
    estimator : str
        Location of its folder.
    weights : dict of str to str
        Its files -> their checksums.
    versions : dict of str to str
        Of photoz and of the libraries that decide its numbers.
    config : mapping
        The resolved settings.
    """

    run: str
    started: str
    partitions: int
    rows: int
    estimated: int
    completeness: float
    flags: dict[str, int]
    failures: int
    this_run: RunFigures
    run_key: str
    estimator: str
    weights: dict[str, str]
    versions: dict[str, str]
    config: Mapping[str, object]


def sum_up_records(location: str, partitions: Sequence[Partition]) -> Done:
    """Read the records of all partitions, once, and write ``run/failures.parquet`` from them on the way.

    Records are dropped as they are read: a survey whose every row had a problem must not have to fit into memory.

    Parameters
    ----------
    location : str
        The photo-z catalogue.
    partitions : sequence of Partition
        All of the source catalogue.

    Raises
    ------
    CatalogueError
        A partition has no record that can be read.
    """
    rows, checksums = [], []
    sums, flags = Counter[str](), Counter[str]()
    with open_atomic(locate_in_run(location, "failures.parquet")) as file, pq.ParquetWriter(file, _FAILURES) as writer:
        for group in _list_groups(partitions):
            failures: list[dict[str, str | int]] = []
            for record in _read_all(location, group):
                rows.append(record.rows)
                checksums.append(record.sha256)
                sums["estimated"] += record.estimated
                flags.update(record.flags)
                failures += [asdict(record.partition) | problem for problem in record.problems]
            # Counted and let go with their group: the file has them all.
            sums["failures"] += len(failures)
            writer.write_table(pa.Table.from_pylist(failures, schema=_FAILURES))
    return Done(tuple(partitions), tuple(rows), tuple(checksums), sums["estimated"], dict(flags), sums["failures"])


def _list_groups(partitions: Sequence[Partition]) -> Iterator[Sequence[Partition]]:
    for at in range(0, len(partitions), _GROUP):
        yield partitions[at : at + _GROUP]


def _read_all(location: str, partitions: Sequence[Partition]) -> Iterator[Record]:
    for partition, record in zip(partitions, read_records(location, partitions), strict=True):
        if record is None:
            raise CatalogueError(f"partition {partition.name} has no completion record: run the job again")
        yield record


def publish(plan: Plan, done: Done, engine: Engine) -> None:
    """Complete the catalogue: metadata of the primary table, the margin, and last what makes it open as one.

    Parameters
    ----------
    plan : Plan
        Of the run that holds the output's lock.
    done : Done
        From `sum_up_records`.
    engine : Engine
        Makes the margin and the checksums.
    """
    config, location = plan.config, plan.config.locations.catalogue
    # First, since hats makes the metadata from whatever files it finds.
    for stale in list_remaining_files(location, done.partitions):
        logger.info("removing %s, which the source catalogue no longer has", stale)
        remove(stale)
    # What a run beside this one is writing may go too: it fails there, is tried again and found done.
    for begun in list_begun_files(location):
        remove(begun)
    info = {"photoz_run": config.run.name, "photoz_estimator": config.inference.estimator}
    finish_catalogue(location, zip(done.partitions, done.rows_of, strict=True), info=info)
    margin_arcsec = config.sources.margin_arcsec
    # As a whole: files of pixels that have no margin any more would stay, and be read as part of it.
    remove(join(location, MARGIN))
    if margin_arcsec > 0:
        write_margin(location, done.partitions, margin_arcsec, engine)
    # When the margin lies there, whose files are among those that are summed.
    files = compute_checksums(engine, location, _list_published(location))
    # The seal before what makes the folder open. A crash in between leaves a catalogue that is completed again; the
    # other order would leave one that is open, and that nothing tells to be whole.
    write_json(locate_in_run(location, _SEAL), {"key": _compute_publish_key(plan, done), "files": files})
    finish_collection(location, name=config.run.name, margin=margin_arcsec > 0)


def write_margin(location: str, partitions: Sequence[Partition], margin_arcsec: float, engine: Engine) -> None:
    """Write the margin of the finished primary table: the neighbours' rows within some distance.

    Parameters
    ----------
    location : str
        Of the catalogue.
    partitions : sequence of Partition
        All of the primary table.
    margin_arcsec : float
        [arcsec]
    engine : Engine
    """
    location = location.rstrip("/")
    write, tasks = partial(write_margins, margin_arcsec), plan_margins(location, partitions)
    results = run_tasks(write, tasks, engine, label="squares of margins")
    margins = [margin for result in results for margin in result]
    # A margin without a row has no file that it could be taken from.
    schema = read_partition(location, partitions[0]).schema
    finish_margin(location, margins, threshold=margin_arcsec, schema=schema)


def is_published(location: str) -> bool:
    """Tell whether a photo-z catalogue was completed."""
    # The file that is written last (`publish`) and removed first (`unpublish`).
    return exists(join(location, "collection.properties"))


def explain_unpublished(plan: Plan, done: Done, engine: Engine) -> str:
    """Say why a catalogue must be completed (again), or return "" when it was, and is still what was completed.

    Parameters
    ----------
    plan : Plan
    done : Done
        From `sum_up_records`. The partitions' own files are not looked at: `explain_remaining` of the ledger does that.
    engine : Engine
        Reads the files that were completed.
    """
    location = plan.config.locations.catalogue
    if not is_published(location):
        return "it is not complete"
    # From cheap to dear: only the last check reads the margin and the metadata.
    seal = read_run_file(location, _SEAL)
    # The seal is written before the catalogue opens (`publish`): one that is open without it is of an earlier version,
    # or somebody removed the seal.
    if "files" not in seal:
        return "what it was completed with is not known"
    if seal.get("key") != _compute_publish_key(plan, done):
        return "its partitions or its margin are no longer those it was completed with"
    changed = find_changed(engine, location, seal["files"])
    return f"{changed[0]} and {len(changed) - 1} other files are missing or damaged" if changed else ""


def _compute_publish_key(plan: Plan, done: Done) -> str:
    """Compute the key of what the metadata and the margin depend on."""
    config = plan.config
    partitions = zip((part.name for part in done.partitions), done.rows_of, done.sha256_of, strict=True)
    # Both names stand in the metadata, as properties of the catalogue.
    settings = [config.run.name, config.inference.estimator, config.sources.margin_arcsec]
    return compute_key({"settings": settings, "partitions": list(partitions)})


def _list_published(location: str) -> list[str]:
    """List the margin's files and all metadata, but not the partitions' files: each record has its own's checksum."""
    names = find_files(location)
    metadata = [name for name in names if name.startswith(f"{PRIMARY}/") and "/Npix=" not in name]
    return metadata + [name for name in names if name.startswith(f"{MARGIN}/")]


def unpublish(location: str) -> None:
    """Take back what makes a catalogue and its margin open: its partitions are about to be replaced."""
    # From the outside in: a process that dies between two of these leaves nothing that opens.
    remove(join(location, "collection.properties"))
    for table in (locate_output(location), join(location, MARGIN)):
        # "hats.properties" first: it is what photoz looks for, "properties" what older readers do.
        for name in ("hats.properties", "properties", "partition_info.csv", "dataset/_metadata"):
            remove(join(table, name))


def write_run_record(plan: Plan, done: Done, telemetry: RunTelemetry) -> RunRecord:
    """Write the run record beside the catalogue, and return it.

    Parameters
    ----------
    plan : Plan
    done : Done
        From `sum_up_records`.
    telemetry : RunTelemetry
        Of this run alone; earlier ones may have done a part of the partitions.
    """
    record = RunRecord(
        run=plan.config.run.name,
        started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(telemetry.started)),
        partitions=len(done.partitions),
        rows=done.rows,
        estimated=done.estimated,
        completeness=done.estimated / done.rows if done.rows else 1.0,
        flags=done.flags,
        failures=done.failures,
        this_run=telemetry.summarize(),
        run_key=plan.run_key,
        estimator=plan.estimator,
        weights=dict(plan.weights),
        versions=describe_versions(),
        # No secret among them: settings that hold one are refused (`photoz.settings.base`).
        config=config_to_dict(plan.config),
    )
    write_json(locate_in_run(plan.config.locations.catalogue, "run.json"), asdict(record))
    return record
