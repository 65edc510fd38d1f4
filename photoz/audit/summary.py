"""From the results of all tasks to one report: a verdict for each check, rates, findings."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from photoz.audit.findings import CHECKS, Finding, make_finding
from photoz.audit.metadata import audit_metadata
from photoz.audit.plan import AuditTask, read_properties
from photoz.catalogue.hats import Partition, locate_primary
from photoz.settings.config import Config

_MOST_FINDINGS = 1000  # in the report; the checks' counts are of all


def summarize_audit(
    config: Config, tasks: Sequence[AuditTask], results: Iterable[dict[str, Any]], id_results: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    """Bring the partitions' and the buckets' results together with what speaks of the whole.

    Parameters
    ----------
    config : Config
    tasks : sequence of AuditTask
        From `plan_audit`.
    results : iterable of dict
        From `audit_partition`, in any order.
    id_results : iterable of dict
        From `audit_ids`.

    Returns
    -------
    dict
        ``clean`` (bool), ``checks`` (each with ``check``, ``verdict`` "pass", "fail" or "not asked", ``detail``),
        ``rows``, ``estimated``, ``nan_fraction``, ``flags`` (rows and fraction by name), ``findings``; JSON throughout.
    """
    totals, rows = _Totals(), dict[Partition, int]()
    in_table = {task.partition for task in tasks if task.in_sources or task.in_catalogue}
    for result in sorted(results, key=lambda result: result["partition"]):
        totals.add(result)
        if result["partition"] in in_table:
            rows[result["partition"]] = result["rows"] if result["readable"] else result["sources"] or 0
    findings = totals.findings + [finding for result in id_results for finding in result["findings"]]
    findings += _explain_differing_ids(totals.differing_ids, findings)
    findings += audit_metadata(config, rows)
    if totals.sources_readable:
        findings += _check_source_total(config, totals.sources)
    asked = set(CHECKS) if any(task.margin_order >= 0 for task in tasks) else set(CHECKS) - {"margin"}
    described = f"{totals.rows:,} rows in {len(rows):,} partitions"
    return {
        "catalogue": config.locations.catalogue,
        "sources": config.locations.sources,
        "clean": not findings,
        "partitions": len(rows),
        "rows": totals.rows,
        "source_rows": totals.sources,
        "estimated": totals.estimated,
        "nan_fraction": 1 - totals.estimated / totals.rows if totals.rows else 0.0,
        "flags": {
            name: {"rows": count, "fraction": count / totals.rows if totals.rows else 0.0}
            for name, count in totals.flags.items()
        },
        "checks": [_judge(check, findings, asked, described) for check in CHECKS],
        "findings_total": len(findings),
        "findings": [finding.to_dict() for finding in findings[:_MOST_FINDINGS]],
    }


def format_audit(report: dict[str, Any]) -> str:
    """Format a report as text: a table of checks, the rates, and what was found."""
    lines = [f"{'check':<15}{'verdict':<11}detail"]
    lines += [f"{row['check']:<15}{row['verdict']:<11}{row['detail']}" for row in report["checks"]]
    lines.append(
        f"rows: {report['rows']:,}; without a redshift: {report['rows'] - report['estimated']:,} "
        f"({report['nan_fraction']:.2%})"
    )
    flags = [f"{name} {of['rows']:,} ({of['fraction']:.2%})" for name, of in report["flags"].items() if of["rows"]]
    lines.append(f"flags: {', '.join(flags) or 'none set'}")
    for finding in report["findings"]:
        ids = f" [{', '.join(finding['ids'])}]" if finding["ids"] else ""
        lines.append(f"{finding['check']}: {finding['partition'] or 'catalogue'}: {finding['detail']}{ids}")
        lines.append(f"    remedy: {finding['remedy']}")
    return "\n".join(lines)


class _Totals:
    """Sums over the partitions' results."""

    def __init__(self) -> None:
        self.rows = self.sources = self.estimated = 0
        self.sources_readable = True
        self.flags: Counter[str] = Counter()
        self.differing_ids: dict[str, int] = {}
        self.findings: list[Finding] = []

    def add(self, result: dict[str, Any]) -> None:
        self.rows += result["rows"]
        self.sources += result["sources"] or 0
        self.sources_readable &= result["sources"] is not None
        self.estimated += result["estimated"]
        self.flags.update(result["flags"])
        self.findings += result["findings"]
        if result["differing_ids"]:
            self.differing_ids[result["partition"].name] = result["differing_ids"]


def _judge(check: str, findings: list[Finding], asked: set[str], described: str) -> dict[str, Any]:
    own = [finding for finding in findings if finding.check == check]
    if not own:
        passed = check in asked
        detail = f"{CHECKS[check].proves} ({described})" if passed else "the catalogue has none and none was asked for"
        return {"check": check, "verdict": "pass" if passed else "not asked", "detail": detail, "findings": 0}
    partitions = {finding.partition for finding in own if finding.partition}
    where = f"{len(partitions)} partitions" if partitions else "the catalogue"
    detail = f"{own[0].detail}" if len(own) == 1 else f"{len(own)} findings in {where}; first: {own[0].detail}"
    return {"check": check, "verdict": "fail", "detail": detail, "findings": len(own)}


def _check_source_total(config: Config, total: int) -> list[Finding]:
    properties = read_properties(locate_primary(config.locations.sources))
    told = None if properties is None else properties.total_rows
    if told == total:
        return []
    return [make_finding("sources", "", f"hats_nrows of the source catalogue is {told}, its files hold {total} rows")]


def _explain_differing_ids(differing: dict[str, int], findings: list[Finding]) -> list[Finding]:
    """Report partitions whose ids differ from their sources' though no hash says how: two ids sharing a hash."""
    if not differing or any(finding.check.endswith(" ids") for finding in findings):
        return []
    return [
        make_finding("misplaced ids", name, f"{count} ids differ from those of the source partition", count=count)
        for name, count in differing.items()
    ]
