"""From the results of all tasks to one report: a verdict for each check, rates, findings."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from photoz.audit.findings import CHECKS, Finding, make_finding
from photoz.audit.metadata import audit_metadata
from photoz.audit.partition import PartitionAudit
from photoz.audit.plan import AuditTask
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import REPEATED_IDS, count_repeated
from photoz.sources import count_sources, is_view

_MOST_FINDINGS = 1000  # in the report; the checks' counts are of all


@dataclass(frozen=True)
class Audited:
    """What is audited, and against what.

    Parameters
    ----------
    catalogue, sources : str
        The photo-z catalogue and its source catalogue (HATS).
    margin_arcsec : float
        [arcsec] width of the margin that was asked for; 0 for none.
    """

    catalogue: str
    sources: str
    margin_arcsec: float


@dataclass(frozen=True)
class Verdict:
    """How one check came out: "pass", "fail" or "not asked", in words, and how many findings there are."""

    check: str
    verdict: str
    detail: str
    findings: int = 0


@dataclass(frozen=True)
class FlagCount:
    """Rows with a flag, and their fraction of all rows."""

    rows: int
    fraction: float


@dataclass(frozen=True)
class AuditReport:
    """The outcome of an audit; its fields are the keys of ``run/audit.json``.

    Parameters
    ----------
    catalogue, sources : str
    clean : bool
        Whether nothing was found.
    partitions, rows, source_rows : int
    estimated : int
        Rows with a finite z_phot.
    nan_fraction : float
        Fraction of the rows without; 0 without rows.
    flags : mapping of str to FlagCount
    checks : sequence of Verdict
        In the order of `photoz.audit.findings.CHECKS`.
    findings_total : int
    findings : sequence of Finding
        The first thousand.
    repeated_ids : int
        That several rows of the table have and that are kept, as ``run/repeated_ids`` lists them.
    """

    catalogue: str
    sources: str
    clean: bool
    partitions: int
    rows: int
    source_rows: int
    estimated: int
    nan_fraction: float
    flags: Mapping[str, FlagCount]
    checks: Sequence[Verdict]
    findings_total: int
    findings: Sequence[Finding]
    repeated_ids: int = 0


def summarize_audit(
    audited: Audited,
    tasks: Sequence[AuditTask],
    results: Iterable[PartitionAudit],
    of_ids: Iterable[Finding],
) -> AuditReport:
    """Bring the partitions' and the buckets' results together with what speaks of the whole.

    Parameters
    ----------
    audited : Audited
    tasks : sequence of AuditTask
        From `plan_audit`.
    results : iterable of PartitionAudit
        From `audit_partition`, in any order.
    of_ids : iterable of Finding
        From `audit_ids`, of all buckets.

    Returns
    -------
    AuditReport
    """
    # Results come as workers end; sorted, two audits of one catalogue give one report.
    ordered = sorted(results, key=lambda result: result.partition)
    held = _count_held(ordered, {task.partition for task in tasks if task.in_sources or task.in_catalogue})
    findings = [finding for result in ordered for finding in result.findings] + list(of_ids)
    # After those of the ids: it looks whether any of them explains the difference.
    findings += _explain_differing_ids(ordered, findings)
    carried = next((task.carried for task in tasks), ())
    findings += audit_metadata(audited.catalogue, held, margin_arcsec=audited.margin_arcsec, carried=carried)
    source_rows = sum(result.sources or 0 for result in ordered)
    # The total of some partitions says nothing about that of all.
    if all(result.sources is not None for result in ordered):
        findings += _check_source_total(audited.sources, source_rows)
    rows, estimated = (sum(getattr(result, name) for result in ordered) for name in ("rows", "estimated"))
    # A margin that was asked for and is not there fails by its finding, whether it counts as asked here or not.
    asked = set(CHECKS) if any(task.margin_order >= 0 for task in tasks) else set(CHECKS) - {"margin"}
    described = f"{rows:,} rows in {len(held):,} partitions"
    return AuditReport(
        catalogue=audited.catalogue,
        sources=audited.sources,
        clean=not findings,
        partitions=len(held),
        rows=rows,
        source_rows=source_rows,
        estimated=estimated,
        nan_fraction=1 - estimated / rows if rows else 0.0,
        flags=_sum_flags(ordered, rows),
        checks=[_judge(check, findings, asked, described) for check in CHECKS],
        findings_total=len(findings),
        findings=findings[:_MOST_FINDINGS],
        repeated_ids=count_repeated(audited.catalogue),
    )


def format_audit(report: AuditReport) -> str:
    """Format a report as text: a table of checks, the rates, and what was found."""
    lines = [f"{'check':<15}{'verdict':<11}detail"]
    lines += [f"{row.check:<15}{row.verdict:<11}{row.detail}" for row in report.checks]
    without = report.rows - report.estimated
    lines.append(f"rows: {report.rows:,}; without a redshift: {without:,} ({report.nan_fraction:.2%})")
    # The record counts every flag, most of which no row has.
    flags = [f"{name} {of.rows:,} ({of.fraction:.2%})" for name, of in report.flags.items() if of.rows]
    lines.append(f"flags: {', '.join(flags) or 'none set'}")
    if report.repeated_ids:
        lines.append(f"identifiers of several rows, which are kept: {report.repeated_ids:,} (run/{REPEATED_IDS})")
    for finding in report.findings:
        ids = f" [{', '.join(finding.ids)}]" if finding.ids else ""
        lines.append(f"{finding.check}: {finding.partition or 'catalogue'}: {finding.detail}{ids}")
        lines.append(f"    remedy: {finding.remedy}")
    return "\n".join(lines)


def _count_held(results: Iterable[PartitionAudit], in_table: set[Partition]) -> dict[Partition, int]:
    """Count the rows of each partition that the metadata must tell."""
    return {
        # Where a file cannot be read, the metadata is held against what its sources say it should hold, so that one
        # damaged file is not told again as a wrong total.
        result.partition: result.rows if result.readable else result.sources or 0
        for result in results
        if result.partition in in_table
    }


def _sum_flags(results: Iterable[PartitionAudit], rows: int) -> dict[str, FlagCount]:
    sums = Counter[str]()
    for result in results:
        sums.update(result.flags)
    return {name: FlagCount(count, count / rows if rows else 0.0) for name, count in sums.items()}


def _judge(check: str, findings: list[Finding], asked: set[str], described: str) -> Verdict:
    own = [finding for finding in findings if finding.check == check]
    if not own and check not in asked:
        return Verdict(check, "not asked", "the catalogue has none and none was asked for")
    if not own:
        return Verdict(check, "pass", f"{CHECKS[check].proves} ({described})")
    partitions = {finding.partition for finding in own if finding.partition}
    where = f"{len(partitions)} partitions" if partitions else "the catalogue"
    detail = own[0].detail if len(own) == 1 else f"{len(own)} findings in {where}; first: {own[0].detail}"
    return Verdict(check, "fail", detail, findings=len(own))


def _check_source_total(sources: str, total: int) -> list[Finding]:
    # Of a table that is read where it lies, rows that are set aside count in its total, and are no sources.
    if is_view(sources):
        return []
    told = count_sources(sources)
    if told == total:
        return []
    return [make_finding("sources", "", f"hats_nrows of the source catalogue is {told}, its files hold {total} rows")]


def _explain_differing_ids(results: Iterable[PartitionAudit], findings: list[Finding]) -> list[Finding]:
    """Report partitions whose ids differ from their sources' though no hash says how: two ids sharing a hash."""
    # Where hashes told of ids anywhere, they explain the difference in all but the rarest case.
    if any(finding.check.endswith(" ids") for finding in findings):
        return []
    return [
        make_finding(
            "misplaced ids",
            result.partition.name,
            f"{result.differing_ids} ids differ from those of the source partition",
            count=result.differing_ids,
        )
        for result in results
        if result.differing_ids
    ]
