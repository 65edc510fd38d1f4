"""HATS catalogues, read where they lie: a part is a partition, one HEALPix pixel.

The folders are read by their names alone, as the convention states them, since the package `hats` takes seconds to
import.

References
----------
HATS, IVOA Note, https://www.ivoa.net/documents/Notes/HATS/
"""

import re
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from photoz.errors import TableError
from photoz.schema import HEALPIX_ORDER
from photoz.storage import exists, find_files, join, open_file
from photoz.tables.base import Table, TablePart, open_files, refuse_unreadable
from photoz.tables.parquet import ParquetReader
from photoz.tables.types import simplify_schema

_PROPERTIES = ("hats.properties", "properties")  # the second in catalogues of HATS's forerunner, HiPSCat
# With the suffix "/" of hats_npix_suffix a pixel is a folder of files.
_PARTITION = re.compile(r"Norder=(\d+)/Dir=\d+/Npix=(\d+)(?:\.[^/]*|/[^/]+)$")


def find_primary(folder: str) -> str | None:
    """Return the folder of the HATS table that a folder is or, a collection, names as its primary; None for neither.

    Raises
    ------
    TableError
        A collection names none, or one that is not there; or it is a table without ``hats.properties``.
    """
    collection = join(folder, "collection.properties")
    if exists(collection):
        name = read_properties(collection).get("hats_primary_table_url", "")
        # A collection may name a table that lies elsewhere.
        primary = name if "://" in name or name.startswith("/") else join(folder, name)
        if not name or _find_properties(primary) is None:
            raise TableError(f"{collection} names the primary table {name!r}, which has no hats.properties: correct it")
        return primary
    if _find_properties(folder) is not None:
        return folder
    # Written last: without it, what is there may be a part of the catalogue, which would pass for the whole.
    if any(_PARTITION.search(name) for name in find_files(join(folder, "dataset"), "Norder=*")):
        raise TableError(f"no finished catalogue at {folder!r}: it has no hats.properties; run what makes it again")
    return None


def open_hats(location: str, primary: str) -> Table:
    """Open a HATS table whose properties are there.

    Raises
    ------
    TableError
        A partition that ``partition_info.csv`` lists has no file, or a file is damaged.
    """
    file = _find_properties(primary)
    properties = read_properties(file) if file else {}
    dataset = join(primary, "dataset")
    # The table may lie in the folder itself, as HiPSCat's did.
    folder = dataset if exists(dataset) else primary
    found = _find_partitions(folder)
    _require_listed(primary, {part.pixel for part in found if part.pixel})
    # The second is an older name of the same number.
    rows = properties.get("hats_nrows") or properties.get("total_rows")
    return Table(
        location,
        _read_schema(folder, found, location),
        int(rows) if rows else None,
        # By place and not by name, in which Npix=10 would come before Npix=2 and each order apart.
        tuple(sorted(found, key=_place_on_sky)),
        ParquetReader(split=False),
        properties,
    )


def read_properties(location: str) -> Mapping[str, str]:
    """Read a file of ``key = value`` lines; raises `TableError` where it is damaged."""
    with refuse_unreadable(location), open_file(location) as file:
        lines = file.read().decode().splitlines()
    # "#" and "!" both begin a comment in Java's properties, whose form this is.
    pairs = (line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith(("#", "!")))
    # Java's escapes, which the convention's files have before colons and equals signs.
    return {key.strip(): re.sub(r"\\(.)", r"\1", value.strip()) for key, _, value in pairs}


def _find_properties(folder: str) -> str | None:
    return next((join(folder, name) for name in _PROPERTIES if exists(join(folder, name))), None)


def _find_partitions(folder: str) -> list[TablePart]:
    parts = []
    for name in find_files(folder):
        if found := _PARTITION.search(name):
            parts.append(TablePart(join(folder, name), pixel=(int(found[1]), int(found[2]))))
    return parts


def _require_listed(primary: str, pixels: set[tuple[int, int]]) -> None:
    location = join(primary, "partition_info.csv")
    if not exists(location):
        return
    with refuse_unreadable(location), open_file(location) as file:
        listed = pacsv.read_csv(file)
    if lacking := [name for name in ("Norder", "Npix") if name not in listed.column_names]:
        raise TableError(f"{location} has no column {lacking[0]}: fetch it again")
    wanted = zip(listed["Norder"].to_pylist(), listed["Npix"].to_pylist(), strict=True)
    # Files beside those listed are read as well; a partition that is lacking nobody would miss.
    missing = sorted(set(wanted) - pixels)
    if missing:
        order, pixel = missing[0]
        raise TableError(
            f"{primary} lacks {len(missing)} partitions that its partition_info.csv lists, the first Norder={order}, "
            f"Npix={pixel}: fetch it again"
        )


def _read_schema(folder: str, parts: list[TablePart], location: str) -> pa.Schema:
    common = join(folder, "_common_metadata")
    # Before any partition is opened: it is there for a catalogue without rows, too.
    if exists(common):
        with refuse_unreadable(common), open_file(common) as file:
            return simplify_schema(pq.read_schema(file))
    if not parts:
        raise TableError(f"the HATS catalogue {location!r} has neither partitions nor a schema: is it whole?")
    return open_files(location, [parts[0].location], ParquetReader()).schema


def _place_on_sky(part: TablePart) -> tuple[int, str]:
    order, pixel = part.pixel or (0, 0)
    # The first pixel of the finest order within, so that pixels of different orders compare.
    return pixel << 2 * (HEALPIX_ORDER - order), part.location
