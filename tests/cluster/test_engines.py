"""One call, three engines, the same results."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ReadySurvey
from tiny_survey import make_config

from cluster.engines import (
    _call_configured,
    check_resources,
    count_reruns,
    join_cluster,
    run_tasks,
)
from cluster.ledger import Record
from cluster.telemetry import RunTelemetry
from photoz.config import Config, Engine
from photoz.errors import ConfigError


def square(config: Config, task: tuple[int, str]) -> dict[str, object]:
    number, name = task
    return {"name": name, "square": number**2, "run": config.run.name, "rows": number}


def test_engine_settings_are_used(tmp_path) -> None:
    config = make_config(tmp_path, engine={"name": "serial"})
    results = list(run_tasks(square, [(2, "two"), (3, "three")], config, label="numbers"))
    assert results == [
        {"name": "two", "square": 4, "run": "tiny", "rows": 2},
        {"name": "three", "square": 9, "run": "tiny", "rows": 3},
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_engines_give_what_serial_gives(tmp_path, ray_cluster: None, engine: str) -> None:
    tasks = [(number, str(number)) for number in range(7)]
    expected = list(run_tasks(square, tasks, make_config(tmp_path, engine={"name": "serial"}), label="numbers"))
    found = run_tasks(square, tasks, make_config(tmp_path, engine={"name": engine}), label="numbers")
    assert sorted(found, key=lambda row: row["square"]) == expected


def die_once(config: Config, marker: str) -> dict[str, object]:
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return {"rows": 1}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.mark.slow
def test_what_dask_runs_again_for_a_lost_worker_is_counted(tmp_path) -> None:
    config = make_config(tmp_path, engine={"name": "dask", "workers": 1})
    started = time.time()
    with join_cluster(config):
        assert list(run_tasks(die_once, [str(tmp_path / "marker")], config, label="tasks")) == [{"rows": 1}]
        assert count_reruns(config, _call_configured, since=started) == 1
        assert count_reruns(config, die_once, since=started) == 0
        assert count_reruns(config, _call_configured, since=time.time()) == 0


@pytest.mark.parametrize("engine", ["serial", "ray"])
def test_only_dask_is_asked_about_lost_workers(tmp_path, engine: str) -> None:
    assert count_reruns(make_config(tmp_path, engine={"name": engine}), die_once, since=0.0) == 0


@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_nothing_to_do_is_no_error(tmp_path, ray_cluster: None, engine: str) -> None:
    assert list(run_tasks(square, [], make_config(tmp_path, engine={"name": engine}), label="numbers")) == []


def test_estimators_may_not_take_every_cpu() -> None:
    # Ray Data would wait for ever, in silence.
    with pytest.raises(ConfigError, match="= 2 CPUs leaves none of the cluster's 2"):
        check_resources({"CPU": 2.0}, Engine(estimators=2, cpus_per_estimator=1.0))
    check_resources({"CPU": 3.0}, Engine(estimators=2, cpus_per_estimator=1.0))


def test_missing_gpus_are_named() -> None:
    with pytest.raises(ConfigError, match="= 1 GPUs are more than the cluster's 0"):
        check_resources({"CPU": 8.0}, Engine(gpus_per_estimator=1.0))


def test_progress_is_logged_with_rate_and_time_left(ready_survey: ReadySurvey, caplog) -> None:
    with caplog.at_level("INFO"):
        list(run_tasks(square, [(10, "ten")], ready_survey.config, label="numbers"))
    assert "1/1 numbers, 10 galaxies" in caplog.text
    assert "left" in caplog.text


def test_what_was_done_before_its_worker_was_lost_is_this_runs_work() -> None:
    record = Record(order=0, pixel=4, key="k", rows=7, estimated=7, sha256="s", shared=True)
    telemetry = RunTelemetry()
    telemetry.add(record)  # another run's
    telemetry.add(replace(record, sums={"reruns": 2}))
    found = telemetry.summarize()
    assert (found["partitions"], found["galaxies"], found["rerun_after_lost_worker"]) == (1, 7, 2)
