"""The parts of the spine: a row that an estimator cannot stand costs only itself, and every row comes out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import ReadySurvey
from from_magnitudes import make_columns
from hypothesis import given
from hypothesis import strategies as st

from photoz.catalogue.hats import list_partitions, read_partition
from photoz.errors import EstimatorError
from photoz.estimators import Estimates, Inputs
from photoz.inference import estimate_rows, make_table, prepare_estimator, read_cutouts
from photoz.inputs import ALL_ROWS, CUTOUT
from photoz.schema import Flag, make_catalogue_schema, make_source_schema
from photoz.settings.inference import Inference

BANDS = ("g", "r")


def give(inputs: Inputs) -> Estimates:
    return Estimates(inputs.magnitudes.magnitudes_NF[:, 1] / 100, inputs.flags_N)


@dataclass(frozen=True)
class Hundredth:
    """Gives a hundredth of the magnitude in r for a redshift, and stands none that is 30 or fainter."""

    name: str = "hundredth"
    bands: tuple[str, ...] = BANDS
    image_bands: tuple[str, ...] = ()
    cutout_size: int = 0
    gives_pdf: bool = False
    give: Callable[[Inputs], Estimates] = give

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        if (inputs.magnitudes.magnitudes_NF[:, 1] >= 29.9).any():
            raise ZeroDivisionError("too faint")
        return self.give(inputs)


def make_sources(mag_r: list[float], **columns: Any) -> pa.Table:
    count = len(mag_r)
    columns |= make_columns("r", np.reshape(mag_r, (-1, 1))) | {"object_id": [f"id{number}" for number in range(count)]}
    empty = {True: [""] * count, False: [0] * count}
    return pa.table(
        [pa.array(columns.get(f.name, empty[f.type == pa.string()]), f.type) for f in make_source_schema(BANDS)],
        make_source_schema(BANDS),
    )


@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(lambda poisoned: not all(poisoned)))
def test_rows_that_raise_cost_only_themselves(poisoned: list[bool]) -> None:
    mag_r = [30.0 if bad else 20.0 + number / 10 for number, bad in enumerate(poisoned)]
    sources = make_sources(mag_r)
    found = estimate_rows(sources, Hundredth())
    assert found.table["object_id"].to_pylist() == sources["object_id"].to_pylist()
    assert found.table.schema.equals(make_catalogue_schema(""), check_metadata=True)
    bad_N = np.array(poisoned)
    z_phot_N = found.table["z_phot"].to_numpy()
    np.testing.assert_array_equal(np.isnan(z_phot_N), bad_N)
    np.testing.assert_allclose(z_phot_N[~bad_N], np.array(mag_r)[~bad_N] / 100, rtol=1e-6)
    np.testing.assert_array_equal((found.table["flags"].to_numpy() & Flag.ESTIMATE_FAILED) != 0, bad_N)
    assert [problem.subject for problem in found.problems] == [f"id{number}" for number in np.flatnonzero(bad_N)]
    assert {problem.error for problem in found.problems} <= {"ZeroDivisionError: too faint"}


def test_an_estimator_that_fails_on_all_rows_is_one_problem_or_raises() -> None:
    sources = make_sources([30.0] * 5)
    with pytest.raises(RuntimeError, match="hundredth failed on all 5 rows, the first time with ZeroDivisionError"):
        estimate_rows(sources, Hundredth(), give_up=False)
    found = estimate_rows(sources, Hundredth())
    (problem,) = found.problems
    assert (problem.stage, problem.subject, problem.rows) == ("estimate", ALL_ROWS, 5)
    assert np.isnan(found.table["z_phot"].to_numpy()).all()


def test_a_single_row_that_fails_is_that_rows_fault() -> None:
    found = estimate_rows(make_sources([30.0]), Hundredth(), give_up=False)
    assert [problem.subject for problem in found.problems] == ["id0"]


def test_no_rows_come_out_as_none() -> None:
    found = estimate_rows(make_sources([]), Hundredth())
    assert len(found.table) == 0
    assert found.problems == ()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Hundredth(give=lambda inputs: give(inputs.take(slice(1)))), "gave 1 redshifts for 3 galaxies"),
        (Hundredth(gives_pdf=True), "must give p\\(z\\) with every estimate, or never"),
    ],
)
def test_an_estimator_must_keep_what_it_promises(estimator: Hundredth, message: str) -> None:
    with pytest.raises(EstimatorError, match=message):
        estimate_rows(make_sources([20.0, 21.0, 22.0]), estimator)


def test_what_is_no_redshift_is_flagged_and_nan() -> None:
    estimates = Estimates(np.array([0.3, np.inf, np.nan], np.float32), np.array([0, 0, 4], np.int32))
    table = make_table(make_sources([20.0, 21.0, 22.0]), estimates, algorithm="")
    np.testing.assert_array_equal(table["z_phot"].to_numpy(), np.array([0.3, np.nan, np.nan], np.float32))
    assert table["flags"].to_pylist() == [0, Flag.ESTIMATE_FAILED, Flag.ESTIMATE_FAILED | 4]


def test_only_who_reads_images_gets_cutouts(ready_survey: ReadySurvey) -> None:
    locations = ready_survey.config.locations
    sources = read_partition(locations.sources, list_partitions(locations.sources)[0])
    assert read_cutouts(sources, locations.tiles, Hundredth()).table is sources
    images = Hundredth(image_bands=("r",), cutout_size=8)
    assert CUTOUT in read_cutouts(sources, locations.tiles, images).table.column_names


def test_an_estimator_is_prepared_with_or_without_densities(ready_survey: ReadySurvey) -> None:
    location = f"{ready_survey.config.locations.models}/photometry"
    assert prepare_estimator(location, Inference(threads=1)).gives_pdf
    assert not prepare_estimator(location, Inference(threads=1, pdf=False)).gives_pdf


def test_an_estimator_that_raises_without_any_row_ends() -> None:
    class Broken(Hundredth):
        def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
            raise ValueError("no rows")

    with pytest.raises(ValueError, match="no rows"):
        estimate_rows(make_sources([]), Broken())
