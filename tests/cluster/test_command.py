"""The command `photoz` and the scripts of jobs/: the same commands by two doors."""

import ast
import json
import logging
import os
import re
import runpy
import subprocess
import sys
import sysconfig
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from cluster.command import COMMANDS, Command, main
from photoz.errors import CatalogueError
from photoz.settings.config import Config

ROOT = Path(__file__).resolve().parents[2]
JOBS = {
    re.findall(r'run_script\("([\w-]+)"', file.read_text())[0]: file for file in sorted((ROOT / "jobs").glob("*.py"))
}
WITH_SETTINGS = [name for name, command in COMMANDS.items() if command.settings and name in JOBS]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and leave the log as it was, which commands set up for their process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PHOTOZ_CONFIG", raising=False)
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name in ("photoz", "cluster"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def run_job(name: str, *options: str) -> int:
    """Run a job's script in this process, and return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(JOBS[name]), *options])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(JOBS[name]), run_name="__main__")
    return int(ended.value.code or 0)


def test_every_job_is_a_command_and_no_more() -> None:
    assert set(JOBS) <= set(COMMANDS)
    assert len(JOBS) == len(list((ROOT / "jobs").glob("*.py")))
    for name, file in JOBS.items():
        text = file.read_text()
        assert text.startswith("#!/usr/bin/env python\n")
        assert os.access(file, os.X_OK)
        tree = ast.parse(text)
        # Docstring, import and call; the call under a guard, since Dask's workers import the main module again.
        assert [type(node) for node in tree.body] == [ast.Expr, ast.ImportFrom, ast.If]
        assert f'raise SystemExit(run_script("{name}", __file__, __doc__))' in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = import_module(COMMANDS[name].module)
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert module.__doc__
    assert module.__doc__.strip() in told
    assert f"photoz {name}" in module.__doc__
    assert module.main.__doc__


@pytest.mark.parametrize("name", WITH_SETTINGS)
def test_a_job_and_its_command_have_the_same_settings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    override = ("--set", "output=x" if name == "compare" else "run.name=a")
    assert run_job(name, "--dry-run", *override) == 0
    of_job = capsys.readouterr().out
    assert main([name, "--dry-run", *override]) == 0
    assert capsys.readouterr().out == of_job
    assert json.loads(of_job)


def test_the_settings_that_are_shipped_are_those_beside_the_jobs() -> None:
    shipped = ROOT / "cluster" / "commands"
    assert {file.name for file in shipped.glob("*.toml")} == {command.defaults for command in COMMANDS.values()}
    # What only the command has is not beside the jobs.
    for file in (each for each in shipped.glob("*.toml") if each.name not in ("fit.toml", "estimate.toml")):
        assert file.read_bytes() == (ROOT / "jobs" / file.name).read_bytes(), f"copy jobs/{file.name} to {shipped}"


def test_where_settings_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def name_run(*options: str) -> str:
        assert main(["infer", "--dry-run", *options]) == 0
        return str(json.loads(capsys.readouterr().out)["run"]["name"])

    text = (ROOT / "jobs" / "dr4.toml").read_text()
    for place in ("photoz", "told", "given"):
        (tmp_path / f"{place}.toml").write_text(text.replace("dr4-simulated", place))
    assert name_run() == "photoz"
    monkeypatch.setenv("PHOTOZ_CONFIG", str(tmp_path / "told.toml"))
    assert name_run() == "told"
    assert name_run("--config", "given.toml") == "given"
    assert name_run("--config", "given.toml", "--set", "run.name=last") == "last"
    monkeypatch.delenv("PHOTOZ_CONFIG")
    (tmp_path / "photoz.toml").unlink()
    assert name_run() == "dr4-simulated"


def test_a_comparison_takes_no_settings_of_survey_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photoz.toml").write_text('[run]\nname = "a"\n')
    monkeypatch.setenv("PHOTOZ_CONFIG", str(tmp_path / "photoz.toml"))
    assert main(["compare", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["estimators"] == "all"


def test_without_a_command_all_are_told_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if re.match(r"  [a-z]", line)]
        assert lines[-len(COMMANDS) :] == list(COMMANDS)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    from photoz import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"photoz {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infr"], "no command 'infr' (did you mean 'infer'?): choose of first, fit,"),
        (["xyz"], "no command 'xyz': choose of first, fit, estimate"),
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["infer", "--nothing"], "unrecognized arguments: --nothing"),
        (["infer", "more"], "unrecognized arguments: more"),
    ],
)
def test_what_is_not_understood_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("train", "training.estimator=mpl", "'mpl' is no estimator (did you mean 'mlp'?): choose of annz, boosted"),
        ("compare", "estimators=mlp,kn", "estimators = 'kn' is no estimator (did you mean 'knn'?): choose of annz"),
        ("compare", "fit.bosted.max_trees=3", "fit = 'bosted' is no estimator (did you mean 'boosted'?)"),
        ("infer", "engine.name=rya", "'rya' is no engine (did you mean 'ray'?): choose one of serial, ray, dask"),
        ("audit", "engine.nmae=ray", "unknown field `nmae`"),
        ("nz", "nz", "has no '='"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_any_work(
    name: str, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (lambda *options: main([name, *options]), lambda *options: run_job(name, *options)):
        assert run("--set", setting) == 2
        assert message in capsys.readouterr().err


def test_a_folder_is_no_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["infer", "--dry-run", "--config", str(tmp_path)]) == 2
    assert "no settings file at" in capsys.readouterr().err


class Told(ModuleType):
    """A command that says what it was told, and ends as it is told."""

    def __init__(self) -> None:
        super().__init__("told_command", "Say what it was told.")
        self.config: Config | None = None
        self.outcome: int | Exception | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("table")
        parser.add_argument("--survey", default="kids")

    def change_settings(self, options: Namespace) -> list[str]:
        if options.table == "bad":
            raise CatalogueError("the table is bad")
        return [f"locations.sources={options.table}", f"survey.name={options.survey}"]

    def main(self, config: Config) -> int | None:
        self.config = config
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    module = Told()
    monkeypatch.setitem(sys.modules, "told_command", module)
    monkeypatch.setitem(COMMANDS, "told", Command("told_command"))
    return module


def test_arguments_of_a_command_stand_for_settings_and_set_counts_before_them(told: Told) -> None:
    assert main(["told", "/a", "--survey", "des"]) == 0
    assert told.config is not None
    assert (told.config.locations.sources, told.config.survey.name) == ("/a", "des")
    assert main(["told", "/a", "--set", "survey.name=hsc"]) == 0
    assert told.config.survey.name == "hsc"


@pytest.mark.parametrize(("outcome", "status"), [(None, 0), (0, 0), (1, 1), (3, 3), (CatalogueError("it is gone"), 2)])
def test_exit_statuses(
    told: Told, outcome: int | Exception | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    told.outcome = outcome
    assert main(["told", "/a"]) == status
    assert capsys.readouterr().err == ("error: it is gone\n" if status == 2 else "")


def test_verbose_shows_where_an_error_arose(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    told.outcome = CatalogueError("it is gone")
    assert main(["told", "/a", "--verbose"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "settings of" in shown
    assert shown.endswith("error: it is gone\n")


def test_what_a_commands_own_arguments_are_refused_for_is_told(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["told", "bad"]) == 2
    assert capsys.readouterr().err == "error: the table is bad\n"


def test_the_demo_shows_its_steps_by_the_door_it_came_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_job("demo", "--dry-run") == 0
    steps = capsys.readouterr().out.splitlines()
    assert steps[0] == "python jobs/simulate_survey.py"
    assert steps[4] == "ray job submit jobs/infer_dr4.py"
    assert run_job("demo", "--dry-run", "--set", "run.seed=2") == 0
    assert capsys.readouterr().out.splitlines()[4] == "ray job submit -- jobs/infer_dr4.py --set run.seed=2"
    assert main(["demo", "--dry-run", "--config", "a.toml"]) == 0
    steps = capsys.readouterr().out.splitlines()
    assert steps[0] == "photoz simulate --config a.toml"
    assert steps[4] == "ray job submit -- python -m photoz infer --config a.toml"
    # The user's own come last, and count.
    assert main(["demo", "--dry-run", "--set", "training.schedule.max_epochs=1"]) == 0
    assert capsys.readouterr().out.splitlines()[3].endswith("--set training.schedule.max_epochs=1")


def test_another_distributions_cluster_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "__init__.py").write_text("")
    # Without `site`, whose hook for a checkout that is installed finds modules of ours within the other's package.
    places = [str(tmp_path), str(ROOT), sysconfig.get_path("purelib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, "-S", "-m", "photoz", "--version"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Python finds {tmp_path / 'cluster' / '__init__.py'} for the package")
    assert "pip uninstall cluster" in done.stderr
    assert "Traceback" not in done.stderr
