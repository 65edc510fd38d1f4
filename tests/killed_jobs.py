"""Jobs in processes of their own, as a user starts them, and killed at a chosen moment."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runs import write_toml

from cluster.local import Head
from photoz.settings.config import Config

JOBS = Path(__file__).parents[1] / "jobs"


def start_job(
    script: str, config: Config, folder: Path, engine: str, *, head: Head | None = None
) -> subprocess.Popen[bytes]:
    """Start a job; its settings and the log of all jobs so far lie in the folder."""
    settings = folder / "run.toml"
    write_toml(config, settings)
    command = [sys.executable, str(JOBS / script), "--config", str(settings), "--set", f"engine.name={engine}"]
    environment = head.environment if head else None
    with (folder / "run.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def kill_when(job: subprocess.Popen[bytes], ready: Callable[[], bool], pause: float) -> bool:
    """Kill the job a moment after it is ready for that; tell whether it was still alive."""
    while job.poll() is None and not ready():
        time.sleep(0.01)
    time.sleep(pause)
    alive = job.poll() is None
    job.kill()
    job.wait()
    return alive
