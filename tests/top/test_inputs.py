"""From rows of the source catalogue to what an estimator sees."""

import numpy as np
import pyarrow as pa
import pytest
from conftest import ReadySurvey
from runs import assert_same_rows

import photoz.inputs
from photoz.catalogue.hats import list_partitions, read_partition
from photoz.cutouts import extract_cutouts
from photoz.inputs import CUTOUT, Problem, attach_cutouts, make_inputs
from photoz.schema import Flag, make_source_schema
from photoz.tiles import open_tile

BANDS = ("g", "r")
SIZE = 8


@pytest.fixture(scope="module")
def sources(ready_survey: ReadySurvey) -> pa.Table:
    location = ready_survey.config.locations.sources
    return pa.concat_tables([read_partition(location, part) for part in list_partitions(location)])


@pytest.fixture(scope="module")
def tiles(ready_survey: ReadySurvey) -> str:
    return ready_survey.config.locations.tiles


def get_cutouts(table: pa.Table) -> np.ndarray:
    return make_inputs(table, BANDS).cutouts_NBYX


def test_each_row_gets_the_cutout_of_its_own_tile(sources: pa.Table, tiles: str) -> None:
    shuffled = sources.take(np.random.default_rng(1).permutation(len(sources)))
    found = attach_cutouts(shuffled, tiles, image_bands=BANDS, cutout_size=SIZE)
    assert_same_rows(found.table.drop_columns([CUTOUT, "flags"]), shuffled.drop_columns(["flags"]))
    cutouts_NBYX = get_cutouts(found.table)
    for number, row in enumerate(shuffled.select(["tile", "ra", "dec"]).to_pylist()):
        tile = open_tile(tiles, row["tile"])
        expected, flags = extract_cutouts(tile, np.array([row["ra"]]), np.array([row["dec"]]), SIZE, bands=BANDS)
        np.testing.assert_array_equal(cutouts_NBYX[number], expected[0])
        assert found.table["flags"][number].as_py() == shuffled["flags"][number].as_py() | flags[0]


def test_a_tile_that_is_not_there_costs_its_own_rows_their_image(sources: pa.Table, tiles: str) -> None:
    place = sources.schema.get_field_index("tile")
    names = sources["tile"].to_pylist()
    changed = sources.set_column(
        place, "tile", pa.array(["KIDS_0.0_0.0" if name == names[0] else name for name in names])
    )
    found = attach_cutouts(changed, tiles, image_bands=BANDS, cutout_size=SIZE)
    lost_N = np.array([name == names[0] for name in names])
    flags_N = found.table["flags"].to_numpy()
    np.testing.assert_array_equal((flags_N & Flag.NO_TILE) != 0, lost_N)
    np.testing.assert_array_equal(np.isnan(get_cutouts(found.table)).all(axis=(1, 2, 3)), lost_N)
    (problem,) = found.problems
    assert (problem.stage, problem.subject, problem.rows) == ("read", "KIDS_0.0_0.0", lost_N.sum())


def test_a_store_that_does_not_answer_raises_until_it_is_given_up(
    sources: pa.Table, tiles: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(photoz.inputs, "open_tile", refuse)
    rows = sources.slice(0, 3)
    with pytest.raises(TimeoutError, match="no answer"):
        attach_cutouts(rows, tiles, image_bands=BANDS, cutout_size=SIZE)
    found = attach_cutouts(rows, tiles, image_bands=BANDS, cutout_size=SIZE, give_up=True)
    assert {problem.error for problem in found.problems} == {"TimeoutError: no answer"}
    assert sum(problem.rows for problem in found.problems) == 3
    assert ((found.table["flags"].to_numpy() & Flag.TILE_UNREADABLE) != 0).all()


def test_rows_outside_their_tile_are_one_problem(sources: pa.Table, tiles: str) -> None:
    rows = sources.slice(0, 2)
    away = rows.set_column(rows.schema.get_field_index("dec"), "dec", pa.array([80.0, 80.0]))
    found = attach_cutouts(away, tiles, image_bands=BANDS, cutout_size=SIZE)
    problems = {problem.subject: problem.rows for problem in found.problems}
    assert problems == {name: rows["tile"].to_pylist().count(name) for name in set(rows["tile"].to_pylist())}
    assert all(problem.stage == "cutout" and problem.error.startswith("OFF_IMAGE") for problem in found.problems)
    assert ((found.table["flags"].to_numpy() & Flag.OFF_IMAGE) != 0).all()


def test_no_rows_make_no_inputs(sources: pa.Table, tiles: str) -> None:
    found = attach_cutouts(sources.slice(0, 0), tiles, image_bands=BANDS, cutout_size=SIZE)
    assert found.problems == ()
    inputs = make_inputs(found.table, BANDS)
    assert len(inputs) == 0
    assert inputs.cutouts_NBYX is not None
    assert inputs.cutouts_NBYX.shape == (0, 2, SIZE, SIZE)


def test_fluxes_come_in_the_order_of_the_estimators_bands() -> None:
    bands = ("u", "g", "r")
    values = {"flux_u": 21.0, "flux_g": 22.0, "flux_r": -3.0, "fluxerr_u": 1.0, "fluxerr_g": 0.0, "fluxerr_r": 0.25}
    schema = make_source_schema(bands)
    table = pa.table(
        [pa.array([values.get(f.name, "" if f.type == pa.string() else 0)], f.type) for f in schema], schema
    )
    inputs = make_inputs(table, ("r", "g"))
    np.testing.assert_array_equal(inputs.fluxes_NF, [[-3.0, 22.0]])
    np.testing.assert_array_equal(inputs.errors_NF, [[0.25, np.nan]])
    assert inputs.magnitudes.not_detected_NF.tolist() == [[True, False]]
    assert inputs.cutouts_NBYX is None


def test_a_problem_is_a_value() -> None:
    assert Problem("read", "tile", 3, "why") == Problem("read", "tile", 3, "why")
