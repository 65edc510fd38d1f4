"""Checks of p(z): every column of the registry is checked by what the registry says of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from audited import ALGORITHM, Sample, change_value, make_sample

from photoz.audit.densities import check_densities
from photoz.schema import LEVELS, PDF_COLUMNS, QUANTILES, Flag


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("densities"))


def find_problems(sample: Sample, rows: pa.Table) -> list[str]:
    return [finding.detail for finding in check_densities(sample.partitions[0], rows, ALGORITHM)]


def test_right_columns_and_a_catalogue_without_any_pass(sample: Sample) -> None:
    rows = sample.read(sample.partitions[0])
    assert find_problems(sample, rows) == []
    assert list(check_densities(sample.partitions[0], rows, "")) == []


@pytest.mark.parametrize("name", [name for name, column in PDF_COLUMNS.items() if column.source == "quantiles"])
def test_sums_of_quantiles_must_be_theirs_to_the_last_bit(sample: Sample, name: str) -> None:
    rows = sample.read(sample.partitions[0])
    value = np.float32(rows[f"{ALGORITHM}_{name}"][0].as_py())
    changed = change_value(rows, f"{ALGORITHM}_{name}", 0, float(np.nextafter(value, np.float32(9))))
    assert find_problems(sample, changed) == [f"1 rows have another {name} than their quantiles"]


@pytest.mark.parametrize("name", [name for name, column in PDF_COLUMNS.items() if column.source != "estimator"])
def test_what_is_of_p_z_is_missing_exactly_where_z_phot_is(sample: Sample, name: str) -> None:
    rows = sample.read(sample.partitions[0])
    assert np.isfinite(rows["z_phot"][0].as_py())
    changed = change_value(rows, f"{ALGORITHM}_{name}", 0, float("nan"))
    assert f"1 rows have {name} without z_phot, or z_phot without it" in find_problems(sample, changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, column.least - 0.1) for name, column in PDF_COLUMNS.items() if np.isfinite(column.least)]
    + [(name, column.most + 0.1) for name, column in PDF_COLUMNS.items() if np.isfinite(column.most)],
)
def test_values_beyond_their_limits_are_found(sample: Sample, name: str, value: float) -> None:
    rows = sample.read(sample.partitions[0])
    changed = change_value(rows, f"{ALGORITHM}_{name}", 0, value)
    assert any(f"1 rows have {name} " in problem for problem in find_problems(sample, changed))


def test_an_estimator_may_have_none_of_its_own_columns(sample: Sample) -> None:
    rows = sample.read(sample.partitions[0])
    row = rows["flags"].to_pylist().index(0)
    for name, column in PDF_COLUMNS.items():
        if column.source == "estimator":
            assert find_problems(sample, change_value(rows, f"{ALGORITHM}_{name}", row, float("nan"))) == []


def test_the_flag_and_the_distance_say_the_same(sample: Sample) -> None:
    rows = sample.read(sample.partitions[0])
    row = rows["flags"].to_pylist().index(0)
    far = change_value(rows, f"{ALGORITHM}_training_distance", row, 1.5)
    assert find_problems(sample, far) == ["1 rows have a training_distance above 1 and not OUTSIDE_TRAINING"]
    flagged = change_value(rows, "flags", row, int(Flag.OUTSIDE_TRAINING))
    assert any("OUTSIDE_TRAINING and a training_distance" in problem for problem in find_problems(sample, flagged))


@pytest.mark.parametrize("odd", [[], [1] * (len(LEVELS) - 1), [1] * (len(LEVELS) + 1)])
def test_a_row_of_another_number_of_quantiles_is_found_and_the_others_still_are_checked(
    sample: Sample, odd: list[int]
) -> None:
    rows = sample.read(sample.partitions[0])
    changed = change_value(rows, f"{ALGORITHM}_{QUANTILES}", 1, odd)
    assert find_problems(sample, changed) == ["1 rows have other than 27 quantiles"]
    [finding] = check_densities(sample.partitions[0], changed, ALGORITHM)
    assert finding.ids == (rows["object_id"][1].as_py(),)
    changed = change_value(changed, f"{ALGORITHM}_odds", 2, 1.5)
    assert any("1 rows have odds outside 0 to 1" in problem for problem in find_problems(sample, changed))


def test_the_audit_of_a_partition_reports_it_and_the_type_that_photoz_wrote_before(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    first, second = sample.partitions[:2]
    sample.write(first, change_value(sample.read(first), f"{ALGORITHM}_{QUANTILES}", 0, [7]))
    assert "1 rows have other than 27 quantiles" in [found.detail for found in sample.audit(first).findings]
    rows = sample.read(second)
    kind = pa.list_(pa.field("element", pa.uint16()), len(LEVELS))
    fixed = pa.array(rows[f"{ALGORITHM}_{QUANTILES}"].to_pylist(), kind)
    sample.write(second, rows.set_column(rows.num_columns - 1, f"{ALGORITHM}_{QUANTILES}", fixed))
    assert any("changed ['double_z_quantiles']" in found.detail for found in sample.audit(second).findings)
