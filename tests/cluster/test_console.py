"""What a job shows: our own lines, progress on one that renews itself in a terminal, and all else in a log."""

import io
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs import make_survey, name_tiles, write_toml

from cluster.console import Console, Sieve, keep_quiet
from photoz import telemetry
from photoz.storage import open_file
from photoz.telemetry import RENEWED, Pace

JOB = Path(__file__).parents[2] / "jobs" / "infer_dr4.py"
ERASE = "\r\x1b[2K"


class Terminal(io.StringIO):
    """Text that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def kept_process() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.setLevel(1)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def show(stream: io.StringIO, run: str = "", *, verbose: bool = False) -> Console:
    console = Console(run, verbose=verbose)
    console.setStream(stream)
    logging.getLogger().handlers[:] = [console]
    return console


def tell(text: str, progress: str = "", level: int = logging.INFO, name: str = "photoz.some") -> None:
    logging.getLogger(name).log(level, text, extra={"progress": progress})


def read_terminal(written: str, width: int = 200) -> list[str]:
    """Return the lines that stand in a terminal in the end, without their times."""
    lines = [""]
    for piece in written.replace(ERASE, "\0").replace("\n", "\1\n").split("\1"):
        text = piece.removeprefix("\n")
        lines = [*lines, ""] if piece.startswith("\n") else lines
        lines[-1] = (lines[-1] + text).rpartition("\0")[2]
    assert all(len(line) < width for line in lines)
    return [line.partition(" ")[2] for line in lines if line]


def test_in_a_terminal_progress_renews_its_line_and_other_lines_take_its_place() -> None:
    terminal = Terminal()
    show(terminal)
    tell("begins")
    tell("1 of 3", "going", RENEWED)
    tell("2 of 3", "going")
    tell("a warning", level=logging.WARNING)
    tell("2.5 of 3", "going", RENEWED)
    tell("3 of 3", "last")
    tell("ends")
    assert read_terminal(terminal.getvalue()) == [
        f"photoz.some: {text}" for text in ("begins", "a warning", "3 of 3", "ends")
    ]


def test_a_long_line_of_progress_does_not_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    show(terminal)
    tell("x" * 100, "going")
    assert len(terminal.getvalue()) == 39


def test_elsewhere_there_are_lines_and_no_renewals() -> None:
    file = io.StringIO()
    show(file, "50% done")
    tell("1 of 3", "going", RENEWED)
    tell("2 of 3", "going")
    tell("3 of 3", "last")
    lines = file.getvalue().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [f"50% done photoz.some: {text} of 3" for text in "23"]


def test_what_others_say_is_shown_when_it_is_asked_for() -> None:
    for verbose in (False, True):
        file = io.StringIO()
        show(file, verbose=verbose)
        tell("no answer", level=logging.ERROR, name="some.library")
        assert ("no answer" in file.getvalue()) is verbose


def test_a_line_at_info_every_ten_seconds_and_renewals_between(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(monotonic=lambda: now[0]))
    caplog.set_level(RENEWED)
    pace = Pace(logging.getLogger("photoz.pace"))
    for tenth in range(1, 251):
        now[0] = tenth / 10
        pace.tell(lambda: f"{now[0]:.1f}", last=tenth == 250)
    records = [record for record in caplog.records if record.name == "photoz.pace"]
    assert [r.getMessage() for r in records if r.levelno == logging.INFO] == ["10.0", "20.0", "25.0"]
    assert len(records) == 50
    assert [r.progress for r in records[-2:]] == ["going", "last"]  # type: ignore[attr-defined]


def test_rays_threads_are_sorted_and_ours_among_their_lines_are_shown() -> None:
    shown, aside, logged = io.StringIO(), io.StringIO(), io.StringIO()
    show(logged)
    sieve = Sieve(shown.write, aside.write, io.StringIO())
    print("result", file=sieve)

    def print_as_ray() -> None:
        prefix = "\x1b[36m(TrainWorker pid=12, ip=10.0.0.1)\x1b[0m"
        print(f"{prefix} 12:00:01 WARNING photoz.training.epoch: epoch 3 of 15", file=sieve)
        print(f"{prefix} [Gloo] Rank 0 is connected", file=sieve)
        print("unfinished", end="", file=sieve)

    thread = threading.Thread(target=print_as_ray)
    thread.start()
    thread.join()
    assert shown.getvalue() == "result\n"
    assert logged.getvalue().endswith(" photoz.training.epoch: epoch 3 of 15\n")
    assert aside.getvalue() == "\x1b[36m(TrainWorker pid=12, ip=10.0.0.1)\x1b[0m [Gloo] Rank 0 is connected\n"


NOISY = """
import logging, os, subprocess, sys, warnings
from cluster.console import keep_quiet
from cluster.job import start_log
console = start_log("run")
with keep_quiet(console, sys.argv[1]):
    logging.getLogger("photoz.x").info("at work")
    logging.getLogger("some.library").warning("Event loop was unresponsive")
    warnings.warn("deprecated", stacklevel=1)
    os.write(2, b"core_worker.cc E\\n")
    subprocess.run(["sh", "-c", "echo child >&2"], check=True)
    print("a bar", file=sys.stderr)
    print("result")
print("afterwards", file=sys.stderr)
raise SystemExit("error: told" if len(sys.argv) > 2 else 0)
"""


def test_a_noisy_process_shows_its_own_lines_alone(tmp_path: Path) -> None:
    log = tmp_path / "made" / "out.log"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", NOISY, log], capture_output=True, text=True, check=True)
        assert done.stdout == "result\n"
        first, last = done.stderr.splitlines()
        assert first.endswith(" run photoz.x: at work")
        assert last == "afterwards"
    text = log.read_text()
    told = ("INFO photoz.x: at work", "some.library: Event loop", "deprecated", "core_worker.cc E", "child", "a bar")
    # A second run adds to it.
    assert [text.count(each) for each in told] == [2] * len(told)


def test_an_error_is_shown_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = sys.stderr
    console = show(io.StringIO())

    def fail() -> None:
        with keep_quiet(console, str(tmp_path / "out.log")):
            warnings.warn("deprecated", stacklevel=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sys.stderr is stream
    print("told", file=sys.stderr)
    assert capsys.readouterr().err == "told\n"
    assert "deprecated" in (tmp_path / "out.log").read_text()


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with keep_quiet(show(io.StringIO()), str(tmp_path / "file" / "out.log")):
        os.write(2, b"")
        print("result")
    assert capsys.readouterr().out == "result\n"


def test_the_log_of_a_url_is_sent_there() -> None:
    with keep_quiet(show(io.StringIO()), "memory://console/out.log"):
        logging.getLogger("some.library").info("hello")
    assert b"some.library: hello" in open_file("memory://console/out.log").read()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_inference_shows_no_line_of_its_engine(tmp_path: Path, engine: str) -> None:
    survey = make_survey(tmp_path, name_tiles(3), engine={"name": engine, "workers": 1})
    write_toml(survey.config, tmp_path / "run.toml")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, str(JOB), "--config", str(tmp_path / "run.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    ours = re.compile(r"[\d:]{8} \w+ (photoz|cluster)\.")
    assert [line for line in done.stderr.splitlines() if not ours.match(line)] == []
    assert re.search(r"cluster.telemetry: 3/3 partitions, 27 galaxies, [\d,]+/s, .* left$", done.stderr, re.MULTILINE)
    assert len(done.stderr.splitlines()) < 20
    log = (tmp_path / "catalogue.log").read_text()
    assert "3/3 partitions" in log
    assert len(log.splitlines()) > len(done.stderr.splitlines())
