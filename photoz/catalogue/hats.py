"""HATS catalogues: where a partition's file lies, reading and writing it, and the metadata that completes a catalogue.

A photoz catalogue is a HATS collection: the folder holds ``collection.properties``, the primary table in
``catalogue/`` and its margin in ``margin/``. Formats and metadata are those of the package `hats`; what is ours is that
one task writes one partition. `hats` is imported by what asks it: it comes with 200 MB of others, which no worker that
reads and writes partitions need hold.

References
----------
.. [1] HATS, IVOA Note, https://www.ivoa.net/documents/Notes/HATS/
"""

import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import photoz
from photoz.content import hash_bytes
from photoz.errors import CatalogueError
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.storage import compute_checksum, exists, join, list_folder, make_upath, open_atomic, open_file

if TYPE_CHECKING:
    from hats.catalog import TableProperties
    from hats.catalog.dataset.collection_properties import CollectionProperties

PRIMARY = "catalogue"
MARGIN = "margin"
VIEW = "view.json"
"""File in the folder of a source catalogue whose rows are another's table, read where it lies (`photoz.views`)."""
_PIXELS_PER_FOLDER = 10_000  # HATS groups the files of a folder by pixel // 10000


@dataclass(frozen=True, order=True)
class Partition:
    """One HEALPix pixel (NESTED) of a partitioned catalogue: one task, one file."""

    order: int
    pixel: int

    @property
    def name(self) -> str:
        """For logs and file names: ``Norder=3_Npix=271``."""
        return f"Norder={self.order}_Npix={self.pixel}"


def locate_primary(location: str) -> str:
    """Return the folder of the primary table of a catalogue: a subfolder of a collection, or the folder itself."""
    # A HATS table may stand alone, without a collection around it.
    return join(location, PRIMARY) if exists(join(location, PRIMARY)) else location


def locate_partition(location: str, partition: Partition) -> str:
    """Return the Parquet file of a partition within a primary table's folder.

    >>> locate_partition("cat", Partition(order=6, pixel=12345))
    'cat/dataset/Norder=6/Dir=10000/Npix=12345.parquet'
    """
    folder = partition.pixel // _PIXELS_PER_FOLDER * _PIXELS_PER_FOLDER
    return join(location, "dataset", f"Norder={partition.order}", f"Dir={folder}", f"Npix={partition.pixel}.parquet")


def is_plain(location: str) -> bool:
    """Tell whether an output is of plain files, which a table without positions has: no catalogue on the sky."""
    # As `photoz estimate` names them.
    return exists(location) and bool(list_folder(location, "part-*.parquet"))


def refuse_plain(location: str) -> None:
    """Refuse an output of plain files (`is_plain`).

    Raises
    ------
    CatalogueError
    """
    if is_plain(location):
        raise CatalogueError(
            f"{location!r} holds plain files of a table without positions and no catalogue on the sky: read its "
            "part-*.parquet, or set the columns of survey.ra and survey.dec and estimate again"
        )


def list_partitions(location: str) -> list[Partition]:
    """List the partitions of a finished catalogue, in the order of their position on the sky.

    Parameters
    ----------
    location : str
        A HATS collection or catalogue.

    Raises
    ------
    CatalogueError
        There is no finished catalogue.
    """
    primary = locate_primary(location)
    # Asked before the list is read: without partition_info.csv `hats` makes one up from the Parquet files that are
    # there, so half a catalogue would pass for a whole one.
    if not exists(join(primary, "hats.properties")):
        refuse_plain(location)
        raise CatalogueError(
            f"no finished catalogue at {location!r}: it has no hats.properties; run the job that makes it"
        )
    from hats.catalog import PartitionInfo

    pixels = PartitionInfo.read_from_dir(make_upath(primary)).get_healpix_pixels()
    partitions = [Partition(order=int(pixel.order), pixel=int(pixel.pixel)) for pixel in pixels]
    # A pixel's number at order 29 (NESTED) is where it begins on the sky; numbers of different orders do not compare.
    return sorted(partitions, key=lambda part: part.pixel << 2 * (HEALPIX_ORDER - part.order))


def read_properties(table: str) -> "TableProperties | None":
    """Read a table's ``hats.properties``; None where there is none that can be read."""
    from hats.catalog import TableProperties

    try:
        return TableProperties.read_from_dir(make_upath(table))
    except (FileNotFoundError, ValueError):
        return None


