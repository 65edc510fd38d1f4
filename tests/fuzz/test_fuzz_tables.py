"""Tables as nobody should write them, from their file to an audited catalogue: refused in words, or every row told."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as AstropyTable
from fuzzed import Odd, draw_tables, go_on
from hypothesis import strategies as st
from made_tables import write_hats, write_votable

import photoz
from cluster.audit import audit_catalogue
from cluster.engines.choose import open_engine
from cluster.inference.run import infer_catalogue
from cluster.tables.staging import prepare_sources
from cluster.tables.target import open_target, settle_survey
from photoz.comparison.plain import read_plain_catalogue
from photoz.errors import PhotozError
from photoz.measured import HIGHEST_REDSHIFT
from photoz.schema import Flag
from photoz.settings.config import Config, convert_config

FORMATS = ("parquet", "parts", "csv", "ecsv", "fits", "votable")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out what is told of each of a thousand tables."""
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def write(folder: Path, odd: Odd, form: str) -> str:
    """Write a table in a format, as far as that holds it: columns of other types are left out, as people would."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if form == "parquet":
        pq.write_table(odd.table, folder / "t.parquet")
        return str(folder / "t.parquet")
    if form == "parts":
        half = len(odd.table) // 2
        pq.write_table(odd.table.slice(0, half), folder / "a.parquet")
        pq.write_table(widen(odd.table.slice(half)), folder / "b.parquet")
        return str(folder)
    table = AstropyTable(masked=True)
    for name in odd.table.column_names:
        column = odd.table[name]
        if (
            not column.type.equals(pa.binary())
            and not pa.types.is_timestamp(column.type)
            and column.null_count < len(column)
        ):
            values = column.to_pandas().to_numpy()
            if values.dtype.kind == "O" and isinstance(values[0], np.ndarray):
                continue
            table[name] = np.ma.MaskedArray(make_plain(values, form), np.asarray(column.is_null()))
    ending = {"votable": "vot", "ecsv": "ecsv"}.get(form, form)
    location = folder / f"t.{ending}"
    if form == "votable":
        write_votable(location, table)
        return str(location)
    table.write(location, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(form, form))
    return str(location)


def make_plain(values: npt.NDArray[Any], form: str) -> npt.NDArray[Any]:
    """Make of a column what a format has a type for."""
    if values.dtype == np.float16:
        return values.astype(np.float32)
    if values.dtype.kind == "O" or (form == "votable" and values.dtype == np.uint64):
        return np.array(["" if value is None else str(value) for value in values.tolist()])
    return values


def widen(table: pa.Table) -> pa.Table:
    """Give the numbers of a part the type that other writers give them."""
    fields = [
        field.with_type(pa.float64()) if pa.types.is_float32(field.type) or pa.types.is_int16(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def check_result(odd: Odd, result: photoz.Result) -> None:
    """Check that each row of a table in memory came out, and none has a redshift of nothing."""
    assert len(result) == len(odd.table)
    check_redshifts(result, odd.hopeless_N)


def check_redshifts(result: photoz.Result, hopeless_N: npt.NDArray[np.bool_]) -> None:
    made_up_N = hopeless_N & np.isfinite(result.z_phot)
    assert not made_up_N.any(), (np.flatnonzero(made_up_N), result.flags[made_up_N])
    lost_N = ~np.isfinite(result.z_phot)
    assert ((result.flags[lost_N] & Flag.ESTIMATE_FAILED) != 0).all()


def fit_and_estimate(odd: Odd) -> None:
    try:
        model = photoz.fit(odd.table, estimator="knn")
        result = photoz.estimate(model, odd.table)
    except PhotozError:
        return
    check_result(odd, result)


def test_tables_in_memory() -> None:
    go_on(draw_tables(), fit_and_estimate, rounds=30)


def test_tables_in_memory_against_a_model(tame_model: photoz.Model) -> None:
    def estimate(odd: Odd) -> None:
        for table in (odd.table, odd.table.to_pandas(types_mapper=None)):
            try:
                result = photoz.estimate(tame_model, table)
            except PhotozError:
                continue
            check_result(odd, result)

    go_on(draw_tables(), estimate, rounds=8, share=0.5)


@pytest.fixture(scope="module")
def tame_model() -> photoz.Model:
    """A model of good galaxies."""
    rng = np.random.default_rng(1)
    z_N, base_N = rng.uniform(0.02, 0.9, 400), rng.normal(20.5, 0.8, 400)
    columns: dict[str, Any] = {"z_spec": z_N, "object_id": np.arange(400)}
    for place, band in enumerate("ugriz"):
        columns[f"mag_{band}"] = base_N + 1.5 * z_N - 2.0 * z_N * place / 5 + rng.normal(0, 0.02, 400)
        columns[f"magerr_{band}"] = np.full(400, 0.03)
    return photoz.fit(columns, "ugriz", estimator="knn")


def test_tables_of_every_format(tame_model: photoz.Model, tmp_path: Path) -> None:
    def read(example: tuple[Odd, str]) -> None:
        odd, form = example
        location = write(tmp_path / "t", odd, form)
        try:
            result = photoz.estimate(tame_model, location)
        except PhotozError:
            pass
        else:
            # In text "nan" is a name, and astropy has words of its own for text that is masked.
            kept_N = ~odd.nameless_N if len(result) < len(odd.table) else np.ones(len(odd.table), bool)
            assert len(result) == kept_N.sum()
            assert form not in ("parquet", "parts") or (kept_N == ~odd.nameless_N).all()
            check_redshifts(result, odd.hopeless_N[kept_N])
        try:
            found = read_plain_catalogue(location, "ugriz")
        except PhotozError:
            return
        assert ((found.sample.z_N > -1) & (found.sample.z_N <= HIGHEST_REDSHIFT)).all()
        assert not (found.sample.errors_NF <= 0).any()

    go_on(st.tuples(draw_tables(), st.sampled_from(FORMATS)), read, rounds=30)


def make_settings(folder: Path, location: str) -> Config:
    names = ("survey", "tiles", "training", "models", "report")
    return convert_config(
        {
            "run": {"name": "fuzz"},
            "locations": {name: str(folder / name) for name in names}
            | {"sources": str(folder / "out_sources"), "catalogue": str(folder / "out")},
            "engine": {"name": "serial", "retries": 0},
            "sources": {"rows_per_partition": 40, "highest_order": 6, "margin_arcsec": 0.0},
            "inference": {"estimator": "model"},
            "table": {"location": location},
        }
    )


def test_tables_to_audited_catalogues(tame_model: photoz.Model, tmp_path: Path) -> None:
    def run(example: tuple[Odd, bool]) -> None:
        odd, partitioned = example
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        folder = tmp_path / "run"
        folder.mkdir()
        tame_model.save(str(folder / "models" / "model"))
        location = str(folder / "table")
        if partitioned:
            # By a place of its own: the one that is read may be none.
            at = np.linspace(0, 1, len(odd.table))
            table = odd.table.append_column("lon", pa.array(50 + 5 * at)).append_column("lat", pa.array(at))
            write_hats(folder / "table", table, ra="lon", dec="lat")
        else:
            location = write(folder / "table", odd, "parquet")
        try:
            report, rows = estimate(make_settings(folder, location))
        except PhotozError:
            return
        # Every row of the table is one of the catalogue, or has no identifier or no position.
        assert rows == len(odd.table) - (odd.nameless_N | odd.unplaced_N).sum()
        assert {finding.check for finding in report.findings} <= {"duplicate ids"}

    go_on(st.tuples(draw_tables(tame=True, placed=True), st.sampled_from((True, True, True, False))), run, rounds=4)


def estimate(config: Config) -> tuple[Any, int]:
    target = open_target(config)
    assert target.placed
    config = msgspec.structs.replace(config, survey=settle_survey(config.survey, target))
    with open_engine(config.engine, config.storage_options) as engine:
        prepare_sources(config, target, engine)
        record = infer_catalogue(config)
        return audit_catalogue(config), record.rows
