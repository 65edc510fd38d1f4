"""The stages that a partition goes through, one by one."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ReadySurvey, save_untrained
from runs import change

import cluster.inference.stages
from cluster.inference.plan import Plan, plan_run
from cluster.inference.stages import estimate_stage, make_stages, prepare_stage, read_stage, write_stage
from cluster.ledger import locate_output
from photoz.catalogue.hats import Partition, list_partitions, locate_partition, read_partition
from photoz.catalogue.records import read_record
from photoz.errors import EstimatorError
from photoz.inputs import CUTOUT
from photoz.schema import make_catalogue_schema
from photoz.storage import compute_checksum


@pytest.fixture
def plan(ready_survey: ReadySurvey, tmp_path: Path) -> Plan:
    return plan_run(change(ready_survey.config, locations__catalogue=str(tmp_path / "catalogue")))


@pytest.fixture
def partition(plan: Plan) -> Partition:
    return list_partitions(plan.config.locations.sources)[0]


def test_a_partition_is_read_estimated_and_written(plan: Plan, partition: Partition) -> None:
    sources = read_partition(plan.config.locations.sources, partition)
    read = read_stage(plan, partition)
    assert read.rows is not None
    assert read.rows.column_names == [*sources.column_names, CUTOUT]
    assert read.problems == ()
    estimated = estimate_stage(plan, read)
    assert estimated.rows is not None
    assert estimated.rows.schema.equals(make_catalogue_schema("hybrid"), check_metadata=True)
    assert estimated.rows["object_id"].equals(sources["object_id"])
    record = write_stage(plan, estimated)
    location = plan.config.locations.catalogue
    file = locate_partition(locate_output(location), partition)
    assert (record.partition, record.rows, record.key) == (partition, len(sources), read.key)
    assert record.estimated == np.isfinite(estimated.rows["z_phot"].to_numpy()).sum()
    assert record.sha256 == compute_checksum(file)
    assert record.sums.keys() >= {"read_stage_s", "estimate_stage_s", "write_stage_s", "bytes_read", "requests"}
    assert read_record(location, partition) == record


def test_all_stages_together_are_the_stages_one_by_one(plan: Plan, partition: Partition, tmp_path: Path) -> None:
    other = plan_run(change(plan.config, locations__catalogue=str(tmp_path / "other")))
    by_one = write_stage(other, estimate_stage(other, read_stage(other, partition)))
    together = make_stages(plan)(partition)
    assert (together.sha256, together.flags, together.key) == (by_one.sha256, by_one.flags, by_one.key)
    assert make_stages(plan).name(partition) == partition.name


def test_what_another_run_has_finished_is_passed_on(plan: Plan, partition: Partition) -> None:
    record = make_stages(plan)(partition)
    work = read_stage(plan, partition)
    assert work.rows is None
    assert estimate_stage(plan, work) is work
    assert write_stage(plan, work) == replace(record, sums={}, shared=True)


def test_what_costs_rows_their_image_stands_in_the_record_with_the_pass(
    plan: Plan, partition: Partition, tmp_path: Path
) -> None:
    lost = replace(plan, attempt=3, config=change(plan.config, locations__tiles=str(tmp_path / "none")))
    record = make_stages(lost)(partition)
    assert [(problem["stage"], problem["tries"]) for problem in record.problems] == [("read", 3)]
    assert record.flags["NO_TILE"] == record.rows


def test_the_estimator_is_loaded_once_and_anew_after_it_failed(
    plan: Plan, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.inference.stages, "_estimators", {})
    held = prepare_stage(plan)
    assert prepare_stage(plan) is held

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("an illegal memory access")

    with monkeypatch.context() as patch:
        patch.setattr(cluster.inference.stages, "estimate_rows", fail)
        with pytest.raises(RuntimeError, match="illegal memory"):
            estimate_stage(plan, read_stage(plan, partition))
    assert prepare_stage(plan) is not held


def test_other_weights_than_planned_are_refused(plan: Plan, tmp_path: Path) -> None:
    shutil.copytree(plan.config.locations.models, tmp_path / "models")
    config = change(plan.config, locations__models=str(tmp_path / "models"))
    planned = plan_run(config)
    save_untrained(config, "hybrid", seed=5)
    cluster.inference.stages._estimators.clear()
    with pytest.raises(EstimatorError, match="has changed since this run began"):
        prepare_stage(planned)
