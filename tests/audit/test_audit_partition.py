"""The audit of one partition: what is missing or damaged is reported with the rest, and nothing is raised."""

from dataclasses import replace
from pathlib import Path

import pytest
from audited import Sample, change_value, make_sample

from photoz.audit.partition import PartitionAudit, audit_partition
from photoz.catalogue.hats import locate_partition, locate_primary
from photoz.catalogue.records import locate_record


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def list_checks(sample: Sample, number: int = 0) -> set[str]:
    return {finding.check for finding in sample.audit(sample.partitions[number]).findings}


def test_a_right_partition_is_counted(sample: Sample) -> None:
    partition = sample.partitions[0]
    audit, rows = sample.audit(partition), sample.read(partition)
    assert audit.findings == []
    assert (audit.readable, audit.rows, audit.sources) == (True, len(rows), len(rows))
    assert audit.differing_ids == 0
    assert audit.flags["MASKED_PIXELS"] == sum(flags >> 8 & 1 for flags in rows["flags"].to_pylist())


def test_a_missing_file_a_missing_record_and_another_file_than_recorded(sample: Sample) -> None:
    first, second, third = sample.partitions[:3]
    Path(sample.locate(first)).unlink()
    Path(locate_record(sample.catalogue, second)).unlink()
    rows = sample.read(third)
    sample.write(third, change_value(rows, "z_phot", 0, 0.5))
    record = Path(locate_record(sample.catalogue, third))
    record.write_text(record.read_text().replace('"sha256": "', '"sha256": "0'))
    assert list_checks(sample, 0) == {"files"}
    assert list_checks(sample, 1) == {"records"}
    assert list_checks(sample, 2) == {"checksums"}
    audit = sample.audit(first)
    assert (audit.readable, audit.rows) == (False, 0)
    assert audit.sources > 0


def test_sources_that_cannot_be_read_leave_the_other_checks(sample: Sample) -> None:
    partition = sample.partitions[0]
    Path(locate_partition(locate_primary(sample.sources), partition)).write_bytes(b"no parquet")
    audit = sample.audit(partition)
    assert [finding.check for finding in audit.findings] == ["sources"]
    assert audit.sources is None
    assert audit.rows == len(sample.read(partition))


def test_rows_of_other_columns_are_counted_and_compared_no_further(sample: Sample) -> None:
    partition = sample.partitions[0]
    rows = sample.read(partition)
    Path(sample.locate(partition)).unlink()
    sample.write(partition, rows.drop_columns(["tile"]))
    audit = sample.audit(partition)
    assert [finding.check for finding in audit.findings] == ["schema"]
    assert (audit.rows, audit.estimated, audit.flags) == (len(rows), 0, {})


def test_a_partition_that_no_source_has_holds_unknown_rows(sample: Sample) -> None:
    partition = sample.partitions[0]
    [task] = [task for task in sample.plan() if task.partition == partition]
    audit = audit_partition(sample.catalogue, sample.sources, replace(task, in_sources=False))
    assert (audit.sources, audit.differing_ids) == (0, len(sample.read(partition)))
    assert [finding.check for finding in audit.findings] == ["rows"]


def test_a_pixel_beside_the_edge_has_its_margin_alone(sample: Sample) -> None:
    [task] = [task for task in sample.plan() if task.partition == sample.partitions[0]]
    outside = replace(task, in_sources=False, in_catalogue=False, margin_order=-1)
    assert audit_partition(sample.catalogue, sample.sources, outside) == PartitionAudit(task.partition)
    # Asked for a margin, of which there is none and no neighbour has a row near: nothing is amiss.
    beside = replace(outside, margin_order=task.partition.order + 4, neighbours=())
    audit = audit_partition(sample.catalogue, sample.sources, beside)
    assert (audit.rows, audit.sources, list(audit.findings)) == (0, 0, [])


def test_a_file_and_a_record_that_are_both_gone_are_both_told(sample: Sample) -> None:
    first = sample.partitions[0]
    Path(sample.locate(first)).unlink()
    Path(locate_record(sample.catalogue, first)).unlink()
    audit = sample.audit(first)
    assert [finding.check for finding in audit.findings] == ["records", "files"]
    assert audit.differing_ids == 0  # of ids nothing is known


def test_a_damaged_file_is_told_by_its_checksum_and_by_its_content(sample: Sample) -> None:
    first = sample.partitions[0]
    Path(sample.locate(first)).write_bytes(b"PAR1 and no more")
    audit = sample.audit(first)
    assert [finding.check for finding in audit.findings] == ["checksums", "files"]
    assert not audit.readable
    assert all(first.name == finding.partition for finding in audit.findings)
