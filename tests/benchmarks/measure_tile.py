"""Ingest one tile of KiDS's full size and estimate its bright galaxies; print seconds and peak memory of each stage.

python tests/benchmarks/measure_tile.py FOLDER [ROWS COLUMNS [nine]]

With "nine" VISTA's five bands, too, on pixels of 0.339 arcsec. Needs 8 GB of disk for the full size in four bands and
18 in nine, which it removes at the end: the bands' files are one file under several names. Each stage runs in a process
of its own, as a worker does, so that its peak resident memory is its own.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ingested
import numpy as np
from astropy.io import fits
from conftest import save_untrained
from runs import change
from tiny_survey import BANDS, IMAGE_BANDS, make_catalogue, make_config, make_wcs, write_catalogue

from cluster.inference.run import infer_catalogue
from photoz.settings.config import Config

TILE = "180.0_-0.5"
SHAPE = (20_300, 18_500)
SOURCES = 100_000  # of the catalogue: as many as a tile of KiDS has
BRIGHT = 1_200  # of them in the KiDS-Bright sample
STRIPE = 1024  # rows written at a time
VISTA = BANDS[len(IMAGE_BANDS) :]
SCALES = dict.fromkeys(VISTA, 0.339)  # [arcsec]


def write_tile(config: Config, shape: tuple[int, int]) -> int:
    """Write images of noise and blobs, masks and the catalogue; return their bytes."""
    folder = Path(config.locations.survey)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((STRIPE, shape[1]), dtype=np.float32)
    for scale, bands in _group_bands(config).items():
        size = (round(shape[0] * 0.2 / scale), round(shape[1] * 0.2 / scale))
        first, mask = (folder / f"KiDS_DR4.0_{TILE}_{bands[0]}_{kind}.fits" for kind in ("sci", "msk"))
        _write_stripes(first, size, scale, -32, lambda rows, size=size: _make_sky(rng, noise[:, : size[1]], rows))
        _write_stripes(mask, size, scale, 8, lambda rows, size=size: _make_mask(rows, size[1]))
        for band in bands[1:]:
            for path in (first, mask):
                path.with_name(path.name.replace(f"_{bands[0]}_", f"_{band}_")).hardlink_to(path)
    table = make_catalogue(TILE, SOURCES, width_deg=0.9 * min(shape) * 0.2 / 3600, seed=1)
    table["MAG_AUTO"] = np.where(np.arange(SOURCES) % (SOURCES // BRIGHT) == 0, 19.0, 22.0).astype(np.float32)
    write_catalogue(folder / f"KiDS_DR4.0_{TILE}_ugriZYJHKs_cat.fits", table)
    return sum(file.stat().st_size for file in folder.iterdir())


def _group_bands(config: Config) -> dict[float, list[str]]:
    groups: dict[float, list[str]] = {}
    for band in config.survey.image_bands:
        groups.setdefault(config.survey.get_pixel_scale(band), []).append(band)
    return groups


def _write_stripes(
    path: Path, shape: tuple[int, int], scale: float, bitpix: int, make: Callable[[int], np.ndarray[Any, Any]]
) -> None:
    header = make_wcs(*(float(part) for part in TILE.split("_")), shape, scale / 3600).to_header()
    cards = [("SIMPLE", True), ("BITPIX", bitpix), ("NAXIS", 2), ("NAXIS1", shape[1]), ("NAXIS2", shape[0])]
    whole = fits.Header([*cards, *header.cards])
    with path.open("wb") as file:
        file.write(whole.tostring().encode())
        for first in range(0, shape[0], STRIPE):
            file.write(make(min(STRIPE, shape[0] - first)).tobytes())
        file.write(bytes(-file.tell() % 2880))


def _make_sky(rng: np.random.Generator, noise: np.ndarray, rows: int) -> np.ndarray:
    """Take the noise, moved by a random step, and put round sources on it."""
    sky = np.roll(noise, int(rng.integers(noise.shape[1])), axis=1)[:rows]
    y, x = np.mgrid[-10:11, -10:11]
    blob = np.exp(-(x**2 + y**2) / 18).astype(np.float32)
    for _ in range(250):
        top, left = int(rng.integers(max(1, rows - 21))), int(rng.integers(noise.shape[1] - 21))
        part = sky[top : top + 21, left : left + 21]
        part += np.float32(rng.exponential(30)) * blob[: part.shape[0]]
    return sky.astype(">f4")


def _make_mask(rows: int, columns: int) -> np.ndarray:
    mask = np.zeros((rows, columns), np.uint8)
    mask[:100, :100] = 4
    return mask


def ingest(config: Config) -> dict[str, Any]:
    (outcome,) = ingested.ingest_every(config)
    assert not outcome.problem, outcome
    return {}


def partition(config: Config) -> dict[str, Any]:
    ingested.partition(config)
    return {}


def infer(config: Config) -> dict[str, Any]:
    record = infer_catalogue(config)
    stages = {name: round(value, 1) for name, value in record.this_run.stage_seconds.items()}
    return {"rows": record.rows, "stages": stages, "bytes_read": record.this_run.bytes_read_per_galaxy}


def _run(stage: Callable[[Config], dict[str, Any]], config: Config) -> dict[str, Any]:
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    told = stage(config)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    seconds = time.perf_counter() - start
    return told | {"seconds": round(seconds, 1), "cpu_s": round(cpu, 1), "peak_gib": round(used.ru_maxrss / 2**20, 2)}


def measure(folder: Path, shape: tuple[int, int], *, nine: bool) -> dict[str, Any]:
    """Return what each stage took, by its name."""
    survey = {"image_bands": BANDS, "pixel_scales": SCALES} if nine else {}
    config = make_config(folder, engine={"name": "serial"}, survey=survey, tiles={"chunk": 64, "shard": 1024})
    figures: dict[str, Any] = {"shape": shape}
    start = time.perf_counter()
    figures["survey_gb"] = round(write_tile(config, shape) / 1e9, 2)
    figures["written_s"] = round(time.perf_counter() - start, 1)
    save_untrained(config, "hybrid")
    stages = {"ingest": ingest, "partition": partition, "infer": infer}
    config = change(config, inference__estimator="hybrid")
    for name, stage in stages.items():
        with get_context("spawn").Pool(1) as pool:
            figures[name] = pool.apply(_run, (stage, config))
        if name == "ingest":
            files = [file for file in Path(config.locations.tiles).rglob("*") if file.is_file()]
            figures["tiles_gb"] = round(sum(file.stat().st_size for file in files) / 1e9, 2)
    return figures


def main() -> None:
    folder = Path(sys.argv[1])
    shape = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 2 else SHAPE
    try:
        print(json.dumps(measure(folder, shape, nine="nine" in sys.argv[3:]), indent=2))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
