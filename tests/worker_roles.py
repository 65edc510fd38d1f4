"""What a worker of an engine holds when it reads, estimates or writes and does nothing else: its modules and memory.

Each role runs in a process of its own, which has imported what a worker of the engine has.
"""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster.inference.plan import Plan
from photoz.catalogue.hats import Partition

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("read", "estimate", "write")
"""In their order: each takes what the one before has made."""
ENGINES = ("serial", "dask", "ray")
CODE = """
import importlib, json, pickle, sys
from pathlib import Path
folder, engine, role, before = sys.argv[1:]
importlib.import_module(f"cluster.engines.{engine}")
from cluster.inference.stages import make_stages

def find_memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

stages = make_stages(pickle.loads(Path(folder, "plan").read_bytes()))
if role == "estimate":
    stages.prepare()
ready = find_memory("VmRSS")
made = getattr(stages, role)(pickle.loads(Path(folder, before).read_bytes()))
Path(folder, role).write_bytes(pickle.dumps(made))
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "ready_mib": ready, "peak_mib": find_memory("VmHWM")}))
"""


@dataclass(frozen=True)
class Worker:
    """What a worker held.

    Parameters
    ----------
    modules : frozenset of str
        Packages that were imported in the end.
    ready_mib, peak_mib : float
        [MiB] before its first partition, and at most.
    """

    modules: frozenset[str]
    ready_mib: float
    peak_mib: float


def run_roles(plan: Plan, partition: Partition, engine: str, folder: Path) -> dict[str, Worker]:
    """Put a partition through the roles, each in a process of its own; by role.

    Parameters
    ----------
    plan : Plan
    partition : Partition
    engine : str
        Of `ENGINES`.
    folder : Path
        For what goes from one role to the next.
    """
    (folder / "plan").write_bytes(pickle.dumps(plan))
    (folder / "partition").write_bytes(pickle.dumps(partition))
    return {
        role: run_role(folder, engine, role, before) for role, before in zip(ROLES, ("partition", *ROLES), strict=False)
    }


def run_role(folder: Path, engine: str, role: str, before: str) -> Worker:
    """Run one role on what the one before has left in the folder."""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, str(folder), engine, role, before]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{role} on {engine}: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Worker(frozenset(found["modules"]), found["ready_mib"], found["peak_mib"])
