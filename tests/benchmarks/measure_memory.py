"""Run inference over the first so many partitions and print the peak memory of the driver and of its largest worker.

python tests/benchmarks/measure_memory.py SETTINGS.json ENGINE PARTITIONS
"""

import json
import os
import sys
import threading
from pathlib import Path

import msgspec
import psutil
from runs import change

import cluster.inference.run
from photoz.catalogue.hats import list_partitions
from photoz.settings.config import convert_config

MIB = 1 << 20


class PeakMemory:
    """Look at this process and the workers beneath it a few times a second."""

    def __init__(self) -> None:
        self.driver = 0
        self.worker = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(0.2):
            self.driver = max(self.driver, own.memory_info().rss)
            for child in own.children(recursive=True):
                try:
                    line = " ".join(child.cmdline())
                    if "ray::" in line or "spawn_main" in line:
                        self.worker = max(self.worker, child.memory_info().rss)
                except psutil.Error:  # it has just ended
                    continue


def main() -> None:
    settings, engine, count = sys.argv[1:]
    values = msgspec.json.decode(Path(settings).read_bytes())
    config = change(convert_config(values), engine__name=engine)
    # Workers of Ray import this module's neighbours, as the driver does.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    config = change(config, locations__catalogue=f"{config.locations.catalogue}-{engine}-{count}")
    wanted = list_partitions(config.locations.sources)[: int(count)]
    cluster.inference.run.list_partitions = lambda location: wanted  # type: ignore[assignment]
    with PeakMemory() as peak:
        record = cluster.inference.run.infer_catalogue(config)
    figures = {"driver_mib": peak.driver // MIB, "worker_mib": peak.worker // MIB}
    print(json.dumps(figures | {"rows": record.rows, "seconds": record.this_run.seconds}))


if __name__ == "__main__":
    main()
