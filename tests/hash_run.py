#!/usr/bin/env python
"""Hash every column of every table that a fixed small survey gives: what a change of the code alone must not change.

    python tests/hash_run.py FOLDER [--quick] > hashes.txt

Survey files -> ingest -> training (one seed) -> inference on three engines -> margins, audit, n(z), report. It speaks
to photoz by its job scripts alone, so that one copy of it runs on any checkout (``--checkout``): hash before and after,
and compare the two outputs with diff. ``--quick`` leaves Ray out, and what only Ray trains.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from safetensors.numpy import load_file

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
TILES = ("180.0_0.0", "180.5_-0.5", "181.0_0.5")  # four HEALPix pixels meet in the first: rows in margins
SHAPE, COUNT, SCALE = (360, 400), 220, 0.2 / 3600
NETWORKS = ("hybrid", "photometry", "hybrid-paper")
FITTED = ("mlp", "knn", "annz", "boosted", "template", "fcnn", "cnn1d", "gat")
SMALL = {
    "mlp": "{members=3, most_steps=60, least_steps=40}",
    "annz": "{members=2, kept=2, max_epochs=5}",
    "fcnn": "{max_epochs=3}",
    "cnn1d": "{max_epochs=3}",
    "gat": "{max_epochs=3}",
}
SETTINGS = """
[run]
name = "hashed"
[locations]
survey = "{0}/survey"
tiles = "{0}/tiles"
sources = "{0}/sources"
training = "{0}/training"
models = "{0}/models"
catalogue = "{0}/catalogue"
report = "{0}/report"
[tiles]
chunk = 32
shard = 128
[sources]
rows_per_partition = 240
highest_order = 9
{1}
[engine]
name = "serial"
[evaluation]
resamples = 20
[nz]
bins = 3
resamples = 20
"""
TRAINING = """[training.schedule]
max_epochs = 2
batch_size = 32
learning_rate = 1e-3
[training.spreading]
workers = 1"""
TRAINING_BEFORE = """[training]
max_epochs = 2
workers = 1
batch_size = 32
learning_rate = 1e-3"""  # of checkouts whose section has no parts


def write_survey(folder: Path) -> None:
    """Write tiles of galaxies whose colours, brightness and size follow their redshift, and a table of redshifts."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(42)
    spectra = []
    for tile in TILES:
        ra, dec = (float(part) for part in tile.split("_"))
        wcs = make_wcs(ra, dec)
        x, y = rng.uniform(5, SHAPE[1] - 5, COUNT), rng.uniform(5, SHAPE[0] - 5, COUNT)
        z = rng.uniform(0.03, 0.5, COUNT)
        position = wcs.pixel_to_world(x, y)
        magnitudes = {
            b: 19.5 - 0.25 * i - 2.0 * z + 1.5 * i * z + rng.normal(0, 0.05, COUNT) for i, b in enumerate(BANDS)
        }
        write_images(folder, tile, (wcs, x, y, z), magnitudes, rng)
        write_catalogue(folder, tile, (position.ra.deg, position.dec.deg), magnitudes, rng)
        spectra.append(Table({"RAcen": position.ra.deg, "Deccen": position.dec.deg, "Z": z}))
    table = Table({name: np.concatenate([each[name] for each in spectra]) for name in ("RAcen", "Deccen", "Z")})
    table["NQ"], table["duplicate"] = 4, 0
    table[::7].write(folder / "unused.fits")
    table.remove_rows(np.arange(3, len(table), 11))  # some sources have no spectrum
    table.write(folder / "gkvScienceCatv02.fits")


def make_wcs(ra: float, dec: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(SHAPE[1] + 1) / 2, (SHAPE[0] + 1) / 2]
    wcs.wcs.cdelt = [-SCALE, SCALE]
    return wcs


def write_images(folder: Path, tile: str, sources: tuple, magnitudes: dict, rng: np.random.Generator) -> None:
    wcs, x, y, z = sources
    rows, columns = np.mgrid[-14:15, -14:15]
    for index, band in enumerate(BANDS[:4]):
        image = rng.normal(0, 1, SHAPE).astype(np.float32)
        for k in range(COUNT):
            width = 2.0 + 4.0 * (0.5 - z[k]) + 0.2 * index
            i, j = round(float(y[k])), round(float(x[k]))
            stamp = np.exp(-(rows**2 + columns**2) / (2 * width**2)) * 10 ** (-0.4 * (magnitudes[band][k] - 23))
            top, left = max(i - 14, 0), max(j - 14, 0)
            part = image[top : i + 15, left : j + 15]
            part += stamp[top - i + 14 :, left - j + 14 :][: part.shape[0], : part.shape[1]].astype(np.float32)
        header = wcs.to_header()
        header["SEEING"], header["SKYNOISE"] = 0.7 + 0.1 * index, 1.0
        fits.PrimaryHDU(image, header).writeto(folder / f"KiDS_DR4.0_{tile}_{band}_sci.fits")
        mask = np.zeros(SHAPE, np.uint8)
        mask[: 30 + 5 * index, :25] = 4
        fits.PrimaryHDU(mask, header).writeto(folder / f"KiDS_DR4.0_{tile}_{band}_msk.fits")


