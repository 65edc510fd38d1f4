"""From tile store to finished partitions on every engine, against the network alone: `make bench ARGS="-k end_to_end"`.

Steady state: the time from the first finished partition to the last, without the start of workers and networks.
"""

import time
from pathlib import Path

import pytest
import torch
from bench_table import Table
from conftest import save_untrained
from runs import change
from tiny_survey import make_config, write_survey

from cluster.engines import join_cluster
from cluster.infer import estimate_partitions, plan_run
from cluster.partitioning import partition_sources
from photoz.catalogue import list_partitions, read_partition
from photoz.config import Config
from photoz.inference import prepare_estimator, read_cutouts
from photoz.ingest import ingest_tile
from photoz.inputs import make_inputs
from photoz.survey.kids import find_tiles

TILES = tuple(f"{180 + 0.5 * number}_-0.5" for number in range(8))  # a partition or two each
SIDE = {"hybrid": 1500, "photometry": 200}  # [pixel]
ROWS = {"hybrid": 200, "photometry": 5_000}  # of a partition, at most; 5,000 is the default
SOURCES_A_TILE = {"hybrid": 200, "photometry": 6_000}  # three quarters of them bright


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """Ingest small tiles for each estimator, for photometry alone with partitions of nearly the default size."""
    return {name: make_large(tmp_path_factory.mktemp(name), name) for name in SIDE}


def make_large(folder: Path, name: str) -> Config:
    write_survey(folder, TILES, shape=(SIDE[name], SIDE[name]), count=SOURCES_A_TILE[name])
    sources = {"rows_per_partition": ROWS[name], "highest_order": 8, "margin_arcsec": 0.0}
    tiles = {"chunk": 64, "shard": 1024}
    config = make_config(folder, sources=sources, tiles=tiles, engine={"name": "serial"}, inference={"estimator": name})
    for tile in find_tiles(config):
        ingest_tile(config, tile)
    partition_sources(config)
    save_untrained(config, name)
    return config


def measure_forward(config: Config) -> float:
    """Estimate rows in memory, with all of the machine's cores; galaxies/s."""
    config = change(config, inference__threads=torch.get_num_threads())
    estimator = prepare_estimator(f"{config.locations.models}/{config.inference.estimator}", config)
    parts = [read_partition(config.locations.sources, part) for part in list_partitions(config.locations.sources)]
    inputs = [make_inputs(read_cutouts(rows, config, estimator), estimator.bands) for rows in parts]
    best = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for each in inputs:
            estimator.estimate(each, batch_size=config.inference.batch_size)
        best = max(best, sum(map(len, inputs)) / (time.perf_counter() - started))
    return best


def measure_end_to_end(config: Config, location: str) -> float:
    """Galaxies/s between the first finished partition and the last."""
    config = change(config, locations__catalogue=location)
    with join_cluster(config):
        times, rows = [], []
        for record in estimate_partitions(plan_run(config), list_partitions(config.locations.sources)):
            times.append(time.perf_counter())
            rows.append(record.rows)
    return sum(rows[1:]) / (times[-1] - times[0])


@pytest.mark.parametrize(("estimator", "target"), [("hybrid", 0.9), ("photometry", 0.5)])
@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_bench_end_to_end(
    bench_table: Table, surveys: dict[str, Config], tmp_path: Path, request: pytest.FixtureRequest,
    engine: str, estimator: str, target: float,
) -> None:  # fmt: skip
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    threads = 1 if engine == "dask" else torch.get_num_threads()  # Dask has a process a core
    config = change(
        surveys[estimator], engine__name=engine, inference__threads=threads,
        engine__workers=torch.get_num_threads(),
    )  # fmt: skip
    before = measure_forward(config)
    rates = [measure_end_to_end(config, str(tmp_path / f"catalogue{number}")) for number in range(2)]
    forward = max(before, measure_forward(config))
    bench_table.add(
        f"tiles to catalogue with {estimator}, {engine}", max(rates), "galaxies/s",
        reference=forward, against="arrays to estimates", target=target,
    )  # fmt: skip
