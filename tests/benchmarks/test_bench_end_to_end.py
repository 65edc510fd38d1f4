"""Galaxies a second from tile store to finished catalogue: `make bench ARGS="-k end_to_end"`."""

from pathlib import Path

import pytest
from conftest import save_untrained
from pytest_benchmark.fixture import BenchmarkFixture
from runs import change
from tiny_survey import make_config, write_survey

from cluster.infer import infer_catalogue
from cluster.partitioning import partition_sources
from photoz.config import Config
from photoz.ingest import ingest_tile
from photoz.survey.kids import find_tiles

TILES = ("180.0_-0.5", "180.5_-0.5", "181.0_-0.5")
SOURCES_A_TILE = 1300  # three quarters of them bright: about as many as KiDS-Bright has a tile


@pytest.fixture(scope="module")
def large_survey(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Ingest three tiles of 2000 x 2000 pixels with 1,000 bright sources each."""
    folder = tmp_path_factory.mktemp("bench")
    write_survey(folder, TILES, shape=(2000, 2000), count=SOURCES_A_TILE)
    sources = {"rows_per_partition": 1300, "highest_order": 8, "margin_arcsec": 0.0}
    tiles = {"chunk": 128, "shard": 1024}
    config = make_config(folder, sources=sources, tiles=tiles, engine={"name": "serial"}, inference={"threads": 2})
    for tile in find_tiles(config):
        ingest_tile(config, tile)
    partition_sources(config)
    for name in ("hybrid", "photometry"):
        save_untrained(config, name)
    return config


@pytest.mark.parametrize("estimator", ["hybrid", "photometry"])
def test_bench_end_to_end(benchmark: BenchmarkFixture, large_survey: Config, tmp_path: Path, estimator: str) -> None:
    runs = iter(range(100))

    def infer() -> int:
        location = str(tmp_path / f"catalogue{next(runs)}")
        config = change(large_survey, inference__estimator=estimator, locations__catalogue=location)
        return int(infer_catalogue(config)["rows"])

    rows = benchmark.pedantic(infer, rounds=3, warmup_rounds=1)
    benchmark.extra_info["galaxies_per_second"] = rows / benchmark.stats.stats.min
    print(f"\n{estimator}: {rows:,} galaxies, best {rows / benchmark.stats.stats.min:,.0f}/s from tiles to catalogue")
