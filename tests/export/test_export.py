"""A catalogue as one file: what its own readers find in it, row for row and value for value."""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from runs import assert_same_rows, read_all, write_toml
from tiny_catalogues import make_config, make_pdfs, make_sky, write_photoz

from photoz.catalogue.hats import PRIMARY, list_partitions, locate_partition
from photoz.catalogue.quantiles import unpack_codes
from photoz.errors import CatalogueError, ConfigError
from photoz.export import export_catalogue, find_format, locate_export
from photoz.export import fits as fits_module
from photoz.export.rows import measure_rows, select_rows
from photoz.export.settings import Export
from photoz.pdf import compute_pdfs, decode_quantiles
from photoz.schema import LEVELS, Flag

QUANTILES = "mlp_z_quantiles"


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> str:
    location = str(tmp_path_factory.mktemp("export") / "catalogue")
    sky = make_sky(700)
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(location, sky, z_phot, pdf=pdf, algorithm="mlp", order=5)
    return location


@pytest.fixture(scope="module")
def rows(catalogue: str) -> pa.Table:
    assert len(list_partitions(catalogue)) > 2
    return read_all(catalogue)


def get_redshifts(rows: pa.Table) -> np.ndarray:
    return decode_quantiles(unpack_codes(rows[QUANTILES]))


def rewrite(catalogue: str, folder: Path, change: Callable[[pa.Table], pa.Table]) -> str:
    """Copy a catalogue with each partition's rows changed."""
    copy = str(folder / "changed")
    shutil.copytree(catalogue, copy)
    for partition in list_partitions(copy):
        file = locate_partition(f"{copy}/{PRIMARY}", partition)
        pq.write_table(change(pq.read_table(file, partitioning=None)), file)
    return copy


def test_fits_holds_the_rows_with_units_and_vectors_of_redshifts(
    catalogue: str, rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits_module, "_ROWS", 50)  # several slices of a partition
    exported = export_catalogue(catalogue, Export(output=str(tmp_path / "galaxies.fits")))
    assert (exported.format, exported.rows) == ("fits", len(rows))
    assert Path(exported.location).stat().st_size % 2880 == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(exported.location) as opened:
            opened.verify("exception")
        table = Table.read(exported.location)
    assert table.colnames == rows.column_names
    assert table["ra"].unit == "deg"
    assert table["mag_auto"].unit == "mag"
    assert table[QUANTILES].shape == (len(rows), len(LEVELS))
    assert table[QUANTILES].dtype.str[1:] == "f4"
    np.testing.assert_array_equal(np.asarray(table[QUANTILES]), get_redshifts(rows).astype(np.float32))
    for name in rows.column_names[:-1]:
        np.testing.assert_array_equal(
            np.asarray(table[name]), rows[name].to_numpy(zero_copy_only=False).astype(table[name].dtype)
        )
    assert np.isnan(np.asarray(table[QUANTILES])[np.isnan(rows["z_phot"].to_numpy())]).all()


def test_identifiers_that_are_whole_numbers_are_written_as_such(catalogue: str, tmp_path: Path) -> None:
    def number(rows: pa.Table) -> pa.Table:
        # 19 digits, as Rubin's and Gaia's have.
        ids = pc.add(rows["_healpix_29"], 6_000_000_000_000_000_000).cast(pa.string())
        return rows.set_column(rows.schema.get_field_index("object_id"), rows.schema.field("object_id"), ids)

    copy = rewrite(catalogue, tmp_path, number)
    expected = read_all(copy)["object_id"].cast(pa.int64()).to_numpy()
    table = Table.read(export_catalogue(copy, Export(output=str(tmp_path / "a.fits"))).location)
    assert table["object_id"].dtype.str[1:] == "i8"
    np.testing.assert_array_equal(np.asarray(table["object_id"]), expected)


@pytest.mark.parametrize("odd", ["007", "9223372036854775808", "", "1.5", "x"])
def test_one_identifier_that_is_none_makes_all_of_them_text(catalogue: str, tmp_path: Path, odd: str) -> None:
    def number(rows: pa.Table) -> pa.Table:
        ids = [str(n) for n in range(len(rows) - 1)] + [odd]
        return rows.set_column(rows.schema.get_field_index("object_id"), rows.schema.field("object_id"), pa.array(ids))

    copy = rewrite(catalogue, tmp_path, number)
    assert measure_rows(select_rows(copy, Export())).whole == frozenset()
    table = Table.read(export_catalogue(copy, Export(output=str(tmp_path / "a.fits"), columns=("object_id",))).location)
    assert table.colnames == ["object_id"]
    assert odd in table["object_id"].tolist()


