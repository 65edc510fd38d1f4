#!/usr/bin/env python
r"""Measure how fast cutouts are read from tiles of several layouts, by several readers, from disk and from a store.

    python tests/benchmarks/measure_reading.py FOLDER layouts|readers

``FOLDER`` gets tiles of noise of a quarter of KiDS's pixels, 1.4 GB each; prints a table.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import zarr
from bright_sample import make_magnitudes
from from_magnitudes import make_columns
from range_server import serve_ranges
from tiny_survey import make_wcs

from photoz.catalogue.hats import Partition
from photoz.inputs import attach_cutouts
from photoz.schema import HEALPIX_ORDER, make_source_schema
from photoz.storage import StorageOptions, use_options
from photoz.telemetry import gather
from photoz.tiles import TileTemplate, TileWriter, open_tile
from photoz.tiles import fetch as fetching
from photoz.tiles.chunks import ChunkedArray
from photoz.tiles.settings import Tiles

SIDE = 9216  # [pixel] a quarter of the area of a KiDS tile
DENSITY = 1200 / 18_500**2  # of KiDS-Bright
BANDS = ("u", "g", "r", "i")
NINE = (*BANDS, "Z", "Y", "J", "H", "Ks")
SIZE = 36
LEAST_KB = SIZE**2 * 4 * 4 / 1e3
LATENCY_S = 0.03
ROWS = 1024

LAYOUTS = {
    "chunk 64": {},
    "chunk 128": {"chunk": 128},
    "chunk 32": {"chunk": 32},
    "shard 2048": {"shard": 2048},
    "zstd": {"codec": "zstd"},
    "chunk 128, zstd": {"chunk": 128, "codec": "zstd"},
    "quantize 0.25, zstd": {"codec": "zstd", "quantize": 0.25},
    "chunk 128, quantize 0.25, zstd": {"chunk": 128, "codec": "zstd", "quantize": 0.25},
}


def make_noise(side: int, y0: int, rows: int = ROWS, *, bands: int = len(BANDS)) -> np.ndarray:
    """Make a stripe of noise, another one for each ``y0``."""
    noise = np.random.default_rng(0).normal(0, 1e-11, (bands, rows, side)).astype(np.float32)
    return np.roll(noise, 7 * y0 + 13, axis=2)


def make_mask(side: int) -> np.ndarray:
    """Make a stripe of a mask with discs, as stars leave them; some 4 % of it."""
    rng, mask = np.random.default_rng(1), np.zeros((ROWS, side), np.uint8)
    for y, x, radius in zip(*rng.integers((0, 0, 10), (ROWS, side, 120), (side // 150, 3)).T, strict=True):
        rows, columns = np.ogrid[-radius:radius, -radius:radius]
        part = mask[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
        disc = (rows**2 + columns**2 < radius**2)[max(radius - y, 0) :, max(radius - x, 0) :]
        part[disc[: part.shape[0], : part.shape[1]]] = 15
    return mask


def write_tiles(
    folder: Path, layout: Tiles, *, side: int = SIDE, names: int = 4, bands: tuple[str, ...] = BANDS
) -> float:
    """Write a tile of noise that goes by several names; returns the MB/s of pixels."""
    writer = TileWriter(str(folder), TileTemplate("B0", bands, (side, side)), layout)
    mask, seconds = make_mask(side), 0.0
    for y0 in range(0, side, writer.stripe):
        starts = range(y0, y0 + writer.stripe, ROWS)
        stripe = np.concatenate([make_noise(side, y, bands=len(bands)) for y in starts], axis=1)
        masks = np.concatenate([mask] * (writer.stripe // ROWS))
        rows, start = min(writer.stripe, side - y0), time.perf_counter()
        writer.write_rows(y0, {"image": stripe[:, :rows], "mask": masks[:rows]})
        seconds += time.perf_counter() - start
    writer.finish({"wcs": make_wcs(180.0, 0.0, (side, side)).to_header().tostring(sep="\n"), "checksum": "x"})
    for number in range(1, names):
        (folder / f"B{number}.zarr").symlink_to("B0.zarr")
    return 4 * len(bands) * side**2 / 1e6 / seconds


def make_sources(folder: Path) -> pa.Table:
    """Place sources on all tiles of a folder at the density of KiDS-Bright."""
    names = sorted(path.stem for path in folder.glob("*.zarr"))
    tile = open_tile(str(folder), names[0])
    count = round(DENSITY * tile.shape[0] * tile.shape[1])
    x, y = np.random.default_rng(3).uniform(0, tile.shape[0], (2, count * len(names)))
    ra, dec = tile.wcs.all_pix2world(x, y, 0)
    flags = np.zeros(len(ra), np.int32)
    return pa.table({"ra": ra, "dec": dec, "tile": np.repeat(names, count), "flags": flags})


def make_rows(folder: Path, bands: tuple[str, ...], partition: Partition) -> pa.Table:
    """Make rows of a source catalogue of `make_sources`, as if they lay in a partition."""
    placed, schema = make_sources(folder), make_source_schema(bands)
    rng, count = np.random.default_rng(2), len(placed)
    columns = {name: placed[name] for name in placed.column_names}
    columns |= make_columns(bands, make_magnitudes(rng, count, len(bands)), 0.03)
    columns["object_id"] = [f"galaxy {number:06d}" for number in range(count)]
    for field in schema:
        if field.name not in columns:
            magnitudes = rng.normal(20, 0.5, count) if field.name.startswith("mag") else np.zeros(count)
            columns[field.name] = pa.array(magnitudes).cast(field.type, safe=False)
    first = partition.pixel << 2 * (HEALPIX_ORDER - partition.order)
    columns["_healpix_29"] = first + np.arange(count)
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def read(location: str, sources: pa.Table, bands: tuple[str, ...] = BANDS) -> pa.Table:
    return attach_cutouts(sources, location, image_bands=bands, cutout_size=SIZE).table


def measure(
    location: str,
    sources: pa.Table,
    *,
    rounds: int = 3,
    before: Callable[[], Any] = lambda: None,
    bands: tuple[str, ...] = BANDS,
) -> dict[str, float]:
    """Measure the best of some rounds: galaxies/s, and processor time, bytes and requests a galaxy."""
    best: dict[str, float] = {"rate": 0.0}
    for _ in range(rounds):
        before()
        wall, cpu = time.perf_counter(), time.process_time()
        with gather() as sums:
            read(location, sources, bands)
        rate = len(sources) / (time.perf_counter() - wall)
        cpu_ms = 1e3 * (time.process_time() - cpu) / len(sources)
        if rate > best["rate"]:
            each = {"kb": sums["bytes_read"] / 1e3 / len(sources), "requests": sums["requests"] / len(sources)}
            best = {"rate": rate, "cpu_ms": cpu_ms, **each}
    return best


def drop_cache(folder: Path) -> None:
    """Have the kernel forget a folder's files."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder of tiles as ``s3://`` with a latency; gives its location."""
    with serve_ranges(folder.parent, LATENCY_S) as endpoint:
        use_options(StorageOptions({"s3": {"endpoint_url": endpoint, "anon": True}}))
        yield f"s3://{folder.name}"


