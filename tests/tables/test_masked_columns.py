"""What stands beneath a mask is no value: the columns that astropy and HSC's database write beside masked ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable

import photoz
from photoz.schema import Flag
from photoz.tables import convert, load_survey
from photoz.tables.open import open_table

BANDS = "gri"
COUNT = 120
MASKED_N = np.arange(COUNT) % 4 == 1
"""Rows of which a magnitude of r, 15 mag brighter than any other, stands beneath a mask."""


def make_galaxies(seed: int = 1) -> dict[str, Any]:
    """Galaxies whose colours follow the redshift."""
    rng = np.random.default_rng(seed)
    z_N, base_N = rng.uniform(0.02, 0.9, COUNT), rng.normal(20.5, 0.8, COUNT)
    columns = {"object_id": np.arange(COUNT) + 2**60, "z_spec": z_N}
    for place, band in enumerate(BANDS):
        columns[f"mag_{band}"] = base_N - place * z_N + rng.normal(0, 0.02, COUNT)
        columns[f"magerr_{band}"] = np.full(COUNT, 0.02)
    return columns


@pytest.fixture(scope="module")
def model() -> photoz.Model:
    return photoz.fit(make_galaxies(), BANDS, estimator="knn")


@pytest.fixture(scope="module")
def right(model: photoz.Model) -> photoz.Result:
    """Of the same galaxies with NaN where the mask is."""
    columns = make_galaxies()
    columns["mag_r"] = np.where(MASKED_N, np.nan, columns["mag_r"])
    result = photoz.estimate(model, columns)
    assert ((result.flags & Flag.BAND_NOT_OBSERVED) != 0).tolist() == MASKED_N.tolist()
    return result


def make_masked() -> AstropyTable:
    table = AstropyTable(make_galaxies())
    table["mag_r"] = MaskedColumn(np.where(MASKED_N, table["mag_r"] - 5.0, table["mag_r"]), mask=MASKED_N)
    return table


def write_isnull(table: AstropyTable, file: str) -> None:
    """As HSC's database writes FITS."""
    plain = AstropyTable({name: np.asarray(table[name]) for name in table.colnames})
    plain["mag_r_isnull"] = MASKED_N
    plain.write(file)


WRITERS: dict[str, Callable[[AstropyTable, str], None]] = {
    "t.parquet": lambda table, file: table.write(file),
    "t.ecsv": lambda table, file: table.write(file, serialize_method="data_mask"),
    "t.fits": lambda table, file: table.write(file, serialize_method="data_mask"),
    "isnull.fits": write_isnull,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_value_beneath_a_mask_is_none_in_a_file(
    name: str, tmp_path: Path, model: photoz.Model, right: photoz.Result
) -> None:
    location = str(tmp_path / name)
    WRITERS[name](make_masked(), location)
    table = open_table(location)
    values = pa.Table.from_batches([batch for part in table.parts for batch in table.read(part, ["mag_r"])])
    assert values.column_names == ["mag_r"]
    assert values["mag_r"].is_null().to_pylist() == MASKED_N.tolist()
    # A table whose mask nobody knew of would give redshifts of galaxies that are 5 mag brighter in r.
    assert photoz.estimate(model, location).arrow.equals(right.arrow)


@pytest.mark.parametrize("make", [pq.read_table, pd.read_parquet, AstropyTable.read])
def test_a_value_beneath_a_mask_is_none_in_memory(
    make: Callable[[Any], Any], tmp_path: Path, model: photoz.Model, right: photoz.Result
) -> None:
    make_masked().write(tmp_path / "t.parquet")
    np.testing.assert_array_equal(photoz.estimate(model, make(tmp_path / "t.parquet")).z_phot, right.z_phot)


def test_redshifts_and_identifiers_beneath_a_mask_are_none(tmp_path: Path) -> None:
    table = AstropyTable(make_galaxies())
    for name in ("z_spec", "object_id"):
        table[name] = MaskedColumn(table[name], mask=MASKED_N)
    table.write(tmp_path / "t.parquet")
    survey = load_survey("plain")
    found = convert(pq.read_table(tmp_path / "t.parquet"), survey, tuple(BANDS), nameless=True)
    assert found.counts["no_redshift"] == MASKED_N.sum()
    assert found.table["object_id"].is_null().to_pylist() == MASKED_N.tolist()


def test_of_several_files_some_may_have_no_mask(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0], "x.mask": [True, False]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [3.0]}), tmp_path / "b.parquet")
    table = open_table(str(tmp_path))
    assert [x for part in table.parts for batch in table.read(part, ["x"]) for x in batch["x"].to_pylist()] == [
        None,
        2.0,
        3.0,
    ]


def test_a_mask_that_is_asked_for_hides_all_the_same(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0], "x.mask": [True, False]}), tmp_path / "a.parquet")
    table = open_table(str(tmp_path))
    (batch,) = table.read(table.parts[0], ["x", "x.mask"])
    assert batch.to_pydict() == {"x": [None, 2.0], "x.mask": [True, False]}


@pytest.mark.parametrize("other", [["no", "yes"], [0.5, 0.1], [[True], [False]]])
def test_what_says_neither_true_nor_false_is_no_mask(other: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, 2.0], "x.mask": other}), tmp_path / "a.parquet")
    table = open_table(str(tmp_path))
    (batch,) = table.read(table.parts[0], ["x"])
    assert batch.to_pydict() == {"x": [1.0, 2.0]}
