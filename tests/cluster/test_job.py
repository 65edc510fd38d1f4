"""What every command does first: options, settings, log lines that name the run, exit status."""

import json
import logging
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import pytest
from tiny_survey import make_config

from cluster.job import add_options, run_with_settings
from photoz.errors import CatalogueError, ConfigError
from photoz.settings import JobSettings, choose_config_file, config_to_dict, convert_settings
from photoz.settings.config import Config
from photoz.storage import StorageOptions, use_options

SCRIPT_DOCSTRING = """Do nothing.

python jobs/nothing.py --config run.toml
"""


class Plain(JobSettings, frozen=True):
    """Settings of a job that is no survey run: neither the name of a run nor an engine."""

    count: int = 1


@pytest.fixture(autouse=True)
def kept_process():
    """Leave log and storage options as they were: a job sets them up for its process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    use_options(StorageOptions())


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script with its settings beside it, and none in the environment."""
    monkeypatch.delenv("PHOTOZ_CONFIG", raising=False)
    locations = "\n".join(
        f'{name} = "{value}"' for name, value in config_to_dict(make_config(tmp_path).locations).items()
    )
    (tmp_path / "dr4.toml").write_text(
        f'[run]\nname = "50% done"\n[locations]\n{locations}\n[engine]\nname = "serial"\n'
    )
    (tmp_path / "plain.toml").write_text("count = 7\n")
    return tmp_path / "job.py"


def call(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["job.py", *options])


def run_job(main: Any, script: str, description: str | None, kind: Any = Config, defaults: str = "dr4.toml") -> int:
    """Run ``main`` as `cluster.command` runs that of a command."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    add_options(parser, choose_config_file(script, defaults))
    return run_with_settings(kind, main, parser.parse_args())


def test_settings_lie_beside_the_script_and_overrides_count(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Config] = []
    call(monkeypatch, "--set", "run.seed=11", "--set", "engine.workers=3")
    assert run_job(seen.append, str(script), None) == 0
    assert (seen[0].run.name, seen[0].run.seed, seen[0].engine.workers) == ("50% done", 11, 3)


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_what_main_returns_is_the_exit_status(
    script: Path, monkeypatch: pytest.MonkeyPatch, returned: int | None, status: int
) -> None:
    call(monkeypatch)
    assert run_job(lambda _: returned, str(script), None) == status


@pytest.mark.parametrize("error", [ConfigError("run.name is no name"), CatalogueError("no catalogue at 'x'")])
def test_errors_of_ours_are_one_line_and_status_2(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(_: Config) -> None:
        raise error

    call(monkeypatch)
    assert run_job(fail, str(script), None) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {error}"]


def test_other_errors_are_faults_and_keep_their_traceback(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(monkeypatch)
    with pytest.raises(ZeroDivisionError):
        run_job(lambda _: 1 // 0, str(script), None)


def test_a_dry_run_prints_settings_that_give_themselves_again_and_calls_nothing(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--dry-run", "--set", "run.seed=4")
    assert run_job(lambda _: pytest.fail("main was called"), str(script), None) == 0
    printed = json.loads(capsys.readouterr().out)
    assert convert_settings(Config, printed).run.seed == 4
    assert json.loads(json.dumps(config_to_dict(convert_settings(Config, printed)))) == printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "run.nmae=x"], "unknown field `nmae`"),
        (["--set", "engine.name=spark"], "engine.name = 'spark' is no engine: choose one of serial, ray, dask"),
        (["--config", "/nowhere.toml"], "no settings file at '/nowhere.toml': give one with --config FILE"),
    ],
)
def test_settings_are_refused_before_main_is_called(
    script: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    call(monkeypatch, *options)
    assert run_job(lambda _: pytest.fail("main was called"), str(script), None) == 2
    assert message in capsys.readouterr().err


def test_options_that_there_are_not_end_with_argparses_own_status(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--fast")
    with pytest.raises(SystemExit) as caught:
        run_job(lambda _: 0, str(script), None)
    assert caught.value.code == 2
    assert "--fast" in capsys.readouterr().err


def test_help_shows_the_docstring_line_by_line_and_the_default_file(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "--help")
    with pytest.raises(SystemExit) as caught:
        run_job(lambda _: 0, str(script), SCRIPT_DOCSTRING)
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "\npython jobs/nothing.py --config run.toml\n" in shown
    assert "dr4.toml" in shown.replace("\n", "").replace(" ", "")


def test_every_line_of_the_log_names_the_run_even_with_a_percent_sign(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(_: Config) -> None:
        logging.getLogger("photoz.some").info("%d of %d", 1, 2)

    call(monkeypatch)
    run_job(say, str(script), None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" 50% done photoz.some: 1 of 2")


def test_settings_of_another_kind_have_neither_run_nor_engine(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Plain] = []
    monkeypatch.setenv("PHOTOZ_CONFIG", "/of/survey/runs.toml")
    call(monkeypatch, "--set", 'storage.s3={endpoint_url = "http://store"}')
    assert run_job(seen.append, str(script), None, Plain, "plain.toml") == 0
    assert seen[0].count == 7
    assert seen[0].storage_options.find("s3://bucket/name") == {"endpoint_url": "http://store"}
    assert capsys.readouterr().err == ""
