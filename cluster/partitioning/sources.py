"""The source catalogue from staged sources: made once, and found again by what it was made from."""

import logging
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from tenacity import retry_if_exception

from cluster.engines.base import Engine
from cluster.engines.retries import insist, make_policy
from cluster.seal import compute_checksums, find_changed
from photoz.catalogue.hats import MARGIN, PRIMARY
from photoz.catalogue.split import write_split
from photoz.content import compute_key
from photoz.errors import CatalogueError
from photoz.ingest.settings import Sources
from photoz.ingest.staging import read_staged, read_staged_rows, staging_location
from photoz.settings import config_to_dict
from photoz.storage import (
    PART_SUFFIX,
    compute_checksum,
    exists,
    find_files,
    is_store_trouble,
    join,
    list_folder,
    read_json,
    remove,
    write_json,
)

logger = logging.getLogger(__name__)

_RECORD = "partitioning.json"
_ASIDE = {"cut": "by the survey's cuts", "no_identifier": "without identifier", "no_position": "without position"}
# `hats-import` takes 4 s of processor time and 200 MB for however few, and some 10 s for a million.
_FEW_ROWS, _FEW_FILES = 500_000, 100


def partition_sources(settings: Sources, location: str, engine: Engine, *, schema: pa.Schema) -> None:
    """Turn the staged sources of all tiles into the partitioned source catalogue with its margin.

    Nothing is done when the catalogue was made from the same staged files with the same settings.

    Parameters
    ----------
    settings : Sources
        How large a partition may be, and how wide the margin.
    location : str
        Of the source catalogue, beside which the sources are staged.
    engine : Engine
        Whose Dask workers do it, where there are many; without any it is done in this process.
    schema : pyarrow.Schema
        Of the staged rows.

    Raises
    ------
    CatalogueError
        No source is staged, none was selected, or the location holds something this function did not write.
    """
    staging = staging_location(location)
    staged = list_folder(staging, "*.parquet")
    if not staged:
        raise CatalogueError(f"no sources staged in {staging!r}: run jobs/ingest_dr4.py on readable tiles")
    for begun in list_folder(staging, f".*.parquet.*{PART_SUFFIX}"):  # their writers have been killed
        remove(begun)
    key = _compute_key(settings, staged)
    target = location.rstrip("/")
    if _holds(engine, target, key):
        logger.info("source catalogue %s is up to date", target)
        return
    _require_sources(staged)
    logger.info("partitioning the sources of %d tiles", len(staged))
    _remove_own(target)
    policy = make_policy(
        engine.settings.retries,
        when=retry_if_exception(_may_pass),
        describe=lambda error: f"the sources could not be partitioned ({error})",
    )
    try:
        # From the start each time, whose leftovers `_clear` removes.
        policy(_partition_once, settings, target, staged, schema=schema, engine=engine)
    except Exception as error:
        if not _may_pass(error) and not isinstance(error, OSError):
            raise
        raise CatalogueError(
            f"the sources could not be partitioned ({error}): the log says why; run the job again, the tiles are done"
        ) from error
    # Last: a catalogue without these checksums is made again by the next run.
    insist(lambda: _seal(engine, target, key), engine.settings.retries, "the record of the source catalogue")


def _require_sources(staged: Sequence[str]) -> None:
    """Refuse staged files that hold no row between them, of which `hats-import` makes no catalogue."""
    records = []
    for file in staged:
        found = read_staged(file)
        # Most often the first: a store is asked for the footer of one file, not of a thousand.
        if found is None or found.num_rows:
            return
        records.append(found.record)
    rows, rejected = sum(record.rows for record in records), sum(record.rejected or 0 for record in records)
    aside = f" ({rejected} of those selected have no position or no identifier)" if rejected else ""
    # As each file's record tells it: all of a run have the same, and those of tables none.
    selection = records[0].key.get("selection")
    if selection is None:
        counts = sum((Counter(record.counts) for record in records), Counter[str]())
        told = ", ".join(f"{counts[key]} {text}" for key, text in _ASIDE.items() if counts[key])
        raise CatalogueError(f"none of the {rows} rows of the table is left ({told}): correct its survey's file")
    chosen = selection["bright_sample"]
    which = f"selection.bright_sample = {chosen!r}" if chosen else "selection.cuts"
    raise CatalogueError(
        f"no source is selected of {rows} rows in the catalogues of {len(staged)} tiles{aside}: look at {which}, "
        f"selection.mag_auto_below = {selection['mag_auto_below']} mag and the columns that survey.columns names"
    )


def _may_pass(error: BaseException) -> bool:
    """Tell trouble that another attempt may mend: hats-import logs what its workers raised, and raises RuntimeError."""
    return isinstance(error, RuntimeError) or is_store_trouble(error)


def _seal(engine: Engine, target: str, key: str) -> None:
    # A file cannot hold its own checksum.
    names = [name for name in find_files(target) if name != _RECORD]
    write_json(join(target, _RECORD), {"key": key, "files": compute_checksums(engine, target, names)})


def _partition_once(
    settings: Sources, target: str, staged: Sequence[str], *, schema: pa.Schema, engine: Engine
) -> None:
    _clear(target)
    write_json(join(target, _RECORD), {"key": "unfinished"})  # ours to replace, should this process die
    if _are_few(staged):
        write_split(read_staged_rows(staged, schema), target, settings)
        return
    # With Dask, which others need not wait for.
    from cluster.partitioning.imported import import_sources

    import_sources(settings, target, staged, schema=schema, engine=engine)


def _are_few(staged: Sequence[str]) -> bool:
    """Tell whether all staged rows fit into this process."""
    rows = 0
    for file in staged[: _FEW_FILES + 1]:
        found = read_staged(file)
        rows += found.num_rows if found is not None else 0
        if rows > _FEW_ROWS:
            return False
    return len(staged) <= _FEW_FILES


def _compute_key(settings: Sources, staged: Sequence[str]) -> str:
    content = {
        "settings": config_to_dict(settings),
        # By name and content: sources staged in another place or at another time make the same catalogue.
        "files": {file.rpartition("/")[2]: compute_checksum(file) for file in staged},
    }
    return compute_key(content)


def _holds(engine: Engine, target: str, key: str) -> bool:
    """Tell whether the catalogue was made with this key, and is still what was made."""
    record = read_json(join(target, _RECORD)) if exists(join(target, _RECORD)) else {}
    if record.get("key") != key or "files" not in record:
        return False
    changed = find_changed(engine, target, record["files"])
    if changed:
        logger.warning("%d files of the source catalogue are missing or damaged, %s first", len(changed), changed[0])
    return not changed


def _remove_own(target: str) -> None:
    """Make room for a new catalogue, only where an older one of ours stands."""
    if exists(target) and not exists(join(target, _RECORD)) and list_folder(target):
        raise CatalogueError(
            f"{target!r} holds files that jobs/ingest_dr4.py did not finish or did not write: remove the folder, or "
            "set locations.sources to another"
        )
    _clear(target)


def _clear(target: str) -> None:
    """Remove what partitioning wrote, but not the record that the folder is ours: who is killed now can go on."""
    for name in (PRIMARY, MARGIN, "collection.properties"):
        remove(join(target, name))