def write_catalogue(folder: Path, tile: str, position: tuple, magnitudes: dict, rng: np.random.Generator) -> None:
    table = Table()
    table["ID"] = [f"KiDSDR4 J{tile}.{n:05d}" for n in range(COUNT)]
    table["KIDS_TILE"] = [f"KIDS_{tile}"] * COUNT
    table["RAJ2000"], table["DECJ2000"] = position
    table["MAG_AUTO"] = (magnitudes["r"] - 0.1).astype(np.float32)
    table["MAGERR_AUTO"] = np.full(COUNT, 0.01, np.float32)
    for name, value in (("SG_FLAG", 1), ("SG2DPHOT", 0), ("MASK", 0)):
        table[name] = np.full(COUNT, value, np.int32)
    table["CLASS_STAR"] = np.full(COUNT, 0.02, np.float32)
    for index, band in enumerate(BANDS):
        values = magnitudes[band].astype(np.float32)
        errors = (0.02 + 0.01 * rng.random(COUNT)).astype(np.float32)
        missing = rng.random(COUNT) < 0.04
        values[missing] = errors[missing] = 99 if index % 2 else -99
        table[f"MAG_GAAP_{band}"], table[f"MAGERR_GAAP_{band}"] = values, errors
        table[f"EXTINCTION_{band}"] = np.full(COUNT, 0.1, np.float32)
    primary = fits.PrimaryHDU()
    for band in "UGRI":
        primary.header[f"DMAG_{band}"] = 0.03
    file = folder / f"KiDS_DR4.0_{tile}_ugriZYJHKs_cat.fits"
    fits.HDUList([primary, fits.BinTableHDU(table, name="OBJECTS")]).writeto(file)


def run(checkout: Path, folder: Path, job: str, *changes: str) -> None:
    """Run a job script as a user does; its output goes to a log."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0"}
    options = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, str(checkout / "jobs" / f"{job}.py"), "--config", str(folder / "run.toml"), *options]
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(command, env=environment, cwd=folder, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise SystemExit(f"{job} {' '.join(changes)}: exit status {done.returncode}, see {folder / 'log.txt'}")


def infer(checkout: Path, folder: Path, estimator: str, engine: str) -> None:
    output = f"locations.catalogue={folder}/{estimator}_{engine}"
    run(checkout, folder, "infer_dr4", f"inference.estimator={estimator}", f"engine.name={engine}", output)
    run(checkout, folder, "audit_catalogue", f"engine.name={engine}", output)


def run_all(checkout: Path, folder: Path, quick: bool) -> None:
    """Run the jobs."""
    write_survey(folder / "survey")
    settings = checkout / "photoz" / "training" / "settings.py"
    parts = settings.exists() and "class Schedule" in settings.read_text()
    (folder / "run.toml").write_text(SETTINGS.format(folder, TRAINING if parts else TRAINING_BEFORE))
    run(checkout, folder, "ingest_dr4")
    fitted = FITTED[:2] if quick else FITTED
    for name in fitted:
        small = [f"training.fit.{name}={SMALL[name]}"] if name in SMALL else []
        run(checkout, folder, "train_dr4", f"training.estimator={name}", *small)
    networks = () if quick else NETWORKS
    for name in networks:
        run(checkout, folder, "train_dr4", f"training.estimator={name}", "engine.name=ray")
    for name in (*fitted, *networks):
        infer(checkout, folder, name, "serial")
    for engine in ("dask",) if quick else ("dask", "ray"):
        for name in fitted[:1] if quick else ("mlp", "hybrid"):
            infer(checkout, folder, name, engine)
    shown = "mlp" if quick else "hybrid"  # in report and n(z)
    output = f"locations.catalogue={folder}/{shown}_serial"
    run(checkout, folder, "summarize_nz", output)
    run(checkout, folder, "evaluate_dr4", output)


def hash_everything(folder: Path) -> Iterator[str]:
    """Yield a line for each column of each table, each estimator's arrays, each tile and each record."""
    for file in sorted(folder.rglob("*.parquet")):
        table = pq.read_table(file, partitioning=None)
        for name in table.column_names:
            yield f"{file.relative_to(folder)} {name} {hash_column(table[name])} {table.schema.field(name).type}"
    for file in sorted(folder.rglob("*.safetensors")):
        for name, values in sorted(load_file(file).items()):
            yield f"{file.relative_to(folder)} {name} {digest(values.tobytes())} {values.dtype} {values.shape}"
    for file in sorted((folder / "tiles").glob("*/zarr.json")):
        yield f"{file.relative_to(folder)} checksum {json.loads(file.read_text())['attributes']['checksum']}"
    for file in sorted(folder.rglob("*.csv")):
        with file.open() as rows:
            for number, row in enumerate(csv.reader(rows)):
                yield f"{file.relative_to(folder)} row {number} {digest(repr(row).encode())}"
    for file in sorted(folder.rglob("audit.json")):
        report = json.loads(file.read_text())
        yield f"{file.relative_to(folder)} {[report[name] for name in ('clean', 'rows', 'flags')]}"
    for file in sorted(folder.rglob("run.json")):
        record = json.loads(file.read_text())
        yield f"{file.relative_to(folder)} {[record[name] for name in ('partitions', 'rows', 'estimated', 'flags')]}"


def hash_column(column: pa.ChunkedArray) -> str:
    sink = pa.BufferOutputStream()
    table = pa.table({"x": column.combine_chunks()}).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return digest(sink.getvalue())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything is written; must not exist")
    parser.add_argument("--checkout", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    run_all(options.checkout.resolve(), options.folder.resolve(), options.quick)
    print("\n".join(hash_everything(options.folder.resolve())))
