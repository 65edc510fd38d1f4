#!/usr/bin/env python
"""Measure what rounding the tiles' pixels (`tiles.quantize`) does to z_phot and to a tile's size, beside bfloat16.

    python tests/benchmarks/measure_quantize.py --config tests/benchmarks/pdf_survey.toml --estimator hybrid [--tiles N]

Rounds some tiles of the store as ingest does, cuts the cutouts of their test galaxies out again and estimates them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numcodecs.zstd import Zstd

from photoz.cutouts import extract_cutouts
from photoz.estimators import Estimator, Inputs, load_estimator
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.paper import PaperEstimator
from photoz.inputs import make_inputs
from photoz.metrics import compute_dz, compute_smad
from photoz.settings.config import Config, load_config
from photoz.storage import join
from photoz.tiles import Tile, open_tile
from photoz.tiles.writer import ZSTD_LEVEL, quantize
from photoz.training.set import list_columns, read_split

FRACTIONS = (0.1, 0.25, 0.5, 1.0)  # of the noise
STRIPE = 1024  # [pixel] rows that ingest rounds together, with the default layout


@dataclass(frozen=True)
class Pixels:
    """An open tile whose windows are cut from an array in memory."""

    tile: Tile
    image_BYX: np.ndarray

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tile, name)

    def read_windows(self, y0_N: np.ndarray, x0_N: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        pad = [(0, 0), (size, size), (size, size)]
        padded_BYX = np.pad(self.image_BYX, pad, constant_values=np.nan)
        corners = zip((y0_N + size).tolist(), (x0_N + size).tolist(), strict=True)
        windows = [padded_BYX[:, y : y + size, x : x + size] for y, x in corners]
        return np.stack(windows), np.zeros(len(windows), bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tests/benchmarks/pdf_survey.toml")
    parser.add_argument("--estimator", default="hybrid")
    parser.add_argument("--tiles", type=int, default=4)
    options = parser.parse_args()
    config = load_config(options.config, [])
    estimator = load_estimator(join(config.locations.models, options.estimator))
    assert isinstance(estimator, HybridEstimator | PaperEstimator)
    table = read_tests(config, estimator, options.tiles)
    z_spec_N, inputs = table["z_spec"].to_numpy(), make_inputs(table, estimator.bands)
    pixels = {name: read_pixels(config, name) for name in pc.unique(table["tile"]).to_pylist()}
    exact_N = estimator.estimate(inputs).z_phot_N
    smad = measure(exact_N, z_spec_N)
    print(f"{estimator.name}, {len(table):,} test galaxies of {len(pixels)} tiles, SMAD {smad:.5f}\n")
    print("| pixels, network | max change of z_phot | 99 % | SMAD | stored/raw, zstd |\n|---|---|---|---|---|")
    show("float32, packed", estimator.prepare("float32").estimate(inputs).z_phot_N, exact_N, z_spec_N)
    show("float32, packed bf16", estimator.prepare("bfloat16").estimate(inputs).z_phot_N, exact_N, z_spec_N)
    for fraction in FRACTIONS:
        rounded = {name: round_image(each.image_BYX, fraction) for name, each in pixels.items()}
        found = {name: replace(each, image_BYX=rounded[name]) for name, each in pixels.items()}
        z_N = estimator.estimate(cut_again(table, inputs, found, estimator)).z_phot_N
        show(f"rounded to {fraction:g} of the noise", z_N, exact_N, z_spec_N, measure_size(list(rounded.values())))
    show("not rounded", exact_N, exact_N, z_spec_N, measure_size([each.image_BYX for each in pixels.values()]))


def read_tests(config: Config, estimator: Estimator, tiles: int) -> pa.Table:
    columns = [*list_columns(estimator.bands, images=True), "tile", "ra", "dec"]
    table = pa.concat_tables(read_split(config.locations.training, "test", columns)).combine_chunks()
    chosen = sorted(pc.unique(table["tile"]).to_pylist())[:tiles]
    return table.filter(pc.is_in(table["tile"], pa.array(chosen)))


def read_pixels(config: Config, name: str) -> Pixels:
    tile = open_tile(config.locations.tiles, name)
    return Pixels(tile, tile.read_window(0, tile.shape[0], 0, tile.shape[1]))


def round_image(image_BYX: np.ndarray, fraction: float) -> np.ndarray:
    stripes = range(0, image_BYX.shape[1], STRIPE)
    return np.concatenate([quantize(image_BYX[:, y : y + STRIPE], fraction) for y in stripes], axis=1)


def cut_again(table: pa.Table, inputs: Inputs, pixels: dict[str, Pixels], estimator: Estimator) -> Inputs:
    cutouts_NBYX = np.array(inputs.cutouts_NBYX)
    tile_N = np.array(table["tile"].to_pylist())
    for name, tile in pixels.items():
        rows = np.flatnonzero(tile_N == name)
        ra_N, dec_N = (table[column].to_numpy()[rows] for column in ("ra", "dec"))
        cut = extract_cutouts(tile, ra_N, dec_N, estimator.cutout_size, bands=estimator.image_bands)  # type: ignore[arg-type]
        cutouts_NBYX[rows] = cut[0]
    return replace(inputs, cutouts_NBYX=cutouts_NBYX)


def measure_size(images: Sequence[np.ndarray]) -> float:
    """Compress each 64 x 64 chunk; of the raw size."""
    raw = stored = 0
    for image_BYX in images:
        for y in range(0, image_BYX.shape[1] - 63, 640):  # a tenth of the rows of chunks
            for x in range(0, image_BYX.shape[2] - 63, 64):
                chunk = np.ascontiguousarray(image_BYX[:, y : y + 64, x : x + 64])
                raw, stored = raw + chunk.nbytes, stored + len(Zstd(level=ZSTD_LEVEL).encode(chunk))
    return stored / raw


def measure(z_N: np.ndarray, z_spec_N: np.ndarray) -> float:
    good = np.isfinite(z_N)
    return float(compute_smad(compute_dz(z_N[good], z_spec_N[good])))


def show(label: str, z_N: np.ndarray, exact_N: np.ndarray, z_spec_N: np.ndarray, size: float | None = None) -> None:
    change_N = np.abs(z_N - exact_N)
    figures = [f"{np.nanmax(change_N):.1e}", f"{np.nanquantile(change_N, 0.99):.1e}", f"{measure(z_N, z_spec_N):.5f}"]
    print(f"| {label} | {' | '.join(figures)} | {'' if size is None else f'{size:.2f}'} |", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
