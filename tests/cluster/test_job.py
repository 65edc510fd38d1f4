"""What every command does first: options, settings, log lines that name the run, exit status."""

import json
import logging
import os
import shlex
import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import pytest
from tiny_survey import make_config

from cluster.job import add_options, name_beside, run_with_settings
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


@pytest.mark.parametrize("set_by_user", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_of_a_job_do_not_spin_for_long_unless_the_user_says_so(
    script: Path, monkeypatch: pytest.MonkeyPatch, set_by_user: dict[str, str]
) -> None:
    """Beside other work a network on two threads that spin runs at a third of its rate."""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    for name in names:
        monkeypatch.setenv(name, set_by_user.get(name, ""))
        if name not in set_by_user:
            monkeypatch.delenv(name)
    call(monkeypatch)
    found: list[dict[str, str]] = []
    shown = lambda _: found.append({name: os.environ[name] for name in names if name in os.environ})  # noqa: E731
    assert run_job(shown, str(script), None) == 0
    assert found == [set_by_user or {"GOMP_SPINCOUNT": "2000"}]


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


def test_what_a_disk_refuses_is_one_line_with_what_helps(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def write(_: Config) -> None:
        (tmp_path / "plain.toml" / "beneath").write_text("")

    call(monkeypatch)
    assert run_job(write, str(script), None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: Not a directory: '{tmp_path}/plain.toml/beneath': a file lies where a folder is due, or a folder "
        "where a file is: give another place"
    )
    call(monkeypatch, "--verbose")
    assert run_job(write, str(script), None) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_store_without_credentials_is_one_line(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = pytest.importorskip("botocore.exceptions")

    def ask(_: Config) -> None:
        raise errors.NoCredentialsError

    call(monkeypatch)
    assert run_job(ask, str(script), None) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Unable to locate credentials: set [storage] and the credentials in the environment")


@pytest.mark.parametrize("place", ["", "/", "s3://bucket", "s3://bucket/"])
def test_what_has_no_place_beside_it_is_no_catalogue(place: str) -> None:
    with pytest.raises(ConfigError, match="names no folder that others may lie beside"):
        name_beside(place, "--output")


@pytest.mark.parametrize("written", ["out", "out/", "./out", "a/../out", "../{here}/out", "file:out"])
def test_sources_and_report_lie_beside_the_catalogue_however_it_is_written(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_beside(written.format(here=tmp_path.name), "--output") == {
        "run.name": "out",
        "locations.catalogue": f"{tmp_path}/out",
        "locations.sources": f"{tmp_path}/out_sources",
        "locations.report": f"{tmp_path}/out_report",
    }


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


def test_no_password_of_a_url_is_printed_or_logged(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Config) -> None:
        logging.getLogger("photoz").warning("no answer from %s", "https://ann:hunter2@store/a")
        raise CatalogueError("no answer from 'https://ann:hunter2@store/a?sig=hunter2'")

    call(monkeypatch, "--verbose")
    assert run_job(fail, str(script), None) == 2
    told = capsys.readouterr().err
    assert "no answer from https://***@store/a" in told
    assert "error: no answer from 'https://***@store/a?sig=***'" in told
    assert "hunter2" not in told


def run_in_shell(line: str, folder: Path) -> tuple[int, str]:
    """Run a line of bash in which ``photoz`` is this one; returns its status and what it printed."""
    root = str(Path(__file__).resolve().parents[2])
    text = f'set -o pipefail; photoz() {{ {shlex.quote(sys.executable)} -m photoz "$@"; }}; {line}'
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_a_reader_that_has_enough_ends_it_in_silence(tmp_path: Path) -> None:
    """More than a pipe holds, or it would be written before the reader goes."""
    long = ",".join(f"column_{number}" for number in range(8_000))
    status, shown = run_in_shell(f"photoz export --dry-run --set export.columns={long} | head -1", tmp_path)
    assert (status, shown) == (141, "{\n")


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_standard_streams_may_be_closed(tmp_path: Path, closed: str) -> None:
    status, shown = run_in_shell(f"photoz example x.parquet {closed}", tmp_path)
    assert (status, "Traceback" in shown) == (0, False), shown
    assert (tmp_path / "x.parquet").read_bytes().endswith(b"PAR1")
