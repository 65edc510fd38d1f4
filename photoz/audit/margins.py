"""Whether a margin holds its neighbours' rows near the border, all of them and nothing else.

References
----------
hats-import, ``margin_cache_map_reduce``: a row belongs to the margin of a pixel when it lies in one of the pixels of
the margin's order that surround it. Those are wider than the threshold, so every row within the threshold is among
them.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from photoz.audit.columns import find_duplicates, find_unequal_rows, read_rows
from photoz.audit.findings import Finding, make_finding
from photoz.audit.plan import AuditTask
from photoz.catalogue.hats import MARGIN, Partition, locate_partition, locate_primary
from photoz.catalogue.neighbours import compute_ring, find_within
from photoz.errors import CatalogueError
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.storage import exists, join


def audit_margin(catalogue: str, task: AuditTask) -> list[Finding]:
    """Compare the margin of a pixel with the rows of its neighbours in the ring around it.

    Neighbours that cannot be read are left out: their own task reports them.
    """
    name = task.partition.name
    try:
        found = _read_margin(catalogue, task)
    except CatalogueError as error:
        return [make_finding("margin", name, f"its margin file cannot be read: {error}")]
    # Rows of other columns cannot be compared, and a wrong schema here breaks whoever reads margins with the table.
    if not found.schema.equals(task.schema, check_metadata=True):
        return [make_finding("margin", name, "the schema of its margin file is not the photo-z catalogue's")]
    expected, unread = _read_ring(catalogue, task)
    # Rows of a neighbour that cannot be read are neither right nor wrong; without this they would all be in excess.
    found = found.filter(pa.array(~_lie_in(found, unread)))
    return _compare(task.partition, found, expected)


def _compare(partition: Partition, found: pa.Table, expected: pa.Table) -> list[Finding]:
    name = partition.name
    wanted, present = set(expected["object_id"].to_pylist()), set(found["object_id"].to_pylist())
    own = _lie_in(found, [partition])
    own_ids = found["object_id"].filter(pa.array(own)).to_pylist()
    problems = {
        "are missing from its margin": sorted(wanted - present),
        # Apart from those of nobody: whoever reads table and margin together would meet such a row twice.
        "of its margin lie in the pixel itself": own_ids,
        "of its margin are not a neighbour's near its border": sorted(present - wanted - set(own_ids)),
        "come more than once in its margin": find_duplicates(found["object_id"]),
        "of its margin differ from the neighbour's": find_unequal_rows(found, expected, expected.column_names),
    }
    return [
        make_finding("margin", name, f"{len(ids)} rows {problem}", count=len(ids), ids=ids)
        for problem, ids in problems.items()
        if ids
    ]


def _read_margin(location: str, task: AuditTask) -> pa.Table:
    margin = join(location, MARGIN)
    # No file is right where no neighbour has a row near, so it counts as one without rows.
    if not exists(locate_partition(margin, task.partition)):
        return task.schema.empty_table()
    return read_rows(margin, task.partition)


def _read_ring(location: str, task: AuditTask) -> tuple[pa.Table, list[Partition]]:
    """Read the neighbours' rows that lie in the ring, and list the neighbours that cannot be read."""
    ring = compute_ring(task.partition, task.margin_order)
    # An empty table first: `concat_tables` takes no empty list.
    tables, unread = [task.schema.empty_table()], []
    for neighbour in task.neighbours:
        if not exists(locate_partition(locate_primary(location), neighbour)):
            unread.append(neighbour)
            continue
        try:
            tables += _read_near(location, neighbour, ring, task)
        except CatalogueError:
            unread.append(neighbour)
    return pa.concat_tables(tables), unread


def _read_near(location: str, neighbour: Partition, ring: np.ndarray, task: AuditTask) -> list[pa.Table]:
    # The one column first: most neighbours have few rows near the border, or none.
    column = read_rows(location, neighbour, columns=[HEALPIX_COLUMN])[HEALPIX_COLUMN].to_numpy()
    near = find_within(column, ring, task.margin_order)
    if not len(near):
        return []
    rows = read_rows(location, neighbour)
    schema = task.schema
    if not rows.schema.equals(schema):
        # Raised so that the neighbour counts as unread; its own task reports its columns.
        raise CatalogueError(f"{neighbour.name} of {location} has other columns than a photo-z catalogue")
    # Cast for the metadata: the neighbour's units may be wrong, which is its own finding, and tables of two schemas do
    # not concatenate.
    return [rows.take(pa.array(near)).cast(schema)]


def _lie_in(table: pa.Table, partitions: Sequence[Partition]) -> np.ndarray:
    healpix = table[HEALPIX_COLUMN].to_numpy()
    inside = np.zeros(len(healpix), dtype=bool)
    for partition in partitions:
        inside |= (healpix >> 2 * (HEALPIX_ORDER - partition.order)) == partition.pixel
    return inside
