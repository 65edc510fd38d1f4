"""The audit of margins: rows lost, in excess, of the pixel itself, twice, changed; what cannot be read is told once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audited import ALGORITHM, Sample, change_value, make_sample

from photoz.audit.findings import Finding
from photoz.audit.margins import _lie_in, audit_margin
from photoz.audit.plan import AuditTask
from photoz.catalogue.hats import MARGIN, Partition, finish_margin, locate_partition, read_partition
from photoz.catalogue.margins import plan_margins, write_margins
from photoz.schema import HEALPIX_COLUMN, make_catalogue_schema


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A clean catalogue with a margin a tenth of a degree wide."""
    made = make_sample(tmp_path, 400)
    tasks = plan_margins(made.catalogue, made.partitions)
    counts = [count for task in tasks for count in write_margins(360.0, task)]
    finish_margin(made.catalogue, counts, threshold=360.0, schema=make_catalogue_schema(ALGORITHM))
    return made


def locate(sample: Sample, task: AuditTask) -> Path:
    return Path(locate_partition(f"{sample.catalogue}/{MARGIN}", task.partition))


@pytest.fixture
def task(sample: Sample) -> AuditTask:
    """The pixel with the most rows in its margin."""
    tasks = [task for task in sample.plan() if locate(sample, task).exists()]
    return max(tasks, key=lambda task: pq.read_metadata(locate(sample, task)).num_rows)


def rewrite(sample: Sample, task: AuditTask, rows: pa.Table) -> list[Finding]:
    pq.write_table(rows, locate(sample, task))
    return audit_margin(sample.catalogue, task)


def read(sample: Sample, task: AuditTask) -> pa.Table:
    return read_partition(f"{sample.catalogue}/{MARGIN}", task.partition)


def test_every_margin_that_was_written_is_clean(sample: Sample) -> None:
    tasks = sample.plan()
    assert any(locate(sample, task).exists() for task in tasks)
    assert [finding for task in tasks for finding in audit_margin(sample.catalogue, task)] == []


def test_lost_rows_are_named(sample: Sample, task: AuditTask) -> None:
    rows = read(sample, task)
    [finding] = rewrite(sample, task, rows.slice(1))
    assert (finding.check, finding.partition, finding.count) == ("margin", task.partition.name, 1)
    assert finding.detail == "1 rows are missing from its margin"
    assert finding.ids == (rows["object_id"][0].as_py(),)


def test_a_file_that_is_not_there_holds_no_rows(sample: Sample, task: AuditTask) -> None:
    count = len(read(sample, task))
    locate(sample, task).unlink()
    [finding] = audit_margin(sample.catalogue, task)
    assert finding.detail == f"{count} rows are missing from its margin"


def test_rows_that_come_twice_are_named_once(sample: Sample, task: AuditTask) -> None:
    rows = read(sample, task)
    [finding] = rewrite(sample, task, pa.concat_tables([rows, rows.slice(0, 1)]))
    assert finding.detail == "1 rows come more than once in its margin"


def test_rows_of_the_pixel_itself_are_told_apart_from_those_of_nobody(sample: Sample, task: AuditTask) -> None:
    rows, own = read(sample, task), sample.read(task.partition).slice(0, 2)
    [finding] = rewrite(sample, task, pa.concat_tables([rows, own]))
    assert finding.detail == "2 rows of its margin lie in the pixel itself"
    stranger = change_value(rows.slice(0, 1), "object_id", 0, "of nobody")
    [finding] = rewrite(sample, task, pa.concat_tables([rows, stranger]))
    assert finding.detail == "1 rows of its margin are not a neighbour's near its border"
    assert finding.ids == ("of nobody",)


def test_a_changed_value_is_found(sample: Sample, task: AuditTask) -> None:
    [finding] = rewrite(sample, task, change_value(read(sample, task), "z_phot", 0, 0.875))
    assert finding.detail == "1 rows of its margin differ from the neighbour's"


def test_damage_and_other_columns_are_told_and_nothing_is_compared(sample: Sample, task: AuditTask) -> None:
    rows = read(sample, task)
    [finding] = rewrite(sample, task, rows.drop_columns(["tile"]))
    assert finding.detail == "the schema of its margin file is not the photo-z catalogue's"
    locate(sample, task).write_bytes(b"PAR1 and no more")
    [finding] = audit_margin(sample.catalogue, task)
    assert finding.detail.startswith("its margin file cannot be read: ")


@pytest.mark.parametrize("how", ["gone", "damaged", "of other columns"])
def test_rows_of_a_neighbour_that_cannot_be_read_are_neither_right_nor_wrong(
    sample: Sample, task: AuditTask, how: str
) -> None:
    for neighbour in task.neighbours:
        file = Path(sample.locate(neighbour))
        if how == "gone":
            file.unlink()
        elif how == "damaged":
            file.write_bytes(b"PAR1 and no more")
        else:
            pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["tile"]), file)
    assert audit_margin(sample.catalogue, task) == []


def test_rows_lie_in_partitions_of_any_order() -> None:
    table = pa.table({HEALPIX_COLUMN: np.array([0, (5 << 50) + 3, (6 << 50) - 1, 6 << 50])})
    # Pixel 5 of order 4, and the four of order 5 within it.
    assert _lie_in(table, [Partition(4, 5)]).tolist() == [False, True, True, False]
    assert _lie_in(table, [Partition(5, pixel) for pixel in range(20, 24)]).tolist() == [False, True, True, False]
    assert _lie_in(table, []).tolist() == [False] * 4
