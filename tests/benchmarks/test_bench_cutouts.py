"""Cutouts a second from the tile store, and megabytes a second into it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_survey import make_wcs

from photoz import config
from photoz.cutouts import cut_windows, extract_cutouts
from photoz.tiles import Tile, TileTemplate, TileWriter, open_tile

SIDE = 4096
BANDS = ("u", "g", "r", "i")


def write_noise(location: str) -> None:
    writer = TileWriter(location, TileTemplate("B", BANDS, (SIDE, SIDE)), config.Tiles())
    stripe = np.random.default_rng(0).normal(0, 1e-11, (4, writer.stripe, SIDE)).astype(np.float32)
    mask = np.zeros((writer.stripe, SIDE), np.uint8)
    for y0 in range(0, SIDE, writer.stripe):
        writer.write_rows(y0, {"image": stripe, "mask": mask})
    writer.finish({"wcs": make_wcs(180.0, 0.0, (SIDE, SIDE)).to_header().tostring(sep="\n"), "checksum": "x"})


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Tile:
    location = str(tmp_path_factory.mktemp("bench"))
    write_noise(location)
    return open_tile(location, "B")


@pytest.mark.benchmark(group="cutouts")
@pytest.mark.parametrize("count", [60, 200, 1500])
def test_extract(benchmark: Any, tile: Tile, count: int) -> None:
    """60 on 4096 x 4096 pixels is the density of KiDS-Bright (about 1,200 a tile); 1500 that of the demo."""
    x, y = np.random.default_rng(count).uniform(0, SIDE, (2, count))
    ra, dec = tile.wcs.all_pix2world(x, y, 0)
    cutouts, _ = benchmark.pedantic(extract_cutouts, (tile, ra, dec, 36), {"bands": BANDS}, rounds=3, warmup_rounds=1)
    assert len(cutouts) == count
    benchmark.extra_info["cutouts_per_second"] = count / benchmark.stats["min"]


@pytest.mark.benchmark(group="cutouts")
def test_cut_in_memory(benchmark: Any) -> None:
    image = np.zeros((4, 1060, 1060), np.float32)
    y0, x0 = np.random.default_rng(0).integers(0, 1024, (2, 500))
    benchmark(cut_windows, image, y0, x0, 36)
    benchmark.extra_info["cutouts_per_second"] = 500 / benchmark.stats["min"]


@pytest.mark.benchmark(group="ingest")
def test_write_tile(benchmark: Any, tmp_path: Path) -> None:
    benchmark.pedantic(write_noise, (str(tmp_path),), rounds=2)
    benchmark.extra_info["megabytes_per_second"] = 4 * 4 * SIDE**2 / 1e6 / benchmark.stats["min"]
