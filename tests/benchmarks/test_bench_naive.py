"""From images and a catalogue to redshifts: ours against the script that an astronomer would write."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import measure_reading as reading
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from bench_table import Table
from conftest import save_untrained
from runs import change
from tiny_survey import make_config, make_wcs

from photoz.catalogue.hats import Partition, write_partition
from photoz.inference import estimate_rows, prepare_estimator, read_cutouts
from photoz.settings.config import Config
from photoz.tiles import open_tile
from photoz.tiles.settings import Tiles

OURS, PAPERS = "hybrid", "hybrid-paper"
SIDE, NAMES = 4096, 6  # [pixel] a twentieth of a KiDS tile, under six names
WHOLE = Partition(0, 4)
SCRIPT = Path(__file__).with_name("naive_script.py")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Write the same pixels as FITS images and as tiles, a network, and a catalogue at the density of KiDS-Bright."""
    folder = tmp_path_factory.mktemp("naive")
    config = change(make_config(folder), inference__threads=torch.get_num_threads(), inference__pdf=False)
    (folder / "survey").mkdir()
    reading.write_tiles(folder / "tiles", Tiles(), side=SIDE, names=NAMES)
    header = make_wcs(180.0, 0.0, (SIDE, SIDE)).to_header()
    noise = np.concatenate([reading.make_noise(SIDE, y0) for y0 in range(0, SIDE, reading.ROWS)], axis=1)
    for image, band in zip(noise, reading.BANDS, strict=True):
        fits.PrimaryHDU(image, header).writeto(folder / "survey" / f"B0_{band}.fits")
        for number in range(1, NAMES):
            (folder / "survey" / f"B{number}_{band}.fits").symlink_to(f"B0_{band}.fits")
    for name in (OURS, PAPERS):
        save_untrained(config, name)
    pq.write_table(reading.make_rows(folder / "tiles", config.survey.bands, WHOLE), folder / "rows.parquet")
    return config


def run_naive(config: Config, estimator: str) -> tuple[float, np.ndarray]:
    folder = Path(config.locations.survey).parent
    variables = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    arguments = [folder / "survey", folder / "rows.parquet", folder / "models" / estimator, config.inference.threads]
    command = [sys.executable, str(SCRIPT), *map(str, arguments), str(folder / "z.npy")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return float(done.stdout), np.load(folder / "z.npy")


def run_ours(config: Config, precision: str) -> tuple[float, np.ndarray]:
    folder = Path(config.locations.survey).parent
    config = change(config, inference__precision=precision)
    estimator = prepare_estimator(f"{config.locations.models}/{OURS}", config.inference)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        read = read_cutouts(pq.read_table(folder / "rows.parquet"), config.locations.tiles, estimator)
        found = estimate_rows(read.table, estimator, batch_size=config.inference.batch_size).table
        write_partition(str(folder / "out"), WHOLE, found)
        seconds.append(time.perf_counter() - started)
    return min(seconds), found["z_phot"].to_numpy()


def test_bench_naive(bench_table: Table, config: Config) -> None:
    """The script has the paper's network, as the authors published it; with ours it gives what photoz gives."""
    papers_s, _ = run_naive(config, PAPERS)
    naive_s, naive_N = run_naive(config, OURS)
    for precision, tolerance in (("float32", 1e-4), ("bfloat16", 3e-3)):
        ours_s, ours_N = run_ours(config, precision)
        np.testing.assert_allclose(ours_N, naive_N, atol=tolerance)
        stage = f"images and catalogue to redshifts, {precision}"
        for network, seconds, target in ((PAPERS, papers_s, 5.0), (OURS, naive_s, math.nan)):
            bench_table.add(
                stage, len(ours_N) / ours_s, "galaxies/s", reference=len(naive_N) / seconds,
                against=f"FITS, Cutout2D, eager {network}", target=target,
            )  # fmt: skip
    bench_table.note(
        f"The script's images have {SIDE} x {SIDE} pixels, a twentieth of a KiDS tile, and lie in the page "
        "cache, which favours it: it maps them into memory."
    )


def test_bench_whole_tile(bench_table: Table, config: Config) -> None:
    tiles = Path(config.locations.tiles)
    sources = reading.make_sources(tiles)
    started = time.perf_counter()
    open_tile(str(tiles), "B0").read_window(0, SIDE, 0, SIDE)
    whole = len(sources) / NAMES / (time.perf_counter() - started)
    ours = reading.measure(str(tiles), sources)["rate"]
    bench_table.add("cutouts without the rest of the tile", ours, "galaxies/s", reference=whole, against="whole tile")
