"""Checks of a partition's rows: each finds its own damage, names the rows, and passes over what is right."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from audited import ALGORITHM, Sample, change_value, make_sample, replace_column

from photoz.audit.checks import (
    check_flags,
    check_positions,
    check_record,
    check_schema,
    check_sources,
    compute_healpix,
    count_values,
    is_comparable,
)
from photoz.audit.findings import Finding
from photoz.catalogue.hats import Partition
from photoz.catalogue.records import Record
from photoz.schema import HEALPIX_COLUMN, Flag


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("checks"))


@pytest.fixture(scope="module")
def partition(sample: Sample) -> Partition:
    return sample.partitions[0]


@pytest.fixture(scope="module")
def rows(sample: Sample, partition: Partition) -> pa.Table:
    return sample.read(partition)


def check_all(partition: Partition, rows: pa.Table, sources: pa.Table) -> list[Finding]:
    findings = [*check_schema(partition, rows, ALGORITHM), *check_positions(partition, rows)]
    return [*findings, *check_flags(partition, rows), *check_sources(partition, rows, sources)]


def test_right_rows_pass(partition: Partition, rows: pa.Table) -> None:
    assert check_all(partition, rows, rows) == []
    assert is_comparable(rows, ALGORITHM)
    assert not is_comparable(rows, "")


def swap_first(rows: pa.Table) -> pa.Table:
    return rows.take([1, 0, *range(2, len(rows))])


DAMAGE: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "position": (lambda rows: change_value(rows, "ra", 3, rows["ra"][3].as_py() + 1e-4), "positions"),
    "no position": (lambda rows: change_value(rows, "dec", 3, float("nan")), "pixels"),
    "order": (swap_first, "order"),
    "lost flag": (lambda rows: change_value(rows, "flags", 3, int(Flag.ESTIMATE_FAILED)), "flags"),
    "strange flag": (lambda rows: change_value(rows, "flags", 3, 1 << 20), "flags"),
    "infinite": (lambda rows: change_value(rows, "z_phot", 3, float("inf")), "flags"),
    "null": (lambda rows: change_value(rows, "tile", 3, None), "schema"),
    "changed": (lambda rows: change_value(rows, "mag_auto", 3, 1.0), "columns"),
    "fewer": (lambda rows: rows.slice(1), "rows"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_by_its_check(partition: Partition, rows: pa.Table, kind: str) -> None:
    damage, check = DAMAGE[kind]
    findings = check_all(partition, damage(rows), rows)
    assert check in {finding.check for finding in findings}
    assert all(finding.partition == partition.name and finding.remedy for finding in findings)


def test_findings_name_the_rows(partition: Partition, rows: pa.Table) -> None:
    changed = replace_column(rows, HEALPIX_COLUMN, np.sort(rows[HEALPIX_COLUMN].to_numpy() + 1))
    [finding] = [each for each in check_positions(partition, changed) if each.check == "positions"]
    assert finding.count == len(rows)
    assert finding.ids == tuple(rows["object_id"].to_pylist()[:5])


def test_units_are_part_of_the_schema_and_do_not_keep_rows_from_being_compared(
    partition: Partition, rows: pa.Table
) -> None:
    place = rows.schema.get_field_index("ra")
    bare = rows.set_column(place, pa.field("ra", pa.float64()), rows["ra"])
    [finding] = check_schema(partition, bare, ALGORITHM)
    assert "changed ['ra']" in finding.detail
    assert is_comparable(bare, ALGORITHM)


def test_a_record_is_compared_figure_by_figure(partition: Partition, rows: pa.Table) -> None:
    counted = count_values(rows)
    assert counted.rows == len(rows)
    assert counted.estimated == np.isfinite(rows["z_phot"].to_numpy()).sum()
    flags = dict(counted.flags) | {"NO_TILE": 7}
    right = Record(4, 1, "key", sha256="", **vars(counted))
    assert list(check_record(partition, counted, right)) == []
    wrong = Record(4, 1, "key", rows=counted.rows + 1, estimated=counted.estimated, sha256="", flags=flags)
    [finding] = check_record(partition, counted, wrong)
    assert finding.count == 2
    assert f"rows {counted.rows}, recorded {counted.rows + 1}; NO_TILE 0, recorded 7" in finding.detail.replace(
        "flags ", ""
    )


def test_what_is_no_position_has_no_pixel() -> None:
    ra, dec = np.array([10.0, np.nan, 10.0, 10.0]), np.array([0.0, 0.0, 90.1, np.nan])
    np.testing.assert_array_equal(compute_healpix(ra, dec) >= 0, [True, False, False, False])


def test_columns_in_another_order_are_told_as_that(partition: Partition, rows: pa.Table) -> None:
    turned = rows.select([*rows.column_names[1:], rows.column_names[0]])
    [finding] = check_schema(partition, turned, ALGORITHM)
    assert "the columns stand in another order: ['object_id', 'ra'" in finding.detail
    assert "and not ['_healpix_29', 'object_id'" in finding.detail
    assert "missing" not in finding.detail
    # With one missing, that is what is told.
    [finding] = check_schema(partition, turned.drop_columns(["ra"]), ALGORITHM)
    assert "missing ['ra'], extra [], changed []" in finding.detail
