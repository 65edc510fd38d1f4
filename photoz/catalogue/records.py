"""What a run leaves beside its catalogue: the run folder, and in it a completion record of each partition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import msgspec
import pyarrow.parquet as pq

from photoz.catalogue.hats import Partition
from photoz.errors import PhotozError
from photoz.storage import (
    PART_SUFFIX,
    JsonObject,
    exists,
    find_filesystem,
    join,
    list_folder,
    open_file,
    read_json,
    write_json,
)

# Enough requests at a time to hide a store's latency, few enough that a survey of 100,000 partitions is not held in
# memory.
_GROUP = 1000  # records asked of a store together
REPEATED_IDS = "repeated_ids"
"""Folder of the run folder: Parquet with ``object_id`` and ``count`` of each identifier that several rows of the table
have, where such are kept."""
_TIMES = ("LastModified", "mtime", "updated", "last_modified")  # what stores call the time of an object's last change


@dataclass(frozen=True)
class Record:
    """Completion record of one partition.

    Parameters
    ----------
    order, pixel : int
        The partition.
    key : str
        Content key of everything its rows depend on.
    rows, estimated : int
        Rows written, and those of them with a finite z_phot.
    sha256 : str
        Of the Parquet file.
    flags : dict
        Flag name -> rows that carry it.
    problems : list of dict
        What cost rows their image or estimate (`photoz.inputs.Problem`), and in ``tries`` how often the partition was
        tried.
    sums : dict
        Seconds (``..._s``), bytes and requests by stage.
    estimator : str
        Host and process that estimated it.
    """

    order: int
    pixel: int
    key: str
    rows: int
    estimated: int
    sha256: str
    flags: dict[str, int] = field(default_factory=dict)
    problems: list[dict[str, str | int]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    estimator: str = ""
    shared: bool = False
    """In memory alone: found finished, by another run on the same output or by this one before it lost a worker."""

    @property
    def partition(self) -> Partition:
        """The partition this record speaks of."""
        return Partition(order=self.order, pixel=self.pixel)


@dataclass(frozen=True)
class PastRun:
    """What a catalogue's run record (``run/run.json``) tells to those who read the catalogue later.

    Parameters
    ----------
    started : str or None
        When the last run on this output began; None where the record does not tell, as those of others' catalogues.
    seconds : float
        [s] it took.
    estimator : str or None
        Location of the estimator's folder.
    name : str or None
        Of the run, in its settings.
    versions : dict
        Of photoz and its libraries; empty where the record does not tell.
    config : dict
        Its settings; empty where the record does not tell.
    """

    started: str | None = None
    seconds: float = 0
    estimator: str | None = None
    name: str | None = None
    versions: JsonObject = field(default_factory=dict)
    config: JsonObject = field(default_factory=dict)


def locate_in_run(location: str, *names: str) -> str:
    """Return the place of a name in the run folder of a catalogue.

    >>> locate_in_run("s3://bucket/catalogue", "run.json")
    's3://bucket/catalogue/run/run.json'
    """
    return join(location, "run", *names)


def locate_record(location: str, partition: Partition) -> str:
    """Return the file of a partition's completion record."""
    return locate_in_run(location, "records", f"{partition.name}.json")


def has_records(location: str) -> bool:
    """Tell whether any partition of a catalogue has a completion record."""
    return bool(list_folder(locate_in_run(location, "records"), "*.json"))


def list_begun_records(location: str) -> list[str]:
    """List what processes that died in the middle of writing a record left."""
    return list_folder(locate_in_run(location, "records"), f".*{PART_SUFFIX}")


def write_record(location: str, record: Record) -> None:
    """Write a completion record; the partition's file must be in place before."""
    # Who found it finished is true of one run alone; on disk it would be told to all later ones.
    content = {name: value for name, value in asdict(record).items() if name != "shared"}
    write_json(locate_record(location, record.partition), content)


def read_record(location: str, partition: Partition) -> Record | None:
    """Read a partition's completion record, or None where there is none that can be read."""
    (record,) = read_records(location, [partition])
    return record


