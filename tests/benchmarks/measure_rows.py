"""Estimate, audit and describe so many made rows; seconds, the driver's processor time and peak memory of each step.

python tests/benchmarks/measure_rows.py FOLDER ENGINE ROWS [ROWS ...]

Of several numbers of rows it also prints the exponent with which the seconds grow from the first to the last. The
estimator is `knn` with a few training galaxies, which costs little beside reading, writing and comparing. FOLDER keeps
the source catalogues: 130 bytes a row.
"""

import json
import math
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bright_sample import make_sources, write_sources
from measure_partitions import BANDS, measure, save_estimator
from runs import change
from tiny_survey import make_config

from cluster.audit import audit_catalogue
from cluster.engines.choose import open_engine
from cluster.inference.run import infer_catalogue
from cluster.overview import describe_catalogue
from photoz.settings.config import Config
from photoz.storage import exists, remove

MOST_IN_PIXEL = 6_000  # on average, of the partitions, as KiDS has it with 5,000 at most


def make_settings(folder: Path, engine: str, rows: int) -> Config:
    config = make_config(folder, engine={"name": engine}, sources={"margin_arcsec": 0.0})
    config = change(config, survey__bands=BANDS, survey__image_bands=(), inference__estimator="knn")
    location = f"{folder}/catalogue-{engine}-{rows}"
    return change(config, locations__sources=f"{folder}/sources-{rows}", locations__catalogue=location)


def write_survey(config: Config, rows: int) -> None:
    # 1,500 of 41,253 square degrees.
    order = max(5, math.ceil(math.log(rows / MOST_IN_PIXEL * 41_253 / 1_500 / 12, 4)))
    write_sources(config, make_sources(BANDS, rows), order=order)
    save_estimator(config)


def measure_rows(folder: Path, engine: str, rows: int) -> float:
    """Measure the steps of one number of rows; returns their seconds."""
    config = make_settings(folder, engine, rows)
    if not exists(config.locations.sources):
        # In a process of its own, whose memory is not the driver's.
        subprocess.run([sys.executable, __file__, str(folder), "make", str(rows)], check=True)
    remove(config.locations.catalogue)
    start = time.perf_counter()
    with open_engine(config.engine, config.storage_options) as joined:
        record = measure(f"{rows:,} rows estimated", partial(infer_catalogue, config, joined))
        report = measure(f"{rows:,} rows audited", partial(audit_catalogue, config, joined))
        measure(f"{rows:,} rows described", partial(describe_catalogue, config, joined))
    assert record.rows == report.rows == rows
    assert report.clean
    remove(config.locations.catalogue)
    return time.perf_counter() - start


def main() -> None:
    folder, engine, *counts = sys.argv[1:]
    numbers = [int(count) for count in counts]
    # Workers of Ray import this module's neighbours, as the driver does.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    if engine == "make":
        write_survey(make_settings(Path(folder), "serial", numbers[0]), numbers[0])
        return
    seconds = [measure_rows(Path(folder), engine, rows) for rows in numbers]
    if len(numbers) > 1:
        exponent = math.log(seconds[-1] / seconds[0]) / math.log(numbers[-1] / numbers[0])
        print(json.dumps({"rows": numbers, "s": [round(each, 1) for each in seconds], "exponent": round(exponent, 3)}))


if __name__ == "__main__":
    main()
