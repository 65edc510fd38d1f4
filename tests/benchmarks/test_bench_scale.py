"""KiDS-Bright's number of galaxies from magnitudes alone, source catalogue to audited catalogue; what a driver pays.

`make bench ARGS="-k scale"`. 100,000 tasks and a tile of full size have scripts of their own (measure_driver.py,
measure_tile.py), since each takes minutes.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bench_table import Table
from bright_sample import ROWS, make_magnitudes, make_sources, write_sources
from conftest import save_untrained
from from_magnitudes import make_sample
from runs import change
from tiny_survey import BANDS, make_config

from cluster.audit import audit_catalogue
from cluster.inference.run import infer_catalogue
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.settings.config import Config

SCRIPT = Path(__file__).with_name("measure_driver.py")
MINUTES = 3 * 60.0  # seconds, the target


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Write the source catalogue, some 630 partitions of 2,000 rows, and estimators whose cost is a trained one's."""
    config = make_config(tmp_path_factory.mktemp("bright"), engine={"name": "dask", "workers": 2})
    write_sources(config, make_sources(BANDS, ROWS))
    magnitudes_NF = make_magnitudes(np.random.default_rng(5), 20_000, len(BANDS))
    z_N = 0.3 + 0.05 * (magnitudes_NF[:, 0] - 19).clip(-3, 3)
    sample = make_sample(BANDS, magnitudes_NF, 0.03, z_N)
    MlpEstimator.fit(sample, epochs=1, least_steps=50).save(f"{config.locations.models}/mlp")
    save_untrained(config, "photometry")
    return config


@pytest.mark.parametrize(("estimator", "pdf"), [("mlp", True), ("mlp", False), ("photometry", True)])
def test_bench_scale_photometry(bench_table: Table, bright: Config, tmp_path: Path, estimator: str, pdf: bool) -> None:
    location = str(tmp_path / "catalogue")
    config = change(bright, inference__estimator=estimator, inference__pdf=pdf, locations__catalogue=location)
    start = time.perf_counter()
    record = infer_catalogue(config)
    made = time.perf_counter()
    report = audit_catalogue(config)
    end = time.perf_counter()
    assert report.clean
    assert record.rows == ROWS
    what = f"{ROWS:,} galaxies by {estimator}{'' if pdf else ' without p(z)'}"
    bench_table.add(f"{what}, sources to audited catalogue", end - start, "s", target=MINUTES, of="ours", sense="most")
    bench_table.note(f"Of {what}: {made - start:.0f} s until it is published, {end - made:.0f} s for the audit.")


@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_bench_scale_driver(bench_table: Table, engine: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    figures = {}
    for count in (1000, 10_000):
        command = [sys.executable, str(SCRIPT), engine, str(count)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        figures[count] = json.loads(done.stdout.splitlines()[-1])
        bench_table.add(f"driver a task, {engine}, {count:,} tasks", figures[count]["driver_cpu_ms"], "ms of CPU")
    bench_table.add(
        f"driver's peak memory, {engine}, ten times the tasks",
        figures[10_000]["driver_mib"],
        "MiB",
        reference=figures[1000]["driver_mib"],
        against="with 1,000",
        target=1.15,
        sense="most",
    )
