"""From one table to an audited catalogue with p(z): a Parquet file, a HATS catalogue, and one on an object store.

`make bench ARGS="-k tables"`
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from bench_table import Table
from bright_sample import ROWS, make_magnitudes, make_sources
from from_magnitudes import make_sample
from object_store import make_bucket, open_store
from tiny_survey import BANDS

from photoz.estimators.mlp.estimator import MlpEstimator

MOST_SECONDS, MOST_GIB = 90.0, 1.5
TAKEN = ("object_id", "ra", "dec", "mag_auto", "magerr_auto")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the table as one Parquet file, its rows in no order, and a model whose cost is a trained one's."""
    folder = tmp_path_factory.mktemp("tables")
    sources = make_sources(BANDS, int(os.environ.get("PHOTOZ_BENCH_ROWS", ROWS)))
    names = [*TAKEN, *(name for name in sources.column_names if name.startswith("flux"))]
    rows = np.random.default_rng(1).permutation(len(sources))
    pq.write_table(sources.select(names).take(rows), folder / "table.parquet")
    magnitudes_NF = make_magnitudes(np.random.default_rng(5), 20_000, len(BANDS))
    sample = make_sample(BANDS, magnitudes_NF, 0.03, 0.3 + 0.05 * (magnitudes_NF[:, 0] - 19).clip(-3, 3))
    MlpEstimator.fit(sample, epochs=1, least_steps=50).save(str(folder / "model"))
    return folder


def estimate(folder: Path, table: str, output: str, *options: str) -> tuple[float, float]:
    """Run the command; return its seconds and the GiB of the largest of its processes so far."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "photoz", "estimate", table, "--survey", "plain", "--model", str(folder / "model")]
    spread = ["--set", "engine.name=dask", "--set", "engine.workers=2"]
    subprocess.run([*command, "--output", output, *spread, *options], check=True, cwd=folder, capture_output=True)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def test_bench_tables(bench_table: Table, folder: Path) -> None:
    rows = pq.read_metadata(folder / "table.parquet").num_rows
    seconds, gib = estimate(folder, str(folder / "table.parquet"), str(folder / "of_file"))
    what = f"{rows:,} rows of one Parquet file to audited catalogue with p(z)"
    bench_table.add(what, seconds, "s", target=MOST_SECONDS, of="ours", sense="most")
    bench_table.add(f"{what}, largest process", gib, "GiB", target=MOST_GIB, of="ours", sense="most")
    # What was partitioned of the file is a HATS catalogue with the same columns.
    hats = str(folder / "of_file_sources")
    seconds, _ = estimate(folder, hats, str(folder / "of_hats"))
    bench_table.add(f"{rows:,} rows of a HATS catalogue, read where it lies", seconds, "s")
    with open_store() as endpoint, make_bucket(endpoint) as bucket:
        fsspec.filesystem("s3", endpoint_url=endpoint).put(hats, f"{bucket}/sources", recursive=True)
        options = ["--set", f"storage.s3.endpoint_url={endpoint}"]
        on_store, _ = estimate(folder, f"{bucket}/sources", str(folder / "of_store"), *options)
    bench_table.add(
        f"{rows:,} rows of a HATS catalogue on an S3 server",
        on_store,
        "s",
        reference=seconds,
        against="on disk",
        target=1.2,
        sense="most",
    )
