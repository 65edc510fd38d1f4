"""Memory of driver and workers stays flat when there are ten times as many partitions."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy_healpix import HEALPix
from bench_table import Table
from runs import make_ready
from tiny_survey import write_survey

from photoz.catalogue.hats import PRIMARY, Partition, finish_catalogue, list_partitions, read_partition, write_partition
from photoz.settings import config_to_dict
from photoz.settings.config import Config
from photoz.storage import remove

FEW, MANY = 20, 200
MOST_GROWTH = 1.15
ORDER = 16  # [HEALPix] 3.2 arcsec: some 250 pixels in a tile of 256 x 256 pixels of 0.2 arcsec
SCRIPT = Path(__file__).with_name("measure_memory.py")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tile whose sources are spread over hundreds of tiny partitions."""
    folder = tmp_path_factory.mktemp("memory")
    write_survey(folder, ("180.0_-0.5",), shape=(256, 256), count=12)
    config = make_ready(folder, sources={"margin_arcsec": 0.0})
    repartition(config)
    file = folder / "settings.json"
    file.write_bytes(msgspec.json.encode(config_to_dict(config)))
    return file


def repartition(config: Config) -> None:
    """Replace the source catalogue by one of many partitions, some ten rows each."""
    location = config.locations.sources
    pattern = read_partition(location, list_partitions(location)[0]).slice(0, 1)
    rng = np.random.default_rng(0)
    ra, dec = 180.0 + rng.uniform(-25, 25, 2500) / 3600, -0.5 + rng.uniform(-25, 25, 2500) / 3600
    deepest = HEALPix(nside=2**29, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
    pixels = deepest >> 2 * (29 - ORDER)
    remove(f"{location}/{PRIMARY}")
    parts = []
    for pixel in np.unique(pixels)[:MANY]:
        rows = np.flatnonzero(pixels == pixel)
        table = pa.concat_tables([pattern] * len(rows))
        names = [f"galaxy {row}" for row in rows]
        columns = {"_healpix_29": deepest[rows], "ra": ra[rows], "dec": dec[rows], "object_id": names}
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
        parts.append((Partition(ORDER, int(pixel)), len(rows)))
        write_partition(f"{location}/{PRIMARY}", parts[-1][0], table)
    finish_catalogue(location, parts, info={})


def measure(settings: Path, engine: str, partitions: int) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), str(settings), engine, str(partitions)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_bench_memory(bench_table: Table, settings: Path, engine: str) -> None:
    few, many = measure(settings, engine, FEW), measure(settings, engine, MANY)
    assert many["rows"] > 5 * few["rows"]
    for who in ("driver", "worker"):
        bench_table.add(
            f"peak memory, {engine}, {who}, {MANY} partitions", many[f"{who}_mib"], "MiB",
            reference=few[f"{who}_mib"], against=f"with {FEW}", target=MOST_GROWTH, sense="most",
        )  # fmt: skip