def read_partition(location: str, partition: Partition, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one partition of a catalogue.

    Parameters
    ----------
    location : str
        A HATS collection or catalogue.
    partition : Partition
    columns : sequence of str, optional
        Read these only.

    Returns
    -------
    pyarrow.Table
        Rows sorted by ``_healpix_29``.

    Raises
    ------
    CatalogueError
        The file is missing or damaged, or lacks one of the columns.
    """
    file_name = locate_partition(locate_primary(location), partition)
    try:
        # Opened by photoz.storage, with the run's options: pyarrow, given a name, would open it with its own file
        # system.
        with open_file(file_name) as file:
            # Not `pq.read_table`, which sets up a dataset: of a few rows it takes twice the processor time.
            parquet = pq.ParquetFile(file)
            names = parquet.schema_arrow.names if columns is None else list(columns)
            missing = [name for name in names if name not in parquet.schema_arrow.names]
            if not missing:
                # In the order that was asked for; it comes in that of the file.
                return parquet.read(columns=names).select(names)
    except FileNotFoundError as error:
        raise CatalogueError(
            f"partition {partition.name} has no file {file_name}: run the job that makes it again"
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"cannot read {file_name} ({error}): remove it and run the job again") from error
    raise CatalogueError(
        f"{file_name} lacks the columns {missing}: it is of another kind or version than what reads it; give "
        "another location, or remove the file and run the job that makes it again"
    )


def write_partition(primary: str, partition: Partition, table: pa.Table) -> tuple[int, str]:
    """Write one partition's file; it appears whole or not at all.

    Parameters
    ----------
    primary : str
        Folder of the primary table.
    partition : Partition
    table : pyarrow.Table
        Any order; written sorted by ``_healpix_29``, then ``object_id``, so that equal rows give equal files.

    Returns
    -------
    (int, str)
        Rows, and the SHA-256 of the file.

    Raises
    ------
    CatalogueError
        A row does not lie in the partition's pixel.
    OSError
        The store does not take the file, or does not hold what was written.
    """
    _check_pixel(partition, table)
    return write_table(primary, partition, table)


def write_table(folder: str, partition: Partition, table: pa.Table) -> tuple[int, str]:
    """Write the file of a pixel whichever rows it holds, as a margin's are a neighbour's; else as `write_partition`.

    Parameters
    ----------
    folder : str
        Of the table, primary or margin.
    partition : Partition
        The pixel.
    table : pyarrow.Table
        Any order; written sorted.

    Returns
    -------
    (int, str)
        Rows, and the SHA-256 of the file.

    Raises
    ------
    OSError
        The store does not take the file, or does not hold what was written.
    """
    # `object_id` breaks ties: two sources may share a pixel of order 29, and in an order left to chance the SHA-256 in
    # the record would change from run to run.
    order_N = pc.sort_indices(table, [(HEALPIX_COLUMN, "ascending"), ("object_id", "ascending")])
    # As rows of a source catalogue come: to move lists of quantiles takes longer than to find that they need not move.
    if not (np.diff(order_N.to_numpy().astype(np.int64)) == 1).all():
        table = table.take(order_N)
    # In memory first, so that the checksum is of the bytes meant, not of what came back from the disk.
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    content = buffer.getbuffer()
    location, sha256 = locate_partition(folder, partition), hash_bytes([content])
    with open_atomic(location) as file:
        file.write(content)
    # Read back here, where the partition can still be done again: else the loss would be left to a later run or the
    # audit to find.
    if compute_checksum(location) != sha256:
        raise OSError(f"{location} does not hold what was written to it: the disk or the store lost some of it")
    return table.num_rows, sha256


def finish_catalogue(location: str, partitions: Iterable[tuple[Partition, int]], *, info: dict[str, Any]) -> None:
    """Write the metadata of the primary table, last, so that a reader never sees a half-finished catalogue.

    Parameters
    ----------
    location : str
        The collection; its partitions' files are in place.
    partitions : iterable of (Partition, int)
        Each partition and its number of rows.
    info : dict
        Further properties, e.g. ``{"photoz_run": "dr4"}``.
    """
    _finish_table(location, PRIMARY, dict(partitions), catalog_type="object", **info)


def finish_margin(
    location: str, margins: Iterable[tuple[Partition, int]], *, threshold: float, schema: pa.Schema
) -> None:
    """Write the metadata of the margin, last.

    Parameters
    ----------
    location : str
        The collection; its primary table is finished, and the margins' files are in place.
    margins : iterable of (Partition, int)
        Each pixel with a margin and its number of rows.
    threshold : float
        [arcsec]
    schema : pyarrow.Schema
        Of the catalogue, for a margin without rows.
    """
    rows = dict(margins)
    # `hats` takes the schema from the files, of which a margin without rows has none.
    if not rows:
        _write_schema(join(location, MARGIN, "dataset"), schema)
    properties = {"primary_catalog": join(location, PRIMARY), "margin_threshold": threshold}
    _finish_table(location, MARGIN, rows, catalog_type="margin", **properties)


def _finish_table(location: str, name: str, rows: dict[Partition, int], **info: Any) -> None:
    import hats.io
    from hats.catalog import PartitionInfo, TableProperties
    from hats.pixel_math import HealpixPixel

    table, total_rows = join(location, name), sum(rows.values())
    # Margins of no rows have no file and are not listed; a primary partition is listed whatever it holds.
    pixels = [HealpixPixel(part.order, part.pixel) for part in sorted(rows)]
    if rows or name == PRIMARY:
        # Not from our own count: `hats` opens the footer of every file, so a file that is missing or a stray one shows
        # here, before hats.properties makes the table readable.
        written = hats.io.write_parquet_metadata(make_upath(table), create_metadata=True)
        if written != total_rows:
            raise CatalogueError(
                f"{table} holds {written} rows in its files, {total_rows} were recorded: remove the folder and run "
                "again"
            )
    partition_info = PartitionInfo.from_healpix(pixels)
    partition_info.write_to_file(catalog_path=make_upath(table))
    properties = TableProperties(
        catalog_name=name,
        total_rows=total_rows,
        ra_column="ra",
        dec_column="dec",
        healpix_column=HEALPIX_COLUMN,
        healpix_order=HEALPIX_ORDER,
        # `default`: a margin may be empty, and max of nothing raises.
        hats_order=max((pixel.order for pixel in pixels), default=0),
        moc_sky_fraction=f"{partition_info.calculate_fractional_coverage():.6g}",
        hats_builder=f"photoz v{photoz.__version__}",
        **info,
    )
    _write_properties(properties, table)


def _write_schema(dataset: str, schema: pa.Schema) -> None:
    for name in ("_common_metadata", "_metadata"):
        with open_atomic(join(dataset, name)) as file:
            pq.write_metadata(schema, file)


def finish_collection(location: str, *, name: str, margin: bool) -> None:
    """Write ``collection.properties``: from then on the folder opens as one catalogue with its margin.

    Parameters
    ----------
    location : str
        The collection; its tables are finished.
    name : str
        Of the catalogue, for those who open it.
    margin : bool
        Whether there is one.
    """
    from hats.catalog.dataset.collection_properties import CollectionProperties

    margins = {"all_margins": MARGIN, "default_margin": MARGIN} if margin else {}
    _write_properties(CollectionProperties(name=name, hats_primary_table_url=PRIMARY, **margins), location)


def _write_properties(properties: "TableProperties | CollectionProperties", location: str) -> None:
    """Write a catalogue's properties atomically: `hats` would leave an empty file when killed while it writes."""
    with tempfile.TemporaryDirectory() as folder:
        properties.to_properties_file(folder)
        # "properties", the older name of the file, before the one that we read.
        for file in sorted(Path(folder).iterdir(), reverse=True):
            with open_atomic(join(location, file.name)) as target:
                target.write(file.read_bytes())


def _check_pixel(partition: Partition, table: pa.Table) -> None:
    # The column, not ra and dec, is what says where a row belongs; the audit proves that both agree.
    healpix = table[HEALPIX_COLUMN].to_numpy()
    outside = (healpix >> 2 * (HEALPIX_ORDER - partition.order)) != partition.pixel
    if outside.any():
        stray = table["object_id"][int(outside.argmax())].as_py()
        raise CatalogueError(
            f"{int(outside.sum())} rows, {stray!r} first, do not lie in {partition.name}: the source catalogue is "
            "damaged; run jobs/ingest_dr4.py again"
        )
