"""The demo as a process: what it leaves when it is told to end."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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
