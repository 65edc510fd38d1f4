"""From the tasks' results to a report: verdicts, rates, and totals that agree with the metadata."""

from dataclasses import replace
from pathlib import Path

import pytest
from audited import Sample, make_sample

from photoz.audit.findings import CHECKS, Finding, make_finding
from photoz.audit.partition import PartitionAudit, audit_partition
from photoz.audit.summary import Audited, AuditReport, format_audit, summarize_audit


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("summary"))


@pytest.fixture(scope="module")
def results(sample: Sample) -> list[PartitionAudit]:
    return [audit_partition(sample.catalogue, sample.sources, task) for task in sample.plan()]


def summarize(sample: Sample, results: list[PartitionAudit], *of_ids: Finding, margin: float = 0.0) -> AuditReport:
    return summarize_audit(Audited(sample.catalogue, sample.sources, margin), sample.plan(), results, of_ids)


def test_a_clean_catalogue_passes_every_check_that_is_asked(sample: Sample, results: list[PartitionAudit]) -> None:
    report = summarize(sample, results[::-1])
    assert report.clean
    assert {row.check: row.verdict for row in report.checks} == dict.fromkeys(CHECKS, "pass") | {"margin": "not asked"}
    assert (report.rows, report.source_rows, report.partitions) == (300, 300, len(sample.partitions))
    assert report.nan_fraction == pytest.approx(1 / 300)
    assert report.flags["ESTIMATE_FAILED"].rows == 1
    assert report.flags["MASKED_PIXELS"].fraction == pytest.approx(0.02)
    text = format_audit(report)
    assert "rows: 300; without a redshift: 1 (0.33%)" in text
    assert "MASKED_PIXELS 6 (2.00%)" in text


def test_findings_fail_their_check_and_are_told_with_their_remedy(
    sample: Sample, results: list[PartitionAudit]
) -> None:
    name = results[0].partition.name
    found = [make_finding("order", name, "rows are turned", ids=["a"]), make_finding("order", "other", "again")]
    report = summarize(sample, [replace(results[0], findings=found), *results[1:]])
    verdicts = {row.check: row for row in report.checks}
    assert (verdicts["order"].verdict, verdicts["order"].findings) == ("fail", 2)
    assert verdicts["order"].detail == "2 findings in 2 partitions; first: rows are turned"
    assert not report.clean
    assert f"order: {name}: rows are turned [a]" in format_audit(report)
    assert found[0].remedy in format_audit(report)


def test_a_margin_that_was_asked_for_and_is_not_there_is_found(sample: Sample, results: list[PartitionAudit]) -> None:
    [finding] = summarize(sample, results, margin=5.0).findings
    assert (finding.check, finding.detail) == ("margin", "there is no margin; sources.margin_arcsec asks for 5 arcsec")


def test_totals_are_compared_with_the_metadata(sample: Sample, results: list[PartitionAudit]) -> None:
    fewer = [replace(results[0], rows=results[0].rows - 1, sources=(results[0].sources or 0) - 1), *results[1:]]
    found = {(finding.check, finding.detail.partition(":")[0]) for finding in summarize(sample, fewer).findings}
    assert ("metadata", "catalogue") in found
    assert ("sources", "hats_nrows of the source catalogue is 300, its files hold 299 rows") in found
    unread = [replace(results[0], sources=None), *results[1:]]
    assert summarize(sample, unread).clean  # a total of which a part is unknown says nothing


def test_ids_that_differ_and_share_a_hash_are_told_after_all(sample: Sample, results: list[PartitionAudit]) -> None:
    differing = [replace(results[0], differing_ids=2), *results[1:]]
    [finding] = summarize(sample, differing).findings
    assert (finding.check, finding.count, finding.partition) == ("misplaced ids", 2, results[0].partition.name)
    lost = make_finding("lost ids", "", "told already")
    assert [each.check for each in summarize(sample, differing, lost).findings] == ["lost ids"]


def test_only_the_first_thousand_findings_are_told_and_all_are_counted(
    sample: Sample, results: list[PartitionAudit]
) -> None:
    many = [make_finding("lost ids", "", f"id {number}") for number in range(1200)]
    report = summarize(sample, results, *many)
    assert (report.findings_total, len(report.findings)) == (1200, 1000)
    assert next(row for row in report.checks if row.check == "lost ids").findings == 1200


def test_every_check_has_a_remedy_and_findings_keep_a_few_ids(tmp_path: Path) -> None:
    assert all(check.proves and check.remedy for check in CHECKS.values())
    assert make_finding("order", "", "x", ids=range(99)).ids == ("0", "1", "2", "3", "4")


def test_nothing_audited_is_no_division_by_zero(sample: Sample) -> None:
    report = summarize_audit(Audited(sample.catalogue, sample.sources, 0.0), [], [], [])
    assert (report.rows, report.partitions, report.nan_fraction, report.flags) == (0, 0, 0.0, {})
    assert not report.clean  # the metadata lists partitions that nobody looked at
    assert "rows: 0; without a redshift: 0 (0.00%)" in format_audit(report)
    assert "flags: none set" in format_audit(report)


def test_findings_of_the_whole_are_said_to_be_of_the_catalogue(sample: Sample, results: list[PartitionAudit]) -> None:
    twice = [make_finding("duplicate ids", "", f"id {number} comes twice") for number in range(2)]
    report = summarize(sample, results, *twice)
    [verdict] = [row for row in report.checks if row.check == "duplicate ids"]
    assert verdict.detail == "2 findings in the catalogue; first: id 0 comes twice"
    assert "duplicate ids: catalogue: id 1 comes twice" in format_audit(report)


def test_the_order_in_which_results_come_changes_no_report(sample: Sample, results: list[PartitionAudit]) -> None:
    changed = [replace(result, findings=[make_finding("order", result.partition.name, "x")]) for result in results]
    assert summarize(sample, changed) == summarize(sample, changed[::-1])
