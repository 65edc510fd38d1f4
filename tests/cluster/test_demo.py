"""The demo's steps side by side, and the demo as a process: what it leaves when it is told to end."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster.commands import demo
from cluster.commands.demo import Step, run_together

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_demo_that_is_told_to_end_leaves_no_process(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "jobs" / "demo.py"), "--set", f"locations.survey={tmp_path}/survey"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as demo:
        assert demo.stderr is not None
        try:
            # The first step begins when the cluster is there.
            assert any("simulate_survey.py" in line for line in demo.stderr)
            started = psutil.Process(demo.pid).children(recursive=True)
            assert len(started) > 2
            demo.send_signal(signal.SIGTERM)
            assert demo.wait(timeout=60) == 128 + signal.SIGTERM
            assert psutil.wait_procs(started, timeout=30)[1] == []
        finally:
            demo.kill()


@pytest.mark.parametrize("status", [0, 3])
def test_of_steps_side_by_side_one_that_fails_ends_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    codes = {
        "train": f"import sys, time; time.sleep(0.5); sys.exit({status})",
        "infer": "import pathlib, time; time.sleep(1.5); pathlib.Path('done').touch()",
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "find_program", lambda line, _: [sys.executable, "-c", codes[line[1]]])
    options = argparse.Namespace(script=None, config=None, set=[])
    start = time.monotonic()
    told = run_together([Step("train"), Step("infer")], options, os.environ)
    assert told == ("photoz train ended with status 3" if status else "")
    assert Path("done").exists() == (status == 0)
    assert (time.monotonic() - start < 1.5) == (status != 0)
