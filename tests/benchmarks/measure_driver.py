"""Run so many empty tasks through an engine and print what the driver paid for each, and its peak memory.

python tests/benchmarks/measure_driver.py ENGINE TASKS

The tasks do nothing, so that what is measured is the engine and what this project adds to it: handing partitions out,
gathering their results, counting them. On Dask the driver's process holds the scheduler, too.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from measure_memory import MIB, PeakMemory
from tiny_survey import make_config

from cluster.engines.choose import open_engine
from cluster.engines.tasks import run_tasks
from photoz.catalogue.hats import Partition

ORDER = 10


def do_nothing(task: Partition) -> dict[str, Any]:
    return {"pixel": task.pixel}


def main() -> None:
    engine, count = sys.argv[1], int(sys.argv[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    config = make_config(Path("/nowhere"), engine={"name": engine})
    tasks = [Partition(ORDER, pixel) for pixel in range(count)]
    with open_engine(config.engine, config.storage_options) as joined:
        for _ in run_tasks(do_nothing, tasks[:50], joined, label="tasks to warm up"):
            pass
        own = psutil.Process()
        before, memory = own.cpu_times(), own.memory_info().rss
        with PeakMemory() as peak:
            start = time.perf_counter()
            done = sum(result["pixel"] for result in run_tasks(do_nothing, tasks, joined, label="tasks"))
            seconds = time.perf_counter() - start
        after = own.cpu_times()
    assert done == count * (count - 1) // 2
    cpu = after.user + after.system - before.user - before.system
    figures = {"engine": engine, "tasks": count, "seconds": round(seconds, 2), "ms": round(1e3 * seconds / count, 3)}
    figures |= {"driver_cpu_ms": round(1e3 * cpu / count, 3), "driver_mib": peak.driver // MIB}
    print(json.dumps(figures | {"driver_before_mib": memory // MIB, "worker_mib": peak.worker // MIB}))


if __name__ == "__main__":
    main()