def test_carried_columns_of_any_kind_come_through_fits(catalogue: str, tmp_path: Path) -> None:
    def carry(rows: pa.Table) -> pa.Table:
        count = len(rows)
        extra = {
            "star": pa.array([n % 3 == 0 for n in range(count)]),
            "count": pa.array([None if n == 1 else n for n in range(count)], pa.int16()),
            "bits": pa.array([2**40 + n for n in range(count)], pa.uint64()),
            "note": pa.array([None if n == 1 else "x" * (n % 7) for n in range(count)], pa.large_string()),
        }
        for name, values in extra.items():
            rows = rows.append_column(name, values)
        return rows

    copy = rewrite(catalogue, tmp_path, carry)
    expected = read_all(copy)
    table = Table.read(export_catalogue(copy, Export(output=str(tmp_path / "a.fits"))).location)
    assert table["star"].tolist() == expected["star"].to_pylist()
    assert table["bits"].tolist() == expected["bits"].to_pylist()
    assert table["count"].filled(-9).tolist() == pc.fill_null(expected["count"], -9).to_pylist()
    assert table["note"].filled("").tolist() == pc.fill_null(expected["note"], "").to_pylist()


def test_what_fits_cannot_hold_is_refused_by_name(catalogue: str, tmp_path: Path) -> None:
    output = str(tmp_path / "a.fits")
    letters = rewrite(catalogue, tmp_path / "1", lambda rows: replace(rows, "tile", ["Ärger"] * len(rows)))
    with pytest.raises(CatalogueError, match="tile holds 'Ärger'"):
        export_catalogue(letters, Export(output=output))
    assert not Path(output).exists()
    lists = rewrite(catalogue, tmp_path / "2", lambda rows: rows.append_column("a", pa.array([{"b": 1}] * len(rows))))
    with pytest.raises(CatalogueError, match="column a is of the type struct"):
        export_catalogue(lists, Export(output=output))


def replace(rows: pa.Table, name: str, values: list[str]) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, pa.array(values))


