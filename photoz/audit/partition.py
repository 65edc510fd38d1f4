"""The audit of one partition: its file, its rows against its sources, its margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from photoz.audit.checks import (
    PASSED_THROUGH,
    check_flags,
    check_positions,
    check_record,
    check_schema,
    check_sources,
    count_values,
    is_comparable,
)
from photoz.audit.columns import read_rows
from photoz.audit.densities import check_densities
from photoz.audit.findings import Finding, make_finding
from photoz.audit.ids import compare_ids, locate_spill, spill_ids
from photoz.audit.margins import audit_margin
from photoz.audit.plan import AuditTask
from photoz.catalogue.hats import PRIMARY, Partition, locate_partition
from photoz.catalogue.records import Record, read_record
from photoz.errors import CatalogueError
from photoz.schema import make_source_schema
from photoz.storage import compute_checksum, exists, join

_SOURCE_COLUMNS = ("object_id", *PASSED_THROUGH, "flags")


@dataclass(frozen=True)
class PartitionAudit:
    """What the audit of one pixel found.

    Parameters
    ----------
    partition : Partition
    readable : bool
        Whether the catalogue's file could be read.
    rows : int
        Of the file; 0 where it cannot be read.
    sources : int or None
        Rows of the source partition; None where it cannot be read.
    estimated : int
        Rows with a finite z_phot.
    flags : mapping of str to int
        Rows with each flag; empty where the file has other columns than it must.
    differing_ids : int
        Ids that are in the file and not in the source partition, or the reverse.
    findings : sequence of Finding
    """

    partition: Partition
    readable: bool = True
    rows: int = 0
    sources: int | None = 0
    estimated: int = 0
    flags: Mapping[str, int] = field(default_factory=dict)
    differing_ids: int = 0
    findings: Sequence[Finding] = ()


def audit_partition(catalogue: str, sources: str, task: AuditTask) -> PartitionAudit:
    """Audit one partition of the photo-z catalogue: file, record, rows and margin.

    Parameters
    ----------
    catalogue, sources : str
        The photo-z catalogue and its source catalogue (HATS).
    task : AuditTask
        From `photoz.audit.plan_audit`. Hashes of the ids are left in its ``spill`` folder.

    Returns
    -------
    PartitionAudit
        Damage is reported, never raised.
    """
    audit = PartitionAudit(task.partition)
    if task.in_sources or task.in_catalogue:
        audit = _audit_rows(catalogue, sources, task)
    # A pixel beside the survey's edge has this alone: rows lie only in its margin.
    if task.margin_order >= 0:
        audit = replace(audit, findings=[*audit.findings, *audit_margin(catalogue, task)])
    return audit


def _audit_rows(catalogue: str, sources: str, task: AuditTask) -> PartitionAudit:
    expected, findings = _read_sources(sources, task)
    # None does not end the audit: the file can still be compared with the sources.
    record = read_record(catalogue, task.partition)
    table, unreadable = _read_rows(catalogue, task.partition, record)
    audit = PartitionAudit(
        task.partition,
        readable=table is not None,
        sources=len(expected) if expected is not None else None,
        findings=[*findings, *unreadable],
    )
    return audit if table is None else _compare_rows(audit, table, expected, (task, record))


def _compare_rows(
    audit: PartitionAudit, table: pa.Table, sources: pa.Table | None, given: tuple[AuditTask, Record | None]
) -> PartitionAudit:
    """Add to an audit what the rows themselves say, and what they say beside their record and their sources."""
    task, record = given
    findings = [*audit.findings, *check_schema(task.partition, table, task.algorithm, task.carried)]
    # Later checks take the columns by name and type. Only rows are counted then; the schema's finding says why.
    if not is_comparable(table, task.algorithm, task.carried):
        return replace(audit, rows=len(table), findings=findings)
    counted = count_values(table)
    # A record that is not there is told by whoever looked for it, `_read_rows`.
    if record is not None:
        findings += check_record(task.partition, counted, record)
    findings += check_positions(task.partition, table)
    findings += check_flags(task.partition, table)
    findings += check_densities(task.partition, table, task.algorithm)
    if sources is not None:
        findings += check_sources(task.partition, table, sources)
    return replace(
        audit,
        rows=counted.rows,
        estimated=counted.estimated,
        flags=counted.flags,
        # Without sources, ids can only be checked for duplicates: they are compared with themselves.
        differing_ids=_compare_ids(task, table, table if sources is None else sources),
        findings=findings,
    )


def _compare_ids(task: AuditTask, table: pa.Table, sources: pa.Table) -> int:
    found, expected = table["object_id"].to_pylist(), sources["object_id"].to_pylist()
    # Whether they differ here or not: an id that is lost here may lie in another partition, or twice in the catalogue,
    # which only the buckets of all hashes tell (`photoz.audit.ids`).
    spill_ids(locate_spill(task.spill, task.partition), found, expected)
    missing, extra = compare_ids(found, expected)
    return len(missing) + len(extra)


def _read_sources(sources: str, task: AuditTask) -> tuple[pa.Table | None, list[Finding]]:
    columns = [*_SOURCE_COLUMNS, *(each.name for each in task.carried)]
    if not task.in_sources:
        # A partition that only the catalogue has: each of its ids is one in excess.
        return make_source_schema((), task.carried).empty_table().select(columns), []
    try:
        return read_rows(sources, task.partition, columns=columns), []
    except CatalogueError as error:
        # Told and not raised: the catalogue's rows can be held against each other and their record without the sources.
        return None, [make_finding("sources", task.partition.name, str(error))]


def _read_rows(catalogue: str, partition: Partition, record: Record | None) -> tuple[pa.Table | None, list[Finding]]:
    """Read a partition's file, and compare its checksum with that of its record."""
    findings = []
    if record is None:
        findings.append(make_finding("records", partition.name, "there is no completion record that can be read"))
    location = join(catalogue, PRIMARY)
    file = locate_partition(location, partition)
    # Asked before the checksum, which would raise for want of a file.
    if not exists(file):
        return None, [*findings, make_finding("files", partition.name, f"there is no file {file}")]
    # Read on whatever the checksum says: which rows are wrong is worth more than that some are.
    if record is not None and compute_checksum(file) != record.sha256:
        detail = f"the SHA-256 of {file} is not that of its completion record"
        findings.append(make_finding("checksums", partition.name, detail))
    try:
        return read_rows(location, partition), findings
    except CatalogueError as error:
        return None, [*findings, make_finding("files", partition.name, str(error))]
