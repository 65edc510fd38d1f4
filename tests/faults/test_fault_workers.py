"""Workers and nodes that die in the middle of a run."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from fault_places import Place, assert_nothing_half_written
from fault_table import Tally
from faulty import Die, DieOf, SlowDown, inject
from runs import ManyPartitions, assert_same_rows, change, make_survey, name_tiles, read_all

from cluster.engines.ray import use_own_token
from cluster.engines.reruns import counting
from cluster.inference.run import infer_catalogue
from photoz.catalogue.records import Record
from photoz.errors import CatalogueError
from photoz.settings.config import Config
from photoz.storage import list_folder, read_json

pytestmark = pytest.mark.faults

TILES = name_tiles(10)


@pytest.fixture(scope="module")
def survey(place: Place, tmp_path_factory: pytest.TempPathFactory) -> ManyPartitions:
    made = make_survey(tmp_path_factory.mktemp("workers"), TILES, **place.settle("survey"))
    infer_catalogue(made.config)
    return made


@pytest.fixture(scope="module")
def ray_nodes() -> Iterator[Any]:
    """Run a head without processors and two nodes with two each, in this process's session."""
    import ray
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        use_own_token()
        head = {"num_cpus": 0, "temp_dir": folder, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        paths = os.pathsep.join(sys.path)
        ray.init(address=cluster.address, runtime_env={"env_vars": {"PYTHONPATH": paths}}, log_to_driver=False)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def configure(survey: ManyPartitions, output: str, engine: str) -> Config:
    return change(survey.config, engine__name=engine, locations__catalogue=output)


def read_records(config: Config) -> list[Record]:
    return [Record(**read_json(file)) for file in list_folder(f"{config.locations.catalogue}/run/records", "*.json")]


@contextmanager
def when_records(config: Config, count: int, action: Callable[[list[Record]], None]) -> Iterator[list[str]]:
    """Do something, in another thread, once so many partitions are done; the list holds "done" when it was."""
    over, done = threading.Event(), list[str]()

    def watch() -> None:
        while not over.wait(0.05):
            records = read_records(config)
            if len(records) >= count:
                action(records)
                done.append("done")
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("engine", ["ray", "dask"])
@pytest.mark.parametrize("stage", ["read", "estimate", "write"])
def test_a_worker_killed_in_a_stage(
    survey: ManyPartitions, ray_nodes: Any, tally: Tally, tmp_path: Path, output: str,
    monkeypatch: pytest.MonkeyPatch, stage: str, engine: str,
) -> None:  # fmt: skip
    config = configure(survey, output, engine)
    fault = Die(stage, str(tmp_path), times=2)
    inject(monkeypatch, fault)
    record = infer_catalogue(config)
    assert fault.happened == 2
    assert record.this_run.rerun_after_lost_worker >= 2
    tally.check(f"{engine}: worker killed while in stage {stage}", config, survey.object_ids, times=2)
    assert_same_rows(read_all(config.locations.catalogue), read_all(survey.config.locations.catalogue))
    assert_nothing_half_written(output)


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_a_partition_that_kills_every_worker_is_left_over(
    survey: ManyPartitions, ray_nodes: Any, tally: Tally, output: str, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The run does all others, names it and ends with an error; once it is harmless the next run does it."""
    config = change(configure(survey, output, engine), engine__retries=1)
    with monkeypatch.context() as patch:
        inject(patch, DieOf(f"KIDS_{TILES[3]}"))
        with pytest.raises(CatalogueError, match=r"^1 partitions could not be done"):
            infer_catalogue(config)
    assert len(read_records(config)) == len(TILES) - 1
    assert infer_catalogue(config).this_run.partitions == 1
    tally.check(f"{engine}: a partition that kills every worker, then none", config, survey.object_ids)


def test_a_dask_worker_killed_from_outside(
    survey: ManyPartitions, tally: Tally, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(survey, output, "dask")
    inject(monkeypatch, SlowDown(0.3))

    def kill(records: list[Record]) -> None:
        worker = psutil.Process(int(records[0].estimator.rpartition(":")[2]))
        assert psutil.Process() in worker.parents()  # ours, nobody else's
        worker.send_signal(signal.SIGKILL)

    with when_records(config, 2, kill) as done:
        record = infer_catalogue(config)
    assert done
    assert record.this_run.rerun_after_lost_worker >= 1
    tally.check("dask: worker killed from outside", config, survey.object_ids)


def test_reruns_are_counted_on_the_drivers_node(ray_nodes: Any) -> None:
    import ray

    def find_node(_: Any) -> str:
        return str(ray.get_runtime_context().get_node_id())

    for _ in range(4):  # at random it would be one of three
        with counting() as begun:
            assert ray.get(begun.__ray_call__.remote(find_node)) == find_node(None)


def test_a_ray_node_killed(
    survey: ManyPartitions, ray_nodes: Any, tally: Tally, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(survey, output, "ray")
    inject(monkeypatch, SlowDown(0.5))

    def kill(records: list[Record]) -> None:
        """Kill the raylet beneath which the network is at work."""
        beneath = {process.pid for process in psutil.Process(int(records[0].estimator.rpartition(":")[2])).parents()}
        raylets = [node.all_processes["raylet"][0].process for node in ray_nodes.worker_nodes]
        next(raylet for raylet in raylets if raylet.pid in beneath).kill()

    with when_records(config, 2, kill) as done:
        record = infer_catalogue(config)
    assert done
    assert record.this_run.rerun_after_lost_worker >= 1
    tally.check("ray: node (raylet) with the estimator killed", config, survey.object_ids)
    assert_same_rows(read_all(config.locations.catalogue), read_all(survey.config.locations.catalogue))
