"""The serial engine: in turn, a bounded read ahead, and failures that cost their own task."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from cluster.engines.base import Attempt, Engine, Failure, Needs, Stages, Success
from cluster.engines.serial import _READ_AHEAD, SerialEngine
from photoz.errors import CatalogueError
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions


@dataclass
class Bench:
    """Stages that note what is done, where, and how much has been read and not yet finished."""

    events: list[tuple[str, int]] = field(default_factory=list)
    threads: dict[str, set[int]] = field(default_factory=lambda: {"read": set(), "estimate": set(), "write": set()})
    failing: dict[int, str] = field(default_factory=dict)

    def _pass(self, stage: str, task: int) -> int:
        self.events.append((stage, task))
        self.threads[stage].add(threading.get_ident())
        if self.failing.get(task) == stage:
            raise OSError(f"{stage} of {task}")
        return task

    def make(self) -> Stages[int, int]:
        """Return the stages."""
        return Stages(
            read=lambda task: self._pass("read", task),
            prepare=lambda: None,
            estimate=lambda task: self._pass("estimate", task),
            write=lambda task: 10 * self._pass("write", task),
        )


@pytest.fixture
def engine() -> SerialEngine:
    return SerialEngine(EngineSettings(name="serial"), StorageOptions({}))


def test_tasks_are_done_in_turn_and_only_when_asked_for(engine: SerialEngine) -> None:
    done: list[int] = []
    outcomes = engine.run(Attempt(done.append, engine.storage), [3, 1, 2])
    assert done == []
    assert next(outcomes) == Success(None)
    assert done == [3]
    assert list(outcomes) == [Success(None)] * 2
    assert done == [3, 1, 2]


def test_what_raises_becomes_a_failure_with_its_task(engine: SerialEngine) -> None:
    outcomes = list(engine.run(Attempt(lambda task: 6 // task, engine.storage), [2, 0, 3]))
    assert outcomes == [
        Success(3),
        Failure(0, "ZeroDivisionError: integer division or modulo by zero"),
        Success(2),
    ]


def test_what_is_fatal_ends_the_run_where_it_is(engine: SerialEngine) -> None:
    def refuse(task: int) -> int:
        if task == 1:
            raise CatalogueError("damaged")
        return task

    outcomes = engine.run(Attempt(refuse, engine.storage, (CatalogueError,)), [0, 1, 2])
    assert next(outcomes) == Success(0)
    with pytest.raises(CatalogueError, match="damaged"):
        next(outcomes)
    # Of a fatal class alone: the others are tried again.
    assert list(engine.run(Attempt(refuse, engine.storage, (KeyError,)), [1])) == [
        Failure(1, "CatalogueError: damaged")
    ]


def test_a_fault_of_the_program_comes_with_its_place_whatever_is_fatal(engine: SerialEngine) -> None:
    (failure,) = engine.run(Attempt(lambda task: {}[task], engine.storage, (Exception,)), [7])
    assert isinstance(failure, Failure)
    assert failure.fault
    assert failure.problem.startswith("KeyError: 7 (")


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_task_goes_through_all_stages_in_their_order(engine: SerialEngine, count: int) -> None:
    bench = Bench()
    assert list(engine.run_stages(bench.make(), range(count))) == [Success(10 * task) for task in range(count)]
    for task in range(count):
        assert [stage for stage, of in bench.events if of == task] == ["read", "estimate", "write"]
    for stage in ("read", "estimate", "write"):
        assert [of for name, of in bench.events if name == stage] == list(range(count))


def test_reading_goes_on_in_a_thread_while_this_one_estimates(engine: SerialEngine) -> None:
    bench = Bench()
    list(engine.run_stages(bench.make(), range(4)))
    assert len(bench.threads["read"]) == 1
    assert bench.threads["estimate"] == bench.threads["write"] == {threading.get_ident()}
    assert bench.threads["read"] != bench.threads["estimate"]


def test_no_more_is_read_than_is_held(engine: SerialEngine) -> None:
    bench = Bench()
    outcomes = engine.run_stages(bench.make(), range(20))
    for done in range(1, 4):
        next(outcomes)
        time.sleep(0.05)  # for the thread to read on, if it would
        assert sum(stage == "read" for stage, _ in bench.events) <= done - 1 + _READ_AHEAD
    outcomes.close()


@pytest.mark.parametrize("stage", ["read", "estimate", "write"])
def test_a_stage_that_raises_costs_its_own_task(engine: SerialEngine, stage: str) -> None:
    bench = Bench(failing={1: stage})
    outcomes = list(engine.run_stages(bench.make(), range(4)))
    assert outcomes == [Success(0), Failure(1, f"OSError: {stage} of 1"), Success(20), Success(30)]


def test_a_single_large_task_runs_in_this_process(engine: SerialEngine) -> None:
    needs = Needs(cpus=1e6, gpus=8, retries=0, check=lambda _: pytest.fail("there is no cluster to ask"))
    assert engine.run_alone(threading.get_ident, needs) == threading.get_ident()


def test_there_is_nothing_to_join_and_no_client_to_lend(engine: SerialEngine) -> None:
    with engine.join() as joined, joined.lend_dask() as client:
        assert joined is engine
        assert client is None


def test_an_engine_that_cannot_run_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Engine(EngineSettings(), StorageOptions({}))  # type: ignore[abstract]
