"""The audit of one partition: its file, its rows against its sources, its margin."""

from typing import Any

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
from photoz.settings.config import Config
from photoz.storage import compute_checksum, exists, join


def audit_partition(config: Config, task: AuditTask) -> dict[str, Any]:
    """Audit one partition of the photo-z catalogue: file, record, rows and margin.

    Parameters
    ----------
    config : Config
        ``locations.catalogue`` and ``locations.sources`` are read.
    task : AuditTask
        From `photoz.audit.plan_audit`. Hashes of the ids are left in its ``spill`` folder.

    Returns
    -------
    dict
        ``partition``, ``readable``, ``rows``, ``sources`` (rows of the source partition; None where it cannot be
        read), ``estimated``, ``flags`` (name -> rows), ``differing_ids`` and ``findings`` (list of Finding). Damage is
        reported, never raised.
    """
    result: dict[str, Any] = {"partition": task.partition, "sources": 0, "rows": 0, "estimated": 0, "flags": {}}
    result |= {"differing_ids": 0, "findings": [], "readable": True}
    if task.in_sources or task.in_catalogue:
        _audit_rows(config, task, result)
    if task.margin_order >= 0:
        result["findings"] += audit_margin(config, task)
    return result


def _audit_rows(config: Config, task: AuditTask, result: dict[str, Any]) -> None:
    findings: list[Finding] = result["findings"]
    sources = _read_sources(config, task, findings)
    result["sources"] = len(sources) if sources is not None else None
    record = _read_record(config, task.partition, findings)
    table = _read_rows(config, task.partition, record, findings)
    result["readable"] = table is not None
    if table is None:
        return
    result["rows"] = len(table)
    findings += check_schema(task.partition, table, task.algorithm)
    if not is_comparable(table, task.algorithm):
        return
    result |= count_values(table)
    findings += check_record(task.partition, result, record) if record is not None else ()
    findings += check_positions(task.partition, table)
    findings += check_flags(task.partition, table)
    findings += check_densities(task.partition, table, task.algorithm)
    expected = table if sources is None else sources  # without sources, ids can only be checked for duplicates
    result["differing_ids"] = _compare_ids(task, table, expected)
    if sources is not None:
        findings += check_sources(task.partition, table, sources)


def _compare_ids(task: AuditTask, table: pa.Table, sources: pa.Table) -> int:
    found, expected = table["object_id"].to_pylist(), sources["object_id"].to_pylist()
    spill_ids(locate_spill(task.spill, task.partition), found, expected, buckets=task.buckets)
    missing, extra = compare_ids(found, expected)
    return len(missing) + len(extra)


def _read_sources(config: Config, task: AuditTask, findings: list[Finding]) -> pa.Table | None:
    schema = make_source_schema(config.survey.bands)
    if not task.in_sources:
        return schema.empty_table()
    try:
        return read_rows(config.locations.sources, task.partition, columns=("object_id", *PASSED_THROUGH, "flags"))
    except CatalogueError as error:
        findings.append(make_finding("sources", task.partition.name, str(error)))
        return None


def _read_record(config: Config, partition: Partition, findings: list[Finding]) -> Record | None:
    record = read_record(config.locations.catalogue, partition)
    if record is None:
        findings.append(make_finding("records", partition.name, "there is no completion record that can be read"))
    return record


def _read_rows(config: Config, partition: Partition, record: Record | None, findings: list[Finding]) -> pa.Table | None:
    location = join(config.locations.catalogue, PRIMARY)
    file = locate_partition(location, partition)
    if not exists(file):
        findings.append(make_finding("files", partition.name, f"there is no file {file}"))
        return None
    if record is not None and compute_checksum(file) != record.sha256:
        detail = f"the SHA-256 of {file} is not that of its completion record"
        findings.append(make_finding("checksums", partition.name, detail))
    try:
        return read_rows(location, partition)
    except CatalogueError as error:
        findings.append(make_finding("files", partition.name, str(error)))
        return None
