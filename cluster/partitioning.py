"""Partitioning on the sky and margins: `hats-import`, on Dask, which is how that library spreads its work."""

import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, LocalCluster
from hats_import.collection.arguments import CollectionArguments
from hats_import.pipeline import pipeline_with_client
from tenacity import retry_if_exception

from cluster.engines.base import Engine
from cluster.engines.retries import insist, make_policy
from cluster.seal import compute_checksums, find_changed
from photoz.catalogue.hats import MARGIN, PRIMARY
from photoz.content import compute_key
from photoz.errors import CatalogueError
from photoz.ingest.settings import Sources
from photoz.ingest.staging import read_staged, staging_location
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.settings import config_to_dict
from photoz.storage import (
    PART_SUFFIX,
    compute_checksum,
    exists,
    find_files,
    is_store_trouble,
    join,
    list_folder,
    make_upath,
    open_atomic,
    read_json,
    remove,
    write_json,
)

logger = logging.getLogger(__name__)

_RECORD = "partitioning.json"
_ASIDE = {"cut": "by the survey's cuts", "no_identifier": "without identifier", "no_position": "without position"}
_HEALPIX_PROPERTIES = {"hats_col_healpix": HEALPIX_COLUMN, "hats_col_healpix_order": HEALPIX_ORDER}


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
        Whose Dask workers do it; without any it is done in this process.
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
    with _client(engine, target) as client, _runtime_arguments(target) as runtime, _names_as_names(target):
        arguments = _make_arguments(settings, target, staged, schema=_write_schema(target, schema), runtime=runtime)
        write_json(join(target, _RECORD), {"key": "unfinished"})  # ours to replace, should this process die
        try:
            pipeline_with_client(arguments, client)
        except ValueError as error:
            # By its words alone hats tells this error from its others.
            if "exceeds threshold" not in str(error):
                raise
            raise CatalogueError(
                f"a HEALPix pixel of order sources.highest_order = {settings.highest_order} holds more than "
                f"sources.rows_per_partition = {settings.rows_per_partition} rows ({error}): raise one of them"
            ) from error


def _make_arguments(
    settings: Sources, target: str, staged: Sequence[str], *, schema: str, runtime: Mapping[str, Any]
) -> CollectionArguments:
    folder = make_upath(target)
    # `hats-import` takes few characters in the name of a collection: it is told the folder and ".", of which a store
    # would make a part of the key. With the path as a whole the name matters to the properties alone.
    arguments = CollectionArguments(output_path=folder, output_artifact_name=".", **runtime)
    arguments.catalog_path = folder
    arguments.output_artifact_name = target.rpartition("/")[2]
    arguments = arguments.catalog(
        output_artifact_name=PRIMARY,
        catalog_path=folder / PRIMARY,
        input_file_list=[make_upath(file) for file in staged],
        file_reader="parquet",
        use_schema_file=make_upath(schema),
        # The staged rows hold the column, which ingest computes as the audit does again to compare.
        use_healpix_29=True,
        add_healpix_29=False,
        pixel_threshold=settings.rows_per_partition,
        highest_healpix_order=settings.highest_order,
        addl_hats_properties=_HEALPIX_PROPERTIES,
    )
    if settings.margin_arcsec > 0:
        arguments = arguments.add_margin(
            margin_threshold=settings.margin_arcsec,
            output_artifact_name=MARGIN,
            catalog_path=folder / MARGIN,
            is_default=True,
        )
    return arguments


def _write_schema(target: str, schema: pa.Schema) -> str:
    """Write a Parquet file without rows that tells `hats-import` the schema; returns its location.

    A staged file would tell too, but its metadata say when its tile's catalogue was last changed, and would be copied
    into every partition: files that were only touched would make another catalogue, and all training and inference
    would be done again.
    """
    location = join(staging_location(target), "schema", "sources.parquet")
    with open_atomic(location) as file:
        pq.write_table(schema.empty_table(), file)
    return location


@contextmanager
def _runtime_arguments(target: str) -> Iterator[Mapping[str, Any]]:
    """Say where intermediate files go, and remove them at the end.

    They lie with the staged sources of the catalogue they serve, so that runs on different catalogues keep out of each
    other's way, and nobody else's folder beside it is taken for theirs; for a catalogue on an object store in $TMPDIR,
    since `hats-import` keeps its markers of what is done in files.
    """
    # The sky map is a full-sky array of the highest order: seconds and hundreds of MB for a picture nobody asked for.
    # Nothing is resumed: its markers would tell of files that `_clear` has removed.
    arguments = {"progress_bar": False, "resume": False, "should_write_skymap": False}
    if _is_remote(target):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            yield arguments | {"tmp_dir": temporary}
    else:
        temporary = join(staging_location(target), "import")
        try:
            yield arguments | {"tmp_dir": temporary}
        finally:
            remove(temporary)


@contextmanager
def _names_as_names(target: str) -> Iterator[None]:
    """Have the store of the catalogue take names for names.

    `hats-import` reads a file that it has just written by fsspec's ``cat``, which finds none in a folder called v[2]:
    to it that is the pattern of v2.
    """
    filesystem = make_upath(target).fs
    # Of asynchronous file systems, as stores have; those of a disk take names for names.
    expand = getattr(filesystem, "_expand_path", None)
    if expand is None:
        yield
        return
    filesystem._expand_path = partial(expand, assume_literal=True)
    try:
        yield
    finally:
        del filesystem._expand_path


def _is_remote(target: str) -> bool:
    # Enough, since settings settle locations: file:// has become a path by now.
    return "://" in target


@contextmanager
def _client(engine: Engine, target: str) -> Iterator[Client]:
    """Use the run's Dask workers, unless they may be on other hosts and would need intermediate files of this one."""
    elsewhere = bool(engine.settings.address) and _is_remote(target)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Computing partitions from catalog parquet files")
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        with nullcontext() if elsewhere else engine.lend_dask() as lent:
            if lent is not None:
                yield lent
                return
        # Threads of this process: the work is Arrow's and NumPy's, and worker processes take longer to start. A cluster
        # made by name: a Client alone joins the one of DASK_SCHEDULER_ADDRESS, which pods are given.
        threads = engine.settings.workers
        with (
            LocalCluster(processes=False, n_workers=1, threads_per_worker=threads, dashboard_address=None) as local,
            Client(local) as client,
        ):
            yield client


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
    """Remove what `hats-import` wrote, but not the record that the folder is ours: who is killed now can go on."""
    for name in (PRIMARY, MARGIN, "collection.properties"):
        remove(join(target, name))
