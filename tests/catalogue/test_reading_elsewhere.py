"""The folder of a catalogue's rows in polars, DuckDB, pandas and pyarrow, as docs/catalogue.md has it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from runs import read_all
from tiny_catalogues import make_pdfs, make_sky, write_photoz

from photoz.catalogue.hats import list_partitions
from photoz.catalogue.quantiles import unpack_codes
from photoz.schema import HEALPIX_COLUMN, LEVELS


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("elsewhere") / "catalogue")
    sky = make_sky(500)
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(location, sky, z_phot, pdf=pdf, algorithm="mlp", order=5)
    # What stands beside the rows in a real result, of other columns.
    Path(location, "run").mkdir()
    pd.DataFrame({"stage": ["read"]}).to_parquet(f"{location}/run/failures.parquet")
    return location


@pytest.fixture(scope="module")
def rows(catalogue: str) -> pa.Table:
    assert len(list_partitions(catalogue)) > 2
    return read_all(catalogue).sort_by(HEALPIX_COLUMN)


def check(found: pa.Table, rows: pa.Table) -> None:
    found = found.sort_by(HEALPIX_COLUMN)
    assert set(found.column_names) - {"Norder", "Dir"} == set(rows.column_names)
    assert found["object_id"].cast(pa.string()).to_pylist() == rows["object_id"].to_pylist()
    np.testing.assert_array_equal(found["z_phot"].to_numpy(), rows["z_phot"].to_numpy())
    codes = np.array(found["mlp_z_quantiles"].to_pylist())
    assert codes.shape == (len(rows), len(LEVELS))
    np.testing.assert_array_equal(codes, unpack_codes(rows["mlp_z_quantiles"]))


def test_polars_reads_the_files_and_the_folder(catalogue: str, rows: pa.Table) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(f"{catalogue}/catalogue/dataset/**/*.parquet")
    assert frame.schema["mlp_z_quantiles"] == polars.List(polars.UInt16)
    check(frame.to_arrow(), rows)
    lazy = polars.scan_parquet(f"{catalogue}/catalogue/dataset", hidden_file_prefix="_")
    check(lazy.collect().to_arrow(), rows)
    median = frame.select(polars.col("mlp_z_quantiles").list.get(LEVELS.index(0.5)) * 1e-4).to_series()
    np.testing.assert_allclose(median.drop_nulls().to_numpy()[0], frame["mlp_z_median"][0], atol=1e-6)


def test_duckdb_reads_the_files(catalogue: str, rows: pa.Table) -> None:
    duckdb = pytest.importorskip("duckdb")
    source = f"read_parquet('{catalogue}/catalogue/dataset/**/*.parquet')"
    check(duckdb.sql(f"select * from {source}").to_arrow_table(), rows)
    [(lengths,)] = duckdb.sql(f"select distinct len(mlp_z_quantiles) from {source}").fetchall()
    assert lengths == len(LEVELS)


def test_pandas_and_pyarrow_read_the_folder(catalogue: str, rows: pa.Table) -> None:
    folder = f"{catalogue}/catalogue/dataset"
    check(pa.Table.from_pandas(pd.read_parquet(folder, dtype_backend="pyarrow")), rows)
    frame = pd.read_parquet(folder, columns=[HEALPIX_COLUMN, "mlp_z_quantiles"]).sort_values(HEALPIX_COLUMN)
    np.testing.assert_array_equal(np.stack(frame["mlp_z_quantiles"]), unpack_codes(rows["mlp_z_quantiles"]))
    check(ds.dataset(folder).to_table(), rows)
    check(ds.parquet_dataset(f"{folder}/_metadata").to_table(), rows)
