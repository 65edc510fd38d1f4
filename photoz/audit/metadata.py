"""The audit of what speaks of the whole: properties, partition lists, Parquet metadata, files nobody lists."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from hats.catalog.dataset.collection_properties import CollectionProperties

from photoz.audit.findings import Finding, make_finding
from photoz.audit.plan import read_partition_list
from photoz.catalogue.hats import MARGIN, PRIMARY, Partition, locate_partition, read_properties
from photoz.errors import CatalogueError
from photoz.schema import find_algorithm, make_catalogue_schema
from photoz.storage import exists, find_filesystem, join, make_upath, open_file

# What `hats` itself passes over in a dataset folder (`write_parquet_metadata`, its ignore_prefixes).
_PARQUET_METADATA = ("_metadata", "_common_metadata", "data_thumbnail.parquet")
_NEEDED = ("hats.properties", "partition_info.csv", "dataset/_metadata", "dataset/_common_metadata")


def audit_metadata(
    location: str, rows: Mapping[Partition, int], *, margin_arcsec: float, carried: Sequence[pa.Field] = ()
) -> list[Finding]:
    """Check the metadata of the primary table and of its margin against their files.

    Parameters
    ----------
    location : str
        The photo-z catalogue (HATS collection).
    rows : mapping of Partition to int
        Rows of each partition's file (of its sources where the file cannot be read).
    margin_arcsec : float
        [arcsec] width of the margin that was asked for; 0 for none.
    carried : sequence of pyarrow.Field
        Columns of the sources that go with the rows.

    Returns
    -------
    list of Finding
    """
    findings = list(_audit_table(join(location, PRIMARY), PRIMARY, rows, carried))
    findings += _check_collection(location)
    margin = join(location, MARGIN)
    # Whatever the settings say: a margin that is there is served by collection.properties, and must be right.
    if exists(margin):
        margin_rows = {part: _count_rows(margin, part) for part in read_partition_list(margin)}
        findings += _audit_table(margin, MARGIN, margin_rows, carried)
    findings += _check_threshold(margin, margin_arcsec)
    return findings


def _audit_table(
    table: str, name: str, rows: Mapping[Partition, int], carried: Sequence[pa.Field]
) -> Iterator[Finding]:
    for file in _NEEDED:
        if not exists(join(table, file)):
            yield make_finding("metadata", "", f"{name}/{file} is missing")
    yield from _check_total(table, name, sum(rows.values()))
    yield from _check_partition_list(table, name, rows)
    yield from _check_parquet_metadata(table, name, rows, carried)
    # The listed ones count as known, too, or a file in excess of the list would be told twice.
    yield from _find_stray_files(table, name, {*rows, *read_partition_list(table)})


def _check_collection(location: str) -> Iterator[Finding]:
    try:
        collection = CollectionProperties.read_from_dir(make_upath(location))
    except FileNotFoundError:
        yield make_finding("metadata", "", "collection.properties is missing: the catalogue is not published")
        return
    # `hats` validates properties by pydantic, whose errors are ValueErrors.
    except ValueError as error:
        yield make_finding("metadata", "", f"collection.properties cannot be read: {error}")
        return
    found = {name for name in (PRIMARY, MARGIN) if exists(join(location, name))}
    told = {collection.hats_primary_table_url, *(collection.all_margins or [])}
    if told != found:
        detail = f"collection.properties names the tables {sorted(told)}, the folder holds {sorted(found)}"
        yield make_finding("metadata", "", detail)


def _check_total(table: str, name: str, total: int) -> Iterator[Finding]:
    properties = read_properties(table)
    # One that is missing is told with the other files that are needed.
    if properties is None:
        if exists(join(table, "hats.properties")):
            yield make_finding("metadata", "", f"{name}/hats.properties cannot be read")
    elif properties.total_rows != total:
        yield make_finding(
            "metadata", "", f"{name}: hats_nrows is {properties.total_rows}, its files hold {total} rows"
        )


def _check_partition_list(table: str, name: str, rows: Mapping[Partition, int]) -> Iterator[Finding]:
    listed = read_partition_list(table)
    for problem, partitions in (
        ("lacks", sorted(set(rows) - set(listed))),
        ("lists in excess", sorted(set(listed) - set(rows))),
        ("repeats", sorted(part for part, count in Counter(listed).items() if count > 1)),
    ):
        # A missing list would else be told as lacking every partition.
        if partitions and exists(join(table, "partition_info.csv")):
            ids = [part.name for part in partitions]
            detail = f"{name}/partition_info.csv {problem} {len(ids)} partitions"
            yield make_finding("metadata", "", detail, count=len(ids), ids=ids)


def _check_parquet_metadata(
    table: str, name: str, rows: Mapping[Partition, int], carried: Sequence[pa.Field]
) -> Iterator[Finding]:
    try:
        found = _read_row_counts(join(table, "dataset"))
        schema = _read_common_schema(join(table, "dataset"))
    except FileNotFoundError:
        return  # reported as missing
    except (CatalogueError, UnicodeDecodeError) as error:
        yield make_finding("metadata", "", f"{name}/dataset/_metadata or _common_metadata is damaged: {error}")
        return
    # Whether _metadata lists a file without rows makes no difference: both sides count it as 0.
    expected = {_shorten(locate_partition(table, part)): count for part, count in rows.items() if count}
    wrong = sorted(file for file in {*found, *expected} if found.get(file, 0) != expected.get(file, 0))
    if wrong:
        detail = f"{name}/dataset/_metadata counts other rows for {len(wrong)} files than they hold"
        yield make_finding("metadata", "", detail, count=len(wrong), ids=wrong)
    if not schema.equals(make_catalogue_schema(find_algorithm(schema.names), carried), check_metadata=True):
        yield make_finding("metadata", "", f"the schema in {name}/dataset/_common_metadata is not the catalogue's")


def _read_row_counts(dataset: str) -> dict[str, int]:
    """Read from ``_metadata`` how many rows each file is said to hold."""
    metadata = _read_footer(join(dataset, "_metadata"))
    counts: Counter[str] = Counter()
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        # Parquet keeps the file's path with each column of a row group; all columns have the same.
        counts[group.column(0).file_path] += group.num_rows
    return dict(counts)


def _read_common_schema(dataset: str) -> pa.Schema:
    try:
        return _read_footer(join(dataset, "_common_metadata")).schema.to_arrow_schema()
    except pa.ArrowException as error:
        raise CatalogueError(f"the schema in {dataset}/_common_metadata cannot be read: {error}") from error


def _read_footer(location: str) -> pq.FileMetaData:
    try:
        with open_file(location) as file:
            return pq.read_metadata(file)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise CatalogueError(f"{location} cannot be read: {error}") from error


def _find_stray_files(table: str, name: str, partitions: set[Partition]) -> Iterator[Finding]:
    filesystem, path = find_filesystem(join(table, "dataset"))
    # Workers wrote since, and a listing that fsspec kept would hide what they left.
    filesystem.invalidate_cache()
    known = {_shorten(locate_partition(table, part)) for part in partitions} | set(_PARQUET_METADATA)
    stray = sorted(
        f"{name}/dataset/{relative}"
        for relative in (file.removeprefix(path.rstrip("/") + "/") for file in filesystem.find(path))
        if relative not in known
    )
    if stray:
        detail = f"{name}/dataset holds {len(stray)} files that its metadata does not list"
        yield make_finding("stray files", "", detail, count=len(stray), ids=stray)


def _check_threshold(margin: str, wanted: float) -> Iterator[Finding]:
    properties = read_properties(margin)
    found = properties.margin_threshold if properties is not None else None
    if wanted > 0 and found is None:
        yield make_finding("margin", "", f"there is no margin; sources.margin_arcsec asks for {wanted:g} arcsec")
    # A wider margin than was asked for serves as well.
    elif found is not None and wanted > found:
        detail = f"the margin is {found:g} arcsec wide, sources.margin_arcsec asks for {wanted:g}"
        yield make_finding("margin", "", detail)


def _count_rows(table: str, partition: Partition) -> int:
    try:
        return int(_read_footer(locate_partition(table, partition)).num_rows)
    except (FileNotFoundError, CatalogueError):
        return 0  # the margin check of that pixel reports it


def _shorten(location: str) -> str:
    return location.rpartition("dataset/")[2]
