"""What is done and what remains: completion records keyed by content, beside the catalogue they speak of.

A partition is done when its record holds the key of exactly the inputs, settings, weights and code that a run would use
now, and its file is the one the record describes.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow.parquet as pq

import photoz
from photoz.catalogue.hats import PRIMARY, Partition, list_partitions, locate_partition, locate_primary
from photoz.errors import CatalogueError, TileError
from photoz.inputs import ALL_ROWS
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.storage import PART_SUFFIX, compute_checksum, exists, find_files, join, list_folder, read_json, write_json
from photoz.tiles import open_tile

RUN_FOLDER = "run"
# The sections that change what a row of the catalogue says, and what in them does not. The others say where and how
# fast.
_SETTINGS_THAT_MATTER = {"survey": (), "inference": ("join", "min_completeness")}


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


def locate_record(location: str, partition: Partition) -> str:
    """Return the file of a partition's completion record."""
    return join(location, RUN_FOLDER, "records", f"{partition.name}.json")


def write_record(location: str, record: Record) -> None:
    """Write a completion record; the partition's file must be in place before."""
    content = {name: value for name, value in asdict(record).items() if name != "shared"}
    write_json(locate_record(location, record.partition), content)


def read_record(location: str, partition: Partition) -> Record | None:
    """Read a partition's completion record, or None where there is none that can be read."""
    try:
        return msgspec.convert(read_json(locate_record(location, partition)), Record)
    except (FileNotFoundError, photoz.errors.PhotozError, msgspec.ValidationError):
        return None


def explain_remaining(config: Config, partition: Partition, key: str) -> str:
    """Say why a partition must be done, or return "" when it is done and its file verifies.

    ``key`` is the partition's content key now (`compute_partition_key`).
    """
    record = read_record(config.locations.catalogue, partition)
    if record is None:
        return "not done yet"
    if record.key != key:
        return "its inputs, settings, weights or code changed"
    if any(problem["stage"] == "read" for problem in record.problems):
        return "a tile could not be read last time"
    if any(problem["subject"] == ALL_ROWS for problem in record.problems):
        return "the estimator failed on all of its rows last time"
    file = locate_partition(locate_output(config), partition)
    if not exists(file):
        return "its file is missing"
    return "" if compute_checksum(file) == record.sha256 else "its file is damaged"


def compute_run_key(config: Config, weights: Mapping[str, str]) -> str:
    """Compute the key of what all partitions of a run share: weights, settings that matter and code.

    ``weights`` as of `describe_weights`.
    """
    settings = config_to_dict(config)
    return _hash_json(
        {
            "estimator": dict(weights),
            "settings": {
                section: {key: value for key, value in settings[section].items() if key not in others}
                for section, others in _SETTINGS_THAT_MATTER.items()
            },
            "code": compute_code_version(),
        }
    )


def compute_partition_key(
    config: Config, partition: Partition, run_key: str, *, images: bool, give_up: bool = False
) -> str:
    """Compute the content key of one partition: the run's key, its source rows and the tiles they lie on.

    Parameters
    ----------
    config : Config
    partition : Partition
    run_key : str
        From `compute_run_key`.
    images : bool
        Whether the estimator reads the tiles; photometry alone does not depend on them.
    give_up : bool
        Take any error of the store for a tile that cannot be read, as in `photoz.inputs.attach_cutouts`.
    """
    source_file = locate_partition(locate_primary(config.locations.sources), partition)
    tiles = _list_tiles(source_file) if images else []
    return _hash_json(
        {
            "run": run_key,
            "sources": compute_checksum(source_file),
            "tiles": {name: _compute_tile_checksum(config, name, give_up) for name in tiles},
        }
    )


@lru_cache(maxsize=1)
def compute_code_version() -> str:
    """Compute a digest of the photoz sources as installed, so that changed code redoes what it made."""
    folder = Path(photoz.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def check_output(config: Config) -> None:
    """Refuse an output folder that holds another run, before any work; note whose it is otherwise.

    Raises
    ------
    CatalogueError
        The folder holds another run's catalogue, or files of something else.
    """
    location = config.locations.catalogue
    owner = {"run": config.run.name, "estimator": config.inference.estimator, "survey": config.survey.name}
    file = join(location, RUN_FOLDER, "owner.json")
    if exists(file):
        found = read_json(file)
        if found != owner:
            raise CatalogueError(
                f"{location!r} holds another run ({found}, this is {owner}): set locations.catalogue to another "
                "folder, or remove that one"
            )
    elif list_folder(location):
        raise CatalogueError(
            f"{location!r} holds files that are no photoz run: set locations.catalogue to an empty or new folder"
        )
    else:
        write_json(file, owner)


def describe_weights(location: str) -> dict[str, str]:
    """Return the SHA-256 of every file of an estimator's folder, by name."""
    return {name.rpartition("/")[2]: compute_checksum(name) for name in list_folder(location)}


def describe_versions() -> dict[str, str]:
    """Return the versions of photoz and of the libraries that decide its numbers, for run records."""
    names = ("photoz", "torch", "numpy", "pyarrow", "zarr", "ray", "dask", "hats", "astropy")
    return {name: importlib.metadata.version(name) for name in names}


def list_remaining_files(config: Config) -> list[str]:
    """List the partition files in the output that no partition of the source catalogue accounts for."""
    primary = locate_output(config)
    expected = {locate_partition(primary, part) for part in list_partitions(config.locations.sources)}
    found = find_files(join(primary, "dataset"), "Norder=*/Dir=*/Npix=*.parquet")
    return [file for name in found if (file := join(primary, "dataset", name)) not in expected]


def list_begun_files(config: Config) -> list[str]:
    """List what processes that died in the middle of writing left in the output."""
    records = join(config.locations.catalogue, RUN_FOLDER, "records")
    dataset = join(locate_output(config), "dataset")
    begun = [join(dataset, name) for name in find_files(dataset, f"Norder=*/Dir=*/.*{PART_SUFFIX}")]
    return [*begun, *list_folder(records, f".*{PART_SUFFIX}")]


def locate_output(config: Config) -> str:
    """Return the folder of the output's primary table, which may not exist yet."""
    return join(config.locations.catalogue, PRIMARY)


def _list_tiles(source_file: str) -> list[str]:
    with fsspec.open(source_file, "rb") as file:
        column = pq.read_table(file, columns=["tile"])["tile"]
    return sorted(column.unique().to_pylist())


def _compute_tile_checksum(config: Config, name: str, give_up: bool) -> str:
    expected: tuple[type[Exception], ...] = (Exception,) if give_up else (TileError,)
    try:
        return open_tile(config.locations.tiles, name).checksum
    except expected:
        return "unreadable"


def _hash_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
