"""Sources of any number partitioned by `hats-import`, on Dask, which is how that library spreads its work."""

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from distributed import Client, LocalCluster
from hats_import.collection.arguments import CollectionArguments
from hats_import.pipeline import pipeline_with_client

from cluster.engines.base import Engine
from photoz.catalogue.hats import MARGIN, PRIMARY
from photoz.errors import CatalogueError
from photoz.ingest.settings import Sources
from photoz.ingest.staging import staging_location
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.storage import join, make_upath, open_atomic, remove

_HEALPIX_PROPERTIES = {"hats_col_healpix": HEALPIX_COLUMN, "hats_col_healpix_order": HEALPIX_ORDER}


def import_sources(settings: Sources, target: str, staged: Sequence[str], *, schema: pa.Schema, engine: Engine) -> None:
    """Partition staged sources with their margin, in a location that holds none.

    Parameters
    ----------
    settings : Sources
    target : str
        Location of the source catalogue.
    staged : sequence of str
        Files of staged rows.
    schema : pyarrow.Schema
        Of the rows.
    engine : Engine
        Whose Dask workers do it; without any it is done in this process.

    Raises
    ------
    CatalogueError
        A pixel of the highest order holds more rows than a partition may.
    """
    with _client(engine, target) as client, _runtime_arguments(target) as runtime, _names_as_names(target):
        arguments = _make_arguments(settings, target, staged, schema=_write_schema(target, schema), runtime=runtime)
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
