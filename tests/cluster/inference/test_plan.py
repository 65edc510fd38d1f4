"""What a run of inference is to do, and which partitions of it remain."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ReadySurvey
from ingested import choose
from runs import change

from cluster.engines.base import Engine
from cluster.inference.plan import Plan, compute_key, find_remaining, plan_run
from cluster.inference.stages import make_stages
from cluster.ledger import locate_output
from photoz.catalogue.hats import Partition, list_partitions, locate_partition
from photoz.errors import CatalogueError
from photoz.settings.config import Config


@pytest.fixture
def config(ready_survey: ReadySurvey, tmp_path: Path) -> Config:
    """Settings of photometry alone, which is quick, and of a catalogue that is not there yet."""
    catalogue = str(tmp_path / "catalogue")
    return change(ready_survey.config, locations__catalogue=catalogue, inference__estimator="photometry")


@pytest.fixture
def plan(config: Config) -> Plan:
    return plan_run(config)


@pytest.fixture
def engine(config: Config) -> Engine:
    return choose(config)


@pytest.fixture
def partitions(config: Config) -> list[Partition]:
    return list_partitions(config.locations.sources)


def test_nothing_is_done_of_a_new_catalogue(plan: Plan, partitions: list[Partition], engine: Engine) -> None:
    assert find_remaining(plan, partitions, engine) == partitions


def test_what_is_done_with_the_same_inputs_does_not_remain(
    plan: Plan, partitions: list[Partition], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, *others = partitions
    for partition in (first, second):
        make_stages(plan)(partition)
    with caplog.at_level("INFO"):
        assert find_remaining(plan, partitions, engine) == others
    assert "2 partitions: done and verified" in caplog.text
    Path(locate_partition(locate_output(plan.config.locations.catalogue), second)).unlink()
    assert find_remaining(plan, partitions, engine) == [second, *others]
    assert find_remaining(replace(plan, run_key="another"), partitions, engine) == partitions


def test_what_cannot_be_checked_remains(
    plan: Plan, partitions: list[Partition], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_stages(plan)(partitions[0])

    def refuse(*_: object) -> str:
        raise TimeoutError("no answer")

    monkeypatch.setattr("cluster.inference.plan.explain_remaining", refuse)
    assert find_remaining(plan, partitions, engine) == partitions


def test_a_partitions_key_follows_its_run_and_its_rows(plan: Plan, partitions: list[Partition]) -> None:
    first, second, *_ = partitions
    assert compute_key(plan, first) == compute_key(plan, first)
    assert compute_key(plan, first) != compute_key(plan, second)
    assert compute_key(plan, first) != compute_key(replace(plan, run_key="another"), first)


def test_tiles_count_only_where_they_are_read(plan: Plan, partitions: list[Partition], tmp_path: Path) -> None:
    elsewhere = replace(plan, config=change(plan.config, locations__tiles=str(tmp_path / "none")))
    assert compute_key(elsewhere, partitions[0]) == compute_key(plan, partitions[0])
    of_images = [replace(each, image_bands=("r",)) for each in (elsewhere, plan)]
    assert compute_key(of_images[0], partitions[0]) != compute_key(of_images[1], partitions[0])


def test_an_output_of_another_run_is_refused_before_any_work(config: Config, plan: Plan) -> None:
    with pytest.raises(CatalogueError, match="holds another run"):
        plan_run(change(config, run__name="other"))


def test_what_remains_is_in_the_order_in_which_it_was_listed(
    plan: Plan, partitions: list[Partition], engine: Engine
) -> None:
    """Along the sky, on which a pixel of a finer order may come before one of a coarser."""
    make_stages(plan)(partitions[0])
    fine, coarse = Partition(order=8, pixel=0), Partition(order=2, pixel=1)
    assert find_remaining(plan, [fine, partitions[0], coarse], engine) == [fine, coarse]
