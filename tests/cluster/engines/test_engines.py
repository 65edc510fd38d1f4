"""One call, three engines, the same results."""

import errno
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import ReadySurvey
from ingested import choose
from runs import change
from tiny_survey import make_config

from cluster.engines.choose import open_engine
from cluster.engines.dask import _call_attempts, count_lost
from cluster.engines.ray import check_resources
from cluster.engines.retries import insist
from cluster.engines.tasks import run_tasks
from cluster.telemetry import RunTelemetry
from photoz.catalogue.records import Record
from photoz.errors import CatalogueError, ConfigError
from photoz.settings.config import Config
from photoz.settings.engine import EngineSettings


def square(task: tuple[int, str], *, run: str = "tiny") -> dict[str, object]:
    number, name = task
    return {"name": name, "square": number**2, "run": run, "rows": number}


def test_what_is_bound_to_the_function_is_used(tmp_path) -> None:
    config = make_config(tmp_path, engine={"name": "serial"})
    tasks = [(2, "two"), (3, "three")]
    results = list(run_tasks(partial(square, run="bound"), tasks, choose(config), label="numbers"))
    assert results == [
        {"name": "two", "square": 4, "run": "bound", "rows": 2},
        {"name": "three", "square": 9, "run": "bound", "rows": 3},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_engines_give_what_serial_gives(tmp_path, ray_cluster: None, engine: str) -> None:
    tasks = [(number, str(number)) for number in range(7)]
    serial = choose(make_config(tmp_path, engine={"name": "serial"}))
    expected = list(run_tasks(square, tasks, serial, label="numbers"))
    found = run_tasks(square, tasks, choose(make_config(tmp_path, engine={"name": engine})), label="numbers")
    assert sorted(found, key=lambda row: row["square"]) == expected


def die_once(marker: str) -> dict[str, object]:
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return {"rows": 1}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_what_is_run_again_for_a_lost_worker_is_counted(tmp_path, ray_cluster: None, engine: str) -> None:
    config = make_config(tmp_path, engine={"name": engine, "workers": 1})
    again = Counter[str]()
    found = run_tasks(die_once, [str(tmp_path / "marker")], choose(config), label="tasks", again=again)
    assert list(found) == [{"rows": 1}]
    assert again == Counter(reruns=1)


@pytest.mark.slow
def test_other_work_of_a_dask_cluster_does_not_count(tmp_path) -> None:
    config = make_config(tmp_path, engine={"name": "dask", "workers": 1})
    started = time.time()
    with open_engine(config.engine, config.storage_options) as joined:
        assert list(run_tasks(die_once, [str(tmp_path / "marker")], joined, label="tasks")) == [{"rows": 1}]
        with joined.lend_dask() as client:
            assert client is not None
            assert count_lost(client, _call_attempts, since=started) == 1
            assert count_lost(client, die_once, since=started) == 0
            assert count_lost(client, _call_attempts, since=time.time()) == 0


def raise_at_first(folder: str, task: tuple[str, int]) -> dict[str, object]:
    """Raise the first so many times that a task is begun, as a store does that is away for a while."""
    name, times = task
    begun = len(list(Path(folder).glob(f"{name}-*")))
    Path(folder, f"{name}-{begun}").touch()
    if begun < times:
        raise OSError(errno.EBUSY, "Service Unavailable")
    return {"name": name, "begun": begun + 1, "rows": 1}


def give_up(task: tuple[str, int]) -> dict[str, object]:
    return {"name": task[0], "begun": 0}


def refuse(folder: str, task: str) -> dict[str, object]:
    Path(folder, task).touch(exist_ok=False)
    raise CatalogueError(f"{task} is damaged")


@pytest.fixture
def trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings under which a task may raise twice, in a folder that tells how often one has begun."""
    monkeypatch.setattr("cluster.engines.retries.LONGEST_PAUSE", 0.0)
    config = make_config(tmp_path, engine={"name": "serial", "retries": 2})
    Path(config.locations.tiles).mkdir(parents=True)
    return config


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_what_raises_is_tried_again_after_the_others(trouble: Config, ray_cluster: None, engine: str, caplog) -> None:
    config, again = change(trouble, engine__name=engine), Counter[str]()
    raising = partial(raise_at_first, config.locations.tiles)
    tasks = [("twice", 2), ("never", 0), ("once", 1)]
    with (
        open_engine(config.engine, config.storage_options) as joined,
        caplog.at_level("INFO"),
    ):  # Dask sets the level of handlers
        found = list(run_tasks(raising, tasks, joined, label="tasks", again=again))
    assert [(row["name"], row["begun"]) for row in found] == [("never", 1), ("once", 2), ("twice", 3)]
    assert again == Counter(retried=3)
    assert "2 tasks failed (OSError: [Errno 16] Service Unavailable); again in" in caplog.text
    assert "3/3 tasks, 3 galaxies" in caplog.text
    assert "3 retried" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_what_raises_to_the_last_ends_the_run(trouble: Config, ray_cluster: None, engine: str) -> None:
    config = change(trouble, engine__name=engine)
    raising = partial(raise_at_first, config.locations.tiles)
    with open_engine(config.engine, config.storage_options) as joined:
        with pytest.raises(Exception, match="Service Unavailable"):
            list(run_tasks(raising, [("always", 9)], joined, label="tasks"))
        assert len(list(Path(config.locations.tiles).iterdir())) == 3
        found = list(run_tasks(raising, [("given up", 9)], joined, label="tasks", last=give_up))
    assert found == [{"name": "given up", "begun": 0}]


@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_what_is_raised_on_purpose_is_not_tried_again(trouble: Config, ray_cluster: None, engine: str) -> None:
    config = change(trouble, engine__name=engine)
    with pytest.raises(Exception, match="one is damaged"):
        list(run_tasks(partial(refuse, config.locations.tiles), ["one"], choose(config), label="tasks"))


@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_nothing_to_do_is_no_error(tmp_path, ray_cluster: None, engine: str) -> None:
    nobody = choose(make_config(tmp_path, engine={"name": engine}))
    assert list(run_tasks(square, [], nobody, label="numbers")) == []


def test_an_engine_that_there_is_not_is_named_with_those_that_there_are(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"engine\.name = 'spark' is no engine: choose one of serial, ray, dask"):
        choose(make_config(tmp_path, engine={"name": "spark"}))


class Action:
    """Raises one thing after another, and returns then."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_store_that_does_not_answer_is_asked_again(trouble: Config, caplog) -> None:
    busy = OSError(errno.EBUSY, "Service Unavailable")
    assert insist(Action(busy, TimeoutError()), trouble.engine.retries, "the record") == "done"
    assert "the record failed (OSError: [Errno 16] Service Unavailable); again in" in caplog.text
    with pytest.raises(OSError, match="Service Unavailable"):
        insist(Action(busy, busy, busy), trouble.engine.retries, "the record")


@pytest.mark.parametrize("error", [ValueError("no"), FileNotFoundError(errno.ENOENT, "no"), CatalogueError("no")])
def test_what_is_no_trouble_of_a_store_is_raised_at_once(trouble: Config, error: Exception) -> None:
    action = Action(error, ZeroDivisionError())
    with pytest.raises(type(error), match="no"):
        insist(action, trouble.engine.retries, "the record")
    assert len(action.errors) == 1


def test_estimators_may_not_take_every_cpu() -> None:
    # Ray Data would wait for ever, in silence.
    with pytest.raises(ConfigError, match="= 2 CPUs leaves none of the cluster's 2"):
        check_resources({"CPU": 2.0}, EngineSettings(estimators=2, cpus_per_estimator=1.0))
    check_resources({"CPU": 3.0}, EngineSettings(estimators=2, cpus_per_estimator=1.0))


def test_missing_gpus_are_named() -> None:
    with pytest.raises(ConfigError, match="= 1 GPUs are more than the cluster's 0"):
        check_resources({"CPU": 8.0}, EngineSettings(gpus_per_estimator=1.0))


def test_progress_is_logged_with_rate_and_time_left(ready_survey: ReadySurvey, caplog) -> None:
    with caplog.at_level("INFO"):
        list(run_tasks(square, [(10, "ten")], choose(ready_survey.config), label="numbers"))
    assert "1/1 numbers, 10 galaxies" in caplog.text
    assert "left" in caplog.text


def test_what_was_done_before_its_worker_was_lost_is_this_runs_work() -> None:
    record = Record(order=0, pixel=4, key="k", rows=7, estimated=7, sha256="s", shared=True)
    telemetry = RunTelemetry()
    telemetry.add(record)  # another run's
    telemetry.add(replace(record, sums={"reruns": 2}))
    found = telemetry.summarize()
    assert (found.partitions, found.galaxies, found.rerun_after_lost_worker) == (1, 7, 2)