without_obstore = patch.object(fetching, "_open_s3", lambda *_: None)
by_zarr_python = patch.object(ChunkedArray, "parse", lambda *_: None)


def measure_layouts(folder: Path) -> Iterator[tuple[str, ...]]:
    yield ("layout", "write MB/s", "stored/raw", "cold /s", "warm /s", "CPU ms", "30 ms store /s", "kB", "GETs")
    for name, settings in LAYOUTS.items():
        tiles = folder / name.replace(" ", "_").replace(",", "")
        speed = write_tiles(tiles, Tiles(**settings))
        stored = sum(path.stat().st_size for path in (tiles / "B0.zarr").rglob("*") if path.is_file())
        sources = make_sources(tiles)
        cold = measure(str(tiles), sources, rounds=2, before=lambda tiles=tiles: drop_cache(tiles))
        warm = measure(str(tiles), sources)
        with serve(tiles) as location:
            remote = measure(location, sources)
        rates = (f"{cold['rate']:,.0f}", f"{warm['rate']:,.0f}", f"{warm['cpu_ms']:.2f}", f"{remote['rate']:,.0f}")
        cost = (f"{remote['kb']:.0f}", f"{remote['requests']:.1f}")
        yield (name, f"{speed:.0f}", f"{stored / (16 * SIDE**2):.2f}", *rates, *cost)


def measure_readers(folder: Path) -> Iterator[tuple[str, ...]]:
    yield ("reader", "where", "galaxies/s", "CPU ms a galaxy")
    tiles = folder / "chunk_64"
    if not tiles.exists():
        write_tiles(tiles, Tiles())
    sources = make_sources(tiles)
    few = sources.slice(0, 100)
    yield "ours", "disk", *_format(measure(str(tiles), sources))
    with by_zarr_python:
        yield "zarr-python", "disk", *_format(measure(str(tiles), few))
        with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
            yield "zarrs", "disk", *_format(measure(str(tiles), few))
    start = time.perf_counter()
    tile = open_tile(str(tiles), "B0")
    tile.read_window(0, SIDE, 0, SIDE)
    rate = round(DENSITY * SIDE**2) / (time.perf_counter() - start)
    yield "zarr-python, whole tile", "disk", f"{rate:,.0f}", ""
    with serve(tiles) as location:
        yield "ours, obstore", "store", *_format(measure(location, sources))
        with without_obstore:
            yield "ours, s3fs", "store", *_format(measure(location, sources))
            with by_zarr_python:
                yield "zarr-python, s3fs", "store", *_format(measure(location, few, rounds=1))


def _format(found: dict[str, float]) -> tuple[str, str]:
    return f"{found['rate']:,.0f}", f"{found['cpu_ms']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("layouts", "readers"))
    options = parser.parse_args()
    for row in {"layouts": measure_layouts, "readers": measure_readers}[options.what](options.folder):
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
