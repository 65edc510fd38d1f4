"""What is done and what remains: completion records keyed by content, beside the catalogue they speak of.

A partition is done when its record holds the key of exactly the inputs, settings, weights and code that a run would use
now, and its file is the one the record describes.
"""

import importlib.metadata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import photoz
from photoz.catalogue.hats import PRIMARY, Partition, locate_partition
from photoz.catalogue.records import list_begun_records, locate_in_run, read_record
from photoz.content import compute_key, hash_bytes
from photoz.errors import CatalogueError, TileError
from photoz.inputs import ALL_ROWS
from photoz.settings import config_to_dict
from photoz.settings.inference import Inference
from photoz.settings.run import Locations, Run
from photoz.sources import compute_sources_checksum, read_sources
from photoz.storage import (
    PART_SUFFIX,
    compute_checksum,
    exists,
    find_files,
    join,
    list_folder,
    read_json,
    write_json,
)
from photoz.survey.settings import Survey

_WITHOUT_EFFECT = {"join", "min_completeness"}  # settings of inference that change no row of the catalogue


def explain_remaining(location: str, partition: Partition, key: str) -> str:
    """Say why a partition must be done, or return "" when it is done and its file verifies.

    Parameters
    ----------
    location : str
        The photo-z catalogue.
    partition : Partition
    key : str
        The partition's content key now (`compute_partition_key`).
    """
    record = read_record(location, partition)
    if record is None:
        return "not done yet"
    if record.key != key:
        return "its inputs, settings, weights or code changed"
    # The key need not tell: a tile whose checksum was read may have failed in its pixels.
    if any(problem["stage"] == "read" for problem in record.problems):
        return "a tile could not be read last time"
    # The fault of the estimator or its machine (`photoz.inference.estimate_rows`), which no key holds.
    if any(problem["subject"] == ALL_ROWS for problem in record.problems):
        return "the estimator failed on all of its rows last time"
    file = locate_partition(locate_output(location), partition)
    if not exists(file):
        return "its file is missing"
    # Last, since it reads the whole file.
    return "" if compute_checksum(file) == record.sha256 else "its file is damaged"


def compute_run_key(survey: Survey, inference: Inference, weights: Mapping[str, str]) -> str:
    """Compute the key of what all partitions of a run share: weights, settings that matter and code.

    Parameters
    ----------
    survey : Survey
    inference : Inference
    weights : mapping of str to str
        From `describe_weights`.

    Returns
    -------
    str
        Of the settings only those of these sections count: the others say where and how fast.
    """
    # Neither the engine nor locations: models that were moved, or more workers, make the same rows.
    of_inference = {name: value for name, value in config_to_dict(inference).items() if name not in _WITHOUT_EFFECT}
    settings = {"survey": config_to_dict(survey), "inference": of_inference}
    return compute_key({"estimator": dict(weights), "settings": settings, "code": compute_code_version()})


def compute_partition_key(
    locations: Locations, partition: Partition, run_key: str, *, images: bool, give_up: bool = False
) -> str:
    """Compute the content key of one partition: the run's key, its source rows and the tiles they lie on.

    Parameters
    ----------
    locations : Locations
        Of source catalogue and tiles.
    partition : Partition
    run_key : str
        From `compute_run_key`.
    images : bool
        Whether the estimator reads the tiles; photometry alone does not depend on them.
    give_up : bool
        Take any error of the store for a tile that cannot be read, as in `photoz.inputs.attach_cutouts`.
    """
    # Of each partition its own tiles: one that is ingested anew leaves the others done.
    tiles = _list_tiles(locations.sources, partition) if images else []
    return compute_key(
        {
            "run": run_key,
            "sources": compute_sources_checksum(locations.sources, partition),
            "tiles": {name: _compute_tile_checksum(locations.tiles, name, give_up) for name in tiles},
        }
    )


@lru_cache(maxsize=1)
def compute_code_version() -> str:
    """Compute a digest of the photoz sources as installed, so that changed code redoes what it made."""
    # Of photoz alone: cluster decides where rows are made, never what they are (docs/module-map.md).
    folder = Path(photoz.__file__).parent
    files = sorted(folder.rglob("*.py"))
    return hash_bytes(file.relative_to(folder).as_posix().encode() + file.read_bytes() for file in files)


