"""From tile store to finished partitions on every engine, against the network alone: `make bench ARGS="-k end_to_end"`.

Steady state: the time from the first finished partition to the last, without the start of workers and networks.
"""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from bench_table import Table
from bright_sample import make_sources
from conftest import save_untrained
from measure_reading import make_rows, write_tiles
from runs import change
from tiny_survey import make_config

from cluster.engines.base import Success
from cluster.engines.choose import open_engine
from cluster.inference.run import estimate_partitions, plan_run
from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, list_partitions, read_partition, write_partition
from photoz.inference import prepare_estimator, read_cutouts
from photoz.inputs import make_inputs
from photoz.schema import HEALPIX_COLUMN, HEALPIX_ORDER
from photoz.settings.config import Config
from photoz.tiles.settings import Tiles

SIDE = 6144  # [pixel] of the tile with images, under many names: a ninth of a KiDS tile
NAMES, PARTITIONS = 96, 16  # some 800 galaxies a partition


FIRST = Partition(4, 16)
SETTINGS = {"sources": {"margin_arcsec": 0.0}, "engine": {"name": "serial"}}


@pytest.fixture(scope="module")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Config]:
    """Make a source catalogue for each estimator, for the combined network with tiles."""
    images, photometry = (make_config(tmp_path_factory.mktemp(name), **SETTINGS) for name in ("images", "photometry"))
    write_tiles(Path(images.locations.tiles), Tiles(), side=SIDE, names=NAMES)
    write_partitions(images, make_rows(Path(images.locations.tiles), images.survey.bands, FIRST))
    rows = make_sources(photometry.survey.bands, PARTITIONS * 5000)  # 5,000 is the default
    write_partitions(photometry, rows)
    return {"hybrid": save(images, "hybrid"), "photometry": save(photometry, "photometry")}


def write_partitions(config: Config, rows: pa.Table) -> None:
    """Write rows as partitions of equal size, wherever on the sky they are."""
    size, parts = len(rows) // PARTITIONS, []
    for number in range(PARTITIONS):
        part = Partition(FIRST.order, FIRST.pixel + number)
        parts.append((part, size))
        own = rows.slice(number * size, size)
        first = part.pixel << 2 * (HEALPIX_ORDER - part.order)
        own = own.set_column(0, own.schema.field(HEALPIX_COLUMN), pa.array(first + np.arange(size)))
        write_partition(f"{config.locations.sources}/{PRIMARY}", part, own)
    finish_catalogue(config.locations.sources, parts, info={})


def save(config: Config, name: str) -> Config:
    save_untrained(config, name)
    return change(config, inference__estimator=name)


def measure_forward(config: Config) -> float:
    """Estimate rows in memory, with all of the machine's cores; galaxies/s."""
    config = change(config, inference__threads=torch.get_num_threads())
    estimator = prepare_estimator(f"{config.locations.models}/{config.inference.estimator}", config.inference)
    parts = [read_partition(config.locations.sources, part) for part in list_parts(config)]
    read = [read_cutouts(rows, config.locations.tiles, estimator).table for rows in parts]
    inputs = [make_inputs(rows, estimator.bands) for rows in read]
    best = 0.0
    for _ in range(2):
        started = time.perf_counter()
        for each in inputs:
            estimator.estimate(each, batch_size=config.inference.batch_size)
        best = max(best, sum(map(len, inputs)) / (time.perf_counter() - started))
    return best


def measure_end_to_end(config: Config, location: str) -> float:
    """Galaxies/s between the first finished partition and the last, by the times of their records."""
    config = change(config, locations__catalogue=location)
    with open_engine(config.engine, config.storage_options) as joined:
        outcomes = list(estimate_partitions(plan_run(config), list_parts(config), joined))
    rows = {done.result.partition.name: done.result.rows for done in outcomes if isinstance(done, Success)}
    times = sorted(file.stat().st_mtime for file in Path(location).glob("run/records/*.json"))
    assert len(times) == len(rows) == PARTITIONS
    return sum(rows.values()) * (1 - 1 / PARTITIONS) / (times[-1] - times[0])


def list_parts(config: Config) -> list[Partition]:
    return list_partitions(config.locations.sources)


@pytest.mark.parametrize(("estimator", "target"), [("hybrid", 0.85), ("photometry", 0.5)])
@pytest.mark.parametrize("engine", ["serial", "ray", "dask"])
def test_bench_end_to_end(
    bench_table: Table, surveys: dict[str, Config], tmp_path: Path, request: pytest.FixtureRequest,
    engine: str, estimator: str, target: float,
) -> None:  # fmt: skip
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    cores = torch.get_num_threads()
    config = change(
        surveys[estimator], engine__name=engine, engine__workers=cores, engine__estimators=cores,
        engine__cpus_per_estimator=1.0, inference__threads=cores if engine == "serial" else 1,
    )  # fmt: skip
    before = measure_forward(config)
    rates = [measure_end_to_end(config, str(tmp_path / f"catalogue{number}")) for number in range(2)]
    forward = max(before, measure_forward(config))
    bench_table.add(
        f"tiles to catalogue with {estimator}, {engine}", max(rates), "galaxies/s",
        reference=forward, against="arrays to estimates", target=target,
    )  # fmt: skip