def test_csv_has_a_column_a_quantile_and_empty_fields(catalogue: str, rows: pa.Table, tmp_path: Path) -> None:
    exported = export_catalogue(catalogue, Export(output=str(tmp_path / "galaxies.csv")))
    frame = pd.read_csv(exported.location)
    assert len(frame) == exported.rows == len(rows)
    names = [name for name in frame if name.startswith("mlp_z_q")]
    assert len(names) == len(LEVELS)
    assert (names[0], names[3], names[13], names[-1]) == ("mlp_z_q0p1", "mlp_z_q2p5", "mlp_z_q50", "mlp_z_q99p9")
    # The shortest text that gives the float32 back has four digits, as what is stored has.
    np.testing.assert_allclose(frame[names].to_numpy(), get_redshifts(rows), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(frame["ra"].to_numpy(), rows["ra"].to_numpy())
    np.testing.assert_array_equal(frame["z_phot"].to_numpy().astype(np.float32), rows["z_phot"].to_numpy())
    assert "nan" not in Path(exported.location).read_text()


def test_one_parquet_file_is_the_catalogue_itself(catalogue: str, rows: pa.Table, tmp_path: Path) -> None:
    exported = export_catalogue(catalogue, Export(output=str(tmp_path / "galaxies.parquet")))
    assert_same_rows(pq.read_table(exported.location), rows)


@pytest.mark.parametrize("kind", ["fits", "csv", "parquet"])
def test_rows_and_columns_are_chosen(catalogue: str, rows: pa.Table, tmp_path: Path, kind: str) -> None:
    output = str(tmp_path / f"some.{kind}")
    chosen = Export(
        output=output, columns=("z_phot", "object_id", QUANTILES), exclude_flags=("MASKED_PIXELS",), estimated=True
    )
    exported = export_catalogue(catalogue, chosen)
    kept = ((rows["flags"].to_numpy() & Flag.MASKED_PIXELS) == 0) & np.isfinite(rows["z_phot"].to_numpy())
    assert 0 < exported.rows == kept.sum() < len(rows)
    read = {"fits": Table.read, "csv": pd.read_csv, "parquet": pq.read_table}
    found = read[kind](output)
    names = found.columns if kind == "csv" else found.colnames if kind == "fits" else found.column_names
    assert list(names)[:2] == ["z_phot", "object_id"]
    ids = found["object_id"].to_pylist() if kind == "parquet" else list(found["object_id"])
    assert ids == rows["object_id"].filter(pa.array(kept)).to_pylist()


def test_no_row_at_all_gives_a_file_without_rows(catalogue: str, tmp_path: Path) -> None:
    lost = rewrite(
        catalogue,
        tmp_path,
        lambda rows: replace(rows, "object_id", ["7"] * len(rows)).set_column(
            rows.schema.get_field_index("flags"), rows.schema.field("flags"), pa.array([1] * len(rows), pa.int32())
        ),
    )
    nothing = {"exclude_flags": ("BAND_NOT_DETECTED",)}
    assert len(Table.read(export_catalogue(lost, Export(output=str(tmp_path / "a.fits"), **nothing)).location)) == 0
    assert len(pd.read_csv(export_catalogue(lost, Export(output=str(tmp_path / "a.csv"), **nothing)).location)) == 0
    assert len(pq.read_table(export_catalogue(lost, Export(output=str(tmp_path / "a.pq"), **nothing)).location)) == 0
    pytest.importorskip("qp")
    with pytest.raises(CatalogueError, match="no row with p"):
        export_catalogue(lost, Export(output=str(tmp_path / "a.hdf5"), format="qp", **nothing))


@pytest.mark.parametrize("kind", ["quant", "interp"])
def test_qp_reads_the_ensemble(catalogue: str, rows: pa.Table, tmp_path: Path, kind: str) -> None:
    qp = pytest.importorskip("qp")
    exported = export_catalogue(catalogue, Export(output=str(tmp_path / "pdf.hdf5"), format="qp", qp=kind))
    known = np.isfinite(rows["z_phot"].to_numpy())
    ensemble = qp.read(exported.location)
    assert ensemble.npdf == exported.rows == known.sum() < len(rows)
    assert [str(each) for each in ensemble.ancil["object_id"]] == rows["object_id"].filter(pa.array(known)).to_pylist()
    np.testing.assert_array_equal(ensemble.ancil["z_phot"], rows["z_phot"].to_numpy()[known])
    z_NQ, grid = get_redshifts(rows)[known], np.linspace(0.0, 3.0, 301)
    inside = z_NQ[:, 0] > 0.02
    found = ensemble.ppf(np.asarray(LEVELS))
    np.testing.assert_allclose(found[inside], z_NQ[inside], atol=1.1e-4 if kind == "quant" else 0.011)
    if kind == "interp":
        ours_NZ = compute_pdfs(z_NQ, grid)
        ours_NZ /= np.trapezoid(ours_NZ, grid, axis=1)[:, None]
        np.testing.assert_allclose(ensemble.pdf(grid), ours_NZ, rtol=1e-9, atol=1e-9)


def test_rails_reader_finds_the_columns_in_its_group(catalogue: str, rows: pa.Table, tmp_path: Path) -> None:
    tables_io = pytest.importorskip("tables_io")
    copy = rewrite(catalogue, tmp_path, lambda rows: rows.append_column("z_spec", rows["z_phot"]))
    exported = export_catalogue(copy, Export(output=str(tmp_path / "table.hdf5"), format="rail"))
    table = tables_io.read(exported.location)["photometry"]
    assert set(table) == {*rows.column_names, "redshift"}
    assert [each.decode() for each in table["object_id"]] == rows["object_id"].to_pylist()
    np.testing.assert_array_equal(table["redshift"], rows["z_phot"].to_numpy())
    np.testing.assert_array_equal(table[QUANTILES], get_redshifts(rows).astype(np.float32))


def test_carried_columns_of_any_kind_come_through_hdf5(catalogue: str, tmp_path: Path) -> None:
    """Missing values in some partitions and not in the first, which makes the columns of all."""
    h5py = pytest.importorskip("h5py")
    partitions: list[int] = []

    def carry(rows: pa.Table) -> pa.Table:
        partitions.append(len(rows))
        lacking = 0 if len(partitions) > 1 else -1
        numbers = [None if row == lacking else row - 5 for row in range(len(rows))]
        extra = {
            "star": pa.array([row % 3 == 0 for row in range(len(rows))]),
            "whole": pa.array(range(len(rows)), pa.int16()),
            "count": pa.array(numbers, pa.int32()),
            "seen": pa.array([None if number is None else number > 0 for number in numbers], pa.bool_()),
            "note": pa.array([None if number is None else "ü" * (number % 4) for number in numbers], pa.string()),
        }
        for name, values in extra.items():
            rows = rows.append_column(name, values)
        return rows

    copy = rewrite(catalogue, tmp_path, carry)
    expected = read_all(copy)
    with h5py.File(export_catalogue(copy, Export(output=str(tmp_path / "t.hdf5"), format="rail")).location) as file:
        found = {name: file["photometry"][name][:] for name in ("star", "whole", "count", "seen", "note")}
    assert found["star"].tolist() == expected["star"].to_pylist()
    assert (found["whole"].dtype, found["whole"].tolist()) == (np.dtype("i2"), expected["whole"].to_pylist())
    for name in ("count", "seen"):
        np.testing.assert_array_equal(found[name], expected[name].cast(pa.float64()).to_numpy())
        assert np.isnan(found[name]).sum() == len(partitions) - 1
    assert [each.decode() for each in found["note"]] == pc.fill_null(expected["note"], "").to_pylist()


def test_what_hdf5_cannot_hold_is_refused_by_name(catalogue: str, tmp_path: Path) -> None:
    days = rewrite(catalogue, tmp_path, lambda rows: rows.append_column("day", pa.array([0] * len(rows), pa.date32())))
    output = str(tmp_path / "t.hdf5")
    with pytest.raises(CatalogueError, match=r"column day is of the type date32.*leave it out of export\.columns"):
        export_catalogue(days, Export(output=output, format="rail"))
    assert not Path(output).exists()
    chosen = Export(output=output, format="rail", columns=("object_id", "z_phot"))
    assert export_catalogue(days, chosen).rows == len(read_all(days))


def test_a_catalogue_without_densities_is_exported_but_not_as_an_ensemble(tmp_path: Path) -> None:
    sky, location = make_sky(40), str(tmp_path / "plain")
    write_photoz(location, sky, sky.z_spec)
    assert len(Table.read(export_catalogue(location, Export()).location)) == 40
    assert (tmp_path / "plain.fits").exists()
    with pytest.raises(CatalogueError, match="holds z_phot alone"):
        export_catalogue(location, Export(format="qp"))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"columns": ["mlp_z_mdian"]}, "nearest: mlp_z_median"),
        ({"exclude_flags": ["NONE"]}, "the flags are"),
        ({"output": "a.hdf5"}, r"one of \['qp', 'rail'\]"),
        ({"output": "a.txt"}, "does not tell the format"),
    ],
)
def test_settings_that_make_no_sense_are_refused(catalogue: str, settings: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        export_catalogue(catalogue, Export(**settings))


def test_no_file_is_put_into_the_catalogue(catalogue: str) -> None:
    with pytest.raises(ConfigError, match="lies within the catalogue"):
        export_catalogue(catalogue, Export(output=f"{catalogue}/galaxies.fits"))


def test_a_file_whose_name_tells_another_format_is_not_replaced(catalogue: str, tmp_path: Path) -> None:
    """Most likely it is the table that the catalogue was made from."""
    table = tmp_path / "t.parquet"
    table.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"ends as parquet, and export.format = 'csv': give a name"):
        export_catalogue(catalogue, Export(format="csv", output=str(table)))
    assert table.read_bytes() == b"mine"
    assert export_catalogue(catalogue, Export(format="csv", output=str(tmp_path / "t.csv"))).format == "csv"


def test_a_name_is_made_where_none_is_given() -> None:
    assert locate_export("s3://bucket/run/", Export()) == "s3://bucket/run.fits"
    assert locate_export("run", Export(format="qp")) == "run_qp.hdf5"
    assert find_format(Export(output="A.FITS")) == "fits"


def test_the_job_exports(catalogue: str, rows: pa.Table, tmp_path: Path) -> None:
    write_toml(make_config(tmp_path), tmp_path / "run.toml")
    command = [sys.executable, "jobs/export_catalogue.py", "--config", str(tmp_path / "run.toml")]
    command += ["--set", f"locations.catalogue={catalogue}", "--set", f"export.output={tmp_path / 'a.csv'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert f"{len(rows)} rows as csv: {tmp_path / 'a.csv'}" in done.stdout