def read_records(location: str, partitions: Sequence[Partition]) -> Iterator[Record | None]:
    """Read the completion records of partitions, many at one time: each waits for its store.

    Parameters
    ----------
    location : str
        The catalogue.
    partitions : sequence of Partition

    Yields
    ------
    Record or None
        In the order of ``partitions``; None where there is no record that can be read, which is as if the partition
        had not been done. Some thousand are held at one time.

    Raises
    ------
    OSError
        The store does not answer.
    """
    for at in range(0, len(partitions), _GROUP):
        yield from _read_files([locate_record(location, partition) for partition in partitions[at : at + _GROUP]])


def scan_records(location: str) -> Iterator[tuple[Record, float]]:
    """Read all completion records that there are, each with the time it was written [s since 1970]; 0 if not told."""
    folder = locate_in_run(location, "records")
    filesystem, path = find_filesystem(folder)
    # fsspec keeps listings, and other workers have written records since the last one.
    filesystem.invalidate_cache()
    infos = filesystem.find(path, detail=True)
    # A record that is being written ends in .part, and is passed over like one that its writer never finished.
    times = {name.rpartition("/")[2]: _find_time(info) for name, info in infos.items() if name.endswith(".json")}
    names = list(times)
    for at in range(0, len(names), _GROUP):
        group = names[at : at + _GROUP]
        for name, record in zip(group, _read_files([join(folder, name) for name in group]), strict=True):
            if record is not None:
                yield record, times[name]


def read_past_run(location: str) -> PastRun:
    """Read what the record of the run that wrote a catalogue tells; nothing of it where there is none.

    Raises
    ------
    PhotozError
        It is not JSON.
    """
    file = locate_in_run(location, "run.json")
    found = read_json(file) if exists(file) else {}
    # A hand-made file may hold a list or a number.
    record = found if isinstance(found, dict) else {}
    started, estimator, this_run = record.get("started"), record.get("estimator"), record.get("this_run")
    name, versions, config = record.get("run"), record.get("versions"), record.get("config")
    return PastRun(
        started=started if isinstance(started, str) else None,
        seconds=this_run.get("seconds", 0) if isinstance(this_run, dict) else 0,
        estimator=estimator if isinstance(estimator, str) else None,
        name=name if isinstance(name, str) else None,
        versions=versions if isinstance(versions, dict) else {},
        config=config if isinstance(config, dict) else {},
    )


def read_run_file(location: str, name: str) -> JsonObject:
    """Read a JSON file of a catalogue's run folder; empty where there is none that can be read."""
    try:
        found = read_json(locate_in_run(location, name))
    except (FileNotFoundError, PhotozError):
        return {}
    return found if isinstance(found, dict) else {}


def count_repeated(location: str) -> int:
    """Count the identifiers that several rows of a catalogue have, as its run has listed them (`REPEATED_IDS`)."""
    count = 0
    for name in list_folder(locate_in_run(location, REPEATED_IDS), "*.parquet"):
        with open_file(name) as file:
            # Of the footer alone: there may be millions of them.
            count += pq.ParquetFile(file).metadata.num_rows
    return count


def _read_files(files: list[str]) -> Iterator[Record | None]:
    filesystem, _ = find_filesystem(files[0])
    paths = [find_filesystem(file)[1] for file in files]
    # Not `cat`, which takes names for patterns; stores answer many requests at once faster than one by one.
    for content in filesystem.cat_ranges(paths, None, None, on_error="return"):
        # A store that does not answer must not pass for work undone: the run would estimate everything again.
        if isinstance(content, BaseException) and not isinstance(content, FileNotFoundError):
            raise content
        yield None if isinstance(content, BaseException) else _decode(content)


def _decode(content: bytes) -> Record | None:
    try:
        return msgspec.json.decode(content, type=Record)
    # Damaged or of another version: the partition is done again, which is right and only costs time.
    except msgspec.DecodeError:
        return None


def _find_time(info: Mapping[str, object]) -> float:
    for key in _TIMES:
        # s3fs tells a datetime, the local file system seconds: fsspec settles neither the key nor its type.
        match info.get(key):
            case datetime() as when:
                return when.timestamp()
            case float() | int() as when:
                return float(when)
    return 0.0