def name_owner(run: Run, inference: Inference, survey: str) -> dict[str, str]:
    """Name whose an output is: run, estimator and survey, as `check_output` takes them."""
    return {"run": run.name, "estimator": inference.estimator, "survey": survey}


def check_output(location: str, owner: Mapping[str, str]) -> None:
    """Refuse an output folder that holds another run, before any work; note whose it is otherwise.

    Parameters
    ----------
    location : str
        The photo-z catalogue.
    owner : mapping of str to str
        Names of run, estimator and survey.

    Raises
    ------
    CatalogueError
        The folder holds another run's catalogue, or files of something else.
    """
    file = locate_in_run(location, "owner.json")
    if not exists(file) and _is_new(location):
        # Before any other file, so that a run which dies at once leaves a folder known as its own.
        write_json(file, dict(owner))
    # Asked anew: another process may have begun this run since.
    if not exists(file):
        raise CatalogueError(
            f"{location!r} holds files that are no photoz run: set locations.catalogue to an empty or new folder"
        )
    found = read_json(file)
    if found != owner:
        raise CatalogueError(
            f"{location!r} holds another run ({found}, this is {dict(owner)}): set locations.catalogue to another "
            "folder, or remove that one"
        )


def _is_new(location: str) -> bool:
    """Tell whether an output is empty, but for what another process that begins this run just now has there."""
    run = locate_in_run(location).rstrip("/")
    # Not by one listing of all that lies beneath: a folder that is somebody else's may hold any number of files.
    return set(list_folder(location)) <= {run} and all(
        "owner.json" in name.rpartition("/")[2] for name in list_folder(run)
    )


def describe_weights(location: str) -> dict[str, str]:
    """Return the SHA-256 of every file of an estimator's folder, by name."""
    return {name.rpartition("/")[2]: compute_checksum(name) for name in list_folder(location)}


def describe_versions() -> dict[str, str]:
    """Return the versions of photoz and of the libraries that decide its numbers, for run records."""
    # Recorded and in no key: another version of a library has nothing done again.
    names = ("photoz", "torch", "numpy", "pyarrow", "zarr", "ray", "dask", "hats", "astropy")
    return {name: importlib.metadata.version(name) for name in names}


def list_remaining_files(location: str, partitions: Iterable[Partition]) -> list[str]:
    """List the partition files in the output that belong to none of these partitions of the source catalogue."""
    primary = locate_output(location)
    expected = {locate_partition(primary, part) for part in partitions}
    found = find_files(join(primary, "dataset"), "Norder=*/Dir=*/Npix=*.parquet")
    return [file for name in found if (file := join(primary, "dataset", name)) not in expected]


def list_begun_files(location: str) -> list[str]:
    """List what processes that died in the middle of writing left in the output."""
    dataset = join(locate_output(location), "dataset")
    begun = [join(dataset, name) for name in find_files(dataset, f"Norder=*/Dir=*/.*{PART_SUFFIX}")]
    return [*begun, *list_begun_records(location)]


def locate_output(location: str) -> str:
    """Return the folder of a photo-z catalogue's primary table, which may not exist yet."""
    return join(location, PRIMARY)


def _list_tiles(sources: str, partition: Partition) -> list[str]:
    # One column: this is done for every partition before any work.
    column = read_sources(sources, partition, columns=["tile"])["tile"]
    return sorted(column.unique().to_pylist())


def _compute_tile_checksum(tiles: str, name: str, give_up: bool) -> str:
    # Damage is for good; a store that does not answer is tried again, until the last pass gives up.
    expected: tuple[type[Exception], ...] = (Exception,) if give_up else (TileError,)
    # Here: what estimates does not ask, and need not hold astropy and zarr.
    from photoz.tiles import open_tile

    try:
        # As the tile records it, so no pixel is read for it.
        return open_tile(tiles, name).checksum
    except expected:
        return "unreadable"
