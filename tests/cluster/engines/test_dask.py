"""The Dask engine: outcomes of tasks and stages, and how many tasks its scheduler knows of, on one small cluster."""

import os
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from cluster.engines.base import Attempt, Failure, Lost, Stages, Success
from cluster.engines.dask import DaskEngine, _call_attempts, count_lost, map_dask
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A scheduler and a worker in this process: what is tested here kills none."""
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as joined:
        yield joined


@pytest.fixture
def engine(client: Client) -> DaskEngine:
    return DaskEngine(EngineSettings(name="dask"), StorageOptions({}), client)


def divide(task: int) -> int:
    return 60 // task


def test_every_task_has_one_outcome_and_what_was_lost_comes_last(engine: DaskEngine) -> None:
    *outcomes, lost = engine.run(Attempt(divide, engine.storage), [1, 2, 0, 2])
    assert lost == Lost(0)
    # Of two equal tasks, too: their keys are not made of the content.
    assert sorted(each.result for each in outcomes if isinstance(each, Success)) == [30, 30, 60]
    assert [each for each in outcomes if isinstance(each, Failure)] == [
        Failure(0, "ZeroDivisionError: integer division or modulo by zero")
    ]


def test_what_is_fatal_is_raised_here(engine: DaskEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        list(engine.run(Attempt(divide, engine.storage, (ZeroDivisionError,)), [0]))


def test_a_stage_that_raises_costs_its_own_task(engine: DaskEngine) -> None:
    stages: Stages = Stages(read=divide, prepare=lambda: None, estimate=float, write=str)
    *outcomes, lost = engine.run_stages(stages, [3, 0, 4])
    assert lost == Lost(0)
    assert sorted(each.result for each in outcomes if isinstance(each, Success)) == ["15.0", "20.0"]
    (failed,) = [each for each in outcomes if isinstance(each, Failure)]
    assert failed.task == 0
    assert failed.problem.startswith("ZeroDivisionError: ")


def test_no_tasks_have_no_outcomes(engine: DaskEngine) -> None:
    assert list(engine.run(Attempt(divide, engine.storage), [])) == [Lost(0)]


def test_its_own_workers_keep_memory_have_one_thread_a_library_and_do_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "GOMP_SPINCOUNT"]
    for name in names:  # Dask leaves them in this process, too
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    engine = DaskEngine(EngineSettings(name="dask", workers=1), StorageOptions({}))
    outcomes = engine.run(Attempt(read_variable, engine.storage), names)
    found = {each.result for each in outcomes if isinstance(each, Success)}
    assert found == set(zip(names, ["1", "1", "1", "2000000000", "2000"], strict=True))


def read_variable(name: str) -> tuple[str, str | None]:
    return name, os.environ.get(name)


def test_the_client_that_was_joined_is_lent_and_not_closed(engine: DaskEngine, client: Client) -> None:
    with engine.join() as joined, joined.lend_dask() as lent:
        assert lent is client
    assert client.status == "running"


# Ten a thread of the only worker, and the group that filled it up; two where a task's results are many, and one more.
@pytest.mark.parametrize(("size", "bound"), [(1, 10 + 3), (4, 2 + 1)])
def test_the_scheduler_never_holds_all_tasks(
    client: Client, monkeypatch: pytest.MonkeyPatch, size: int, bound: int
) -> None:
    monkeypatch.setattr("cluster.engines.dask._LEAST_HELD", 4)
    monkeypatch.setattr("cluster.engines.dask._GROUP", 3)
    submitted: list[int] = []
    original = client.map
    monkeypatch.setattr(
        client, "map", lambda f, group, **more: submitted.append(len(group)) or original(f, group, **more)
    )
    taken, most = 0, 0
    for task, future in map_dask(client, divide, range(1, 41), size):
        most = max(most, sum(submitted) - taken)
        assert future.result() == 60 // task
        taken += 1
    assert taken == sum(submitted) == 40
    assert most <= bound


def test_outcomes_come_from_tasks_that_share_one_of_dask(
    engine: DaskEngine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.engines.dask.MOST_TASKS", 2)
    monkeypatch.setattr("cluster.engines.dask.TASKS_A_CORE", 1)
    sent: list[int] = []
    original = client.map
    monkeypatch.setattr(
        client, "map", lambda f, group, **more: sent.extend(map(len, group)) or original(f, group, **more)
    )
    outcomes = list(engine.run(Attempt(divide, engine.storage), [1, 2, 0, 4, 5]))
    assert sent == [3, 2]
    assert sorted(outcome.result for outcome in outcomes if isinstance(outcome, Success)) == [12, 15, 30, 60]
    assert [outcome.task for outcome in outcomes if isinstance(outcome, Failure)] == [0]
    assert list(engine.run(Attempt(divide, engine.storage), [])) == [Lost(0)]


def test_nothing_was_lost_where_no_worker_was(client: Client) -> None:
    assert count_lost(client, _call_attempts, since=0.0) == 0
