"""The Ray engine where it differs from the others: what is refused before it waits, and one task with its own needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.engines.base import Attempt, Failure, Lost, Needs, Stages, Success
from cluster.engines.ray import RayEngine, check_resources, find_resources, use_own_token
from photoz.errors import CatalogueError, ConfigError
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions


def make_engine(**settings: object) -> RayEngine:
    return RayEngine(EngineSettings(name="ray", **settings), StorageOptions({}))  # type: ignore[arg-type]


def make_needs(**changes: object) -> Needs:
    values = {"cpus": 1.0, "gpus": 0.0, "retries": 0, "check": lambda _: None}
    return Needs(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("available", "settings", "message"),
    [
        ({"CPU": 2.0}, {"estimators": 2}, r"= 2 CPUs leaves none of the cluster's 2 to the readers"),
        ({}, {"estimators": 1}, r"= 1 CPUs leaves none of the cluster's 0"),
        ({"CPU": 8.0}, {"gpus_per_estimator": 0.5, "estimators": 2}, r"= 1 GPUs are more than the cluster's 0"),
        ({"CPU": 8.0, "GPU": 1.0}, {"gpus_per_estimator": 1.0, "estimators": 2}, "start Ray where there are GPUs"),
    ],
)
def test_what_would_wait_for_ever_is_refused(available: dict[str, float], settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_resources(available, EngineSettings(**settings))


def test_what_leaves_something_to_the_readers_passes() -> None:
    check_resources({"CPU": 2.5}, EngineSettings(estimators=2))
    check_resources({"CPU": 1.0, "GPU": 1.0}, EngineSettings(cpus_per_estimator=0.0, gpus_per_estimator=1.0))


def test_a_token_that_was_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given")
    use_own_token()
    assert os.environ["RAY_AUTH_TOKEN"] == "given"
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    use_own_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_no_tasks_start_nothing() -> None:
    engine = make_engine(address="no such cluster")
    stages: Stages = Stages(read=str, prepare=lambda: None, estimate=str, write=str)
    assert list(engine.run(Attempt(str, engine.storage), [])) == []
    assert list(engine.run_stages(stages, [])) == []


def test_outcomes_come_from_tasks_that_share_a_block(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.engines.ray.MOST_BLOCKS", 2)
    engine = make_engine()
    outcomes = list(engine.run(Attempt(divide, engine.storage), [1, 2, 0, 4, 5]))
    # A block tells first how often it had begun before.
    assert [outcome for outcome in outcomes if isinstance(outcome, Lost)] == [Lost(0)] * 2
    assert {outcome.result for outcome in outcomes if isinstance(outcome, Success)} == {60, 30, 15, 12}
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failed == [Failure(0, "ZeroDivisionError: integer division or modulo by zero")]


def divide(task: int) -> int:
    return 60 // task


def test_one_task_alone_has_its_environment_and_raises_our_errors_as_they_are(ray_cluster: None) -> None:
    engine = make_engine()
    found = engine.run_alone(read_environment, make_needs())
    assert found == ("1", "2000", True)
    with pytest.raises(CatalogueError, match=r"^damaged$"):
        engine.run_alone(refuse, make_needs())


def read_environment() -> tuple[str | None, str | None, bool]:
    own = (os.environ.get(name) for name in ("MALLOC_ARENA_MAX", "GOMP_SPINCOUNT"))
    return (*own, os.getpid() != os.getppid())


def refuse() -> None:
    raise CatalogueError("damaged")


def test_needs_are_checked_against_the_cluster_or_what_it_may_grow_to(ray_cluster: None) -> None:
    seen: list[dict[str, float]] = []
    make_engine(most_cpus=64.0, most_gpus=2.0).run_alone(str, make_needs(check=seen.append))
    assert seen == [{"CPU": 64.0, "GPU": 2.0}]
    assert find_resources(EngineSettings())["CPU"] == 4.0  # those of the tests' cluster


JOIN = """
import os
from cluster.engines.ray import RayEngine
from photoz.errors import ConfigError
from photoz.settings.engine import EngineSettings
from photoz.storage import StorageOptions

engine = RayEngine(EngineSettings(name="ray"), StorageOptions({}))
try:
    with engine.join():
        print("joined")
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_folder_whose_name_is_too_long_for_sockets_is_told_and_the_remedy_helps(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    folder.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_TMPDIR")}

    def join(**variables: str) -> str:
        command, changed = [sys.executable, "-c", JOIN], environment | {"TMPDIR": str(folder)} | variables
        return subprocess.run(command, capture_output=True, text=True, env=changed, timeout=120, check=True).stdout

    told = join()
    assert "the environment variable TMPDIR names: a socket's path may have no more than 107 characters" in told
    assert "set RAY_TMPDIR=/tmp" in told
    assert join(RAY_TMPDIR="/tmp") == "joined\n"
