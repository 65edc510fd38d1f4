"""Plan, do half, resume, publish, do again, audit and describe a catalogue of so many partitions of a few rows each.

python tests/benchmarks/measure_partitions.py FOLDER ENGINE PARTITIONS [MARGIN_ARCSEC]

Prints seconds, the driver's processor time and its peak memory for each step: what grows with partitions, and not with
rows. The estimator is `knn` with a few training galaxies, which costs next to nothing. FOLDER keeps the source
catalogue, which other engines then take.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from astropy import units
from astropy_healpix import HEALPix
from bright_sample import make_magnitudes, make_sources, write_sources
from from_magnitudes import make_sample
from measure_memory import MIB, PeakMemory
from runs import change
from tiny_survey import make_config

from cluster.audit import audit_catalogue
from cluster.engines.choose import open_engine
from cluster.inference.plan import find_remaining, plan_run
from cluster.inference.publish import explain_unpublished, publish, sum_up_records, write_run_record
from cluster.inference.run import Inference, estimate_all
from cluster.overview import describe_catalogue
from cluster.telemetry import RunTelemetry
from photoz.estimators.photometric.knn import KnnEstimator
from photoz.schema import HEALPIX_ORDER
from photoz.settings.config import Config
from photoz.sources import list_source_partitions
from photoz.storage import exists, remove

BANDS = ("u", "g", "r", "i", "z")
ROWS = 3  # of a partition
ORDER = 10  # [HEALPix] 3.4 arcmin: 100,000 of its pixels are a thirtieth of a sky of 12.6 million


def write_survey(config: Config, count: int) -> None:
    """Write a source catalogue of that many partitions side by side, and an estimator."""
    rng = np.random.default_rng(5)
    step = 1 << 2 * (HEALPIX_ORDER - ORDER)
    pixel_N = np.repeat(np.arange(count), ROWS)
    healpix_N = np.sort(pixel_N * step + rng.integers(step, size=len(pixel_N)))
    places = HEALPix(nside=2**HEALPIX_ORDER, order="nested").healpix_to_lonlat(healpix_N)
    ra_N, dec_N = (place.to_value(units.deg) for place in places)
    rows = make_sources(BANDS, len(healpix_N))
    for name, values in (("_healpix_29", healpix_N), ("ra", ra_N), ("dec", dec_N)):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), [values])
    write_sources(config, rows, order=ORDER)
    save_estimator(config)


def save_estimator(config: Config) -> None:
    """Save the cheapest estimator that there is."""
    magnitudes_NF = make_magnitudes(np.random.default_rng(5), 2000, len(BANDS))
    z_N = 0.3 + 0.05 * (magnitudes_NF[:, 0] - 19).clip(-3, 3)
    KnnEstimator.fit(make_sample(BANDS, magnitudes_NF, 0.03, z_N)).save(f"{config.locations.models}/knn")


def measure(step: str, work: Callable[[], Any]) -> Any:
    """Do a step, print what it took, and return what it returned."""
    own = psutil.Process()
    before, start = own.cpu_times(), time.perf_counter()
    with PeakMemory() as peak:
        found = work()
    after, seconds = own.cpu_times(), time.perf_counter() - start
    cpu = after.user + after.system - before.user - before.system
    figures = {"step": step, "s": round(seconds, 2), "driver_cpu_s": round(cpu, 2)}
    print(json.dumps(figures | {"driver_mib": peak.driver // MIB, "worker_mib": peak.worker // MIB}), flush=True)
    return found


def main() -> None:
    folder, engine, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    margin = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    # Workers of Ray import this module's neighbours, as the driver does.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    config = make_config(folder, engine={"name": engine}, sources={"margin_arcsec": margin}, run={"name": "tiny"})
    location = f"{folder}/catalogue-{engine}"
    config = change(config, survey__bands=BANDS, survey__image_bands=(), inference__estimator="knn")
    config = change(config, locations__catalogue=location)
    if not exists(config.locations.sources):
        measure("sources written", lambda: write_survey(config, count))
    remove(config.locations.catalogue)
    plan = measure("planned", lambda: plan_run(config))
    partitions = measure("partitions listed", lambda: list_source_partitions(config.locations.sources))
    assert len(partitions) == count
    with open_engine(config.engine, config.storage_options) as joined:
        run = Inference(plan, partitions, joined, RunTelemetry())
        half = partitions[: count // 2]
        measure("first half estimated", lambda: estimate_all(run, half))
        remaining = measure("half found done", lambda: find_remaining(plan, partitions, joined))
        assert len(remaining) == count - len(half)
        measure("second half estimated", lambda: estimate_all(run, remaining))
        sum_up = partial(sum_up_records, config.locations.catalogue, partitions)
        done = measure("records summed up", sum_up)
        measure("published", lambda: publish(plan, done, joined))
        measure("run recorded", lambda: write_run_record(plan, done, run.telemetry))
        assert not measure("all found done", lambda: find_remaining(plan, partitions, joined))
        assert not measure("found published", lambda: explain_unpublished(plan, done, joined))
        report = measure("audited", lambda: audit_catalogue(config, joined))
        assert report.clean
        assert measure("described", lambda: describe_catalogue(config, joined)).sums.rows == ROWS * count


if __name__ == "__main__":
    main()
