"""Cutouts a second from the tile store, on disk and behind 30 ms, at the density of KiDS-Bright."""

from pathlib import Path

import measure_reading as reading
import pyarrow as pa
import pytest
from bench_table import Table
from measure_reading import NINE, by_zarr_python, measure, serve, without_obstore, write_tiles

from photoz.tiles.settings import Tiles

SIDE, NAMES = 6144, 8  # [pixel] a ninth of a KiDS tile, under eight names


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    folder = tmp_path_factory.mktemp("tiles")
    write_tiles(folder, Tiles(), side=SIDE, names=NAMES)
    return folder, reading.make_sources(folder)


def test_bench_disk(bench_table: Table, tiles: tuple[Path, pa.Table]) -> None:
    folder, sources = tiles
    ours = measure(str(folder), sources)
    with by_zarr_python:
        plain = measure(str(folder), sources.slice(0, 100), rounds=2)
    stage = "cutouts from local disk"
    bench_table.add(stage, ours["rate"], "galaxies/s", reference=plain["rate"], against="zarr-python")


def test_bench_nine_bands(bench_table: Table, tiles: tuple[Path, pa.Table], tmp_path: Path) -> None:
    folder, sources = tiles
    write_tiles(tmp_path, Tiles(), side=SIDE // 2, names=NAMES, bands=NINE)
    few = reading.make_sources(tmp_path)
    nine, four = measure(str(tmp_path), few, bands=NINE), measure(str(tmp_path), few)
    ours = measure(str(folder), sources)
    bench_table.add(
        "cutouts of nine bands from local disk",
        nine["rate"],
        "galaxies/s",
        reference=ours["rate"],
        against="four bands",
    )
    bench_table.add("read for a cutout of nine bands", nine["kb"], "kB", reference=ours["kb"], against="four bands")
    bench_table.note(f"Four of nine stored bands: {four['rate']:,.0f} galaxies/s, as all bands lie in one chunk.")


def test_bench_store(bench_table: Table, tiles: tuple[Path, pa.Table]) -> None:
    pytest.importorskip("obstore", reason="pip install 'photoz[store]'")
    folder, sources = tiles
    with serve(folder) as location:
        ours = measure(location, sources)
        with without_obstore:
            plain = measure(location, sources, rounds=2)
    bench_table.add(
        "cutouts from a store behind 30 ms, one process", ours["rate"], "galaxies/s",
        reference=plain["rate"], against="s3fs", target=2000, of="ours",
    )  # fmt: skip
    least = reading.LEAST_KB
    bench_table.add("read for a cutout", ours["kb"], "kB", reference=least, against="36 x 36 x 4 pixels")
    bench_table.note(
        f"A cutout takes {ours['requests']:.1f} requests; the reader process then takes {ours['cpu_ms']:.2f} ms of "
        "processor time a galaxy, the kernel's share included, beside the server's on the same machine."
    )


@pytest.mark.parametrize(
    ("name", "layout"),
    [("zstd", Tiles(codec="zstd")), ("chunk 128", Tiles(chunk=128)), ("shard 2048", Tiles(shard=2048))],
)
def test_bench_other_layouts(
    bench_table: Table, tiles: tuple[Path, pa.Table], tmp_path: Path, name: str, layout: Tiles
) -> None:
    sources = tiles[1]
    write_tiles(tmp_path, layout, side=SIDE, names=NAMES)
    ours, other = measure(str(tiles[0]), sources), measure(str(tmp_path), sources)
    figure, default = (
        f"{each['rate']:,.0f} galaxies/s from disk, {each['cpu_ms']:.2f} ms of processor time, {each['kb']:.0f} kB each"
        for each in (other, ours)
    )
    bench_table.reject(f"tiles: {name}", figure, f"as it is: {default}")
