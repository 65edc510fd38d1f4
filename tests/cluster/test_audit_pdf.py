"""p(z) through a whole run: inference, margin, audit, lsdb; and the right finding for each kind of damage."""

from collections.abc import Callable
from pathlib import Path

import lsdb
import numpy as np
import pyarrow as pa
import pytest
from ingested import ingest_every, partition
from pdf_double import DoubleEstimator, known
from runs import read_all
from test_audit import MARGIN_ARCSEC, Copy, copy_catalogue, list_failed
from tiny_survey import make_catalogue, make_config, write_catalogue, write_survey

from cluster.inference.run import infer_catalogue
from photoz.audit.densities import check_densities
from photoz.catalogue.hats import MARGIN, list_partitions, read_partition
from photoz.catalogue.quantiles import pack_codes, unpack_codes
from photoz.pdf import read_pdfs
from photoz.pdf.quantiles import MISSING
from photoz.schema import LEVELS, Flag, make_catalogue_schema
from photoz.settings.config import Config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A catalogue with p(z) of a tile, in partitions small enough to have rows in margins."""
    folder = tmp_path_factory.mktemp("audit-pdf")
    survey = write_survey(folder, ("180.0_-0.5",), shape=(64, 64))
    for seed, tile in enumerate(survey.catalogues):
        table = make_catalogue(tile, 120, width_deg=0.5, seed=seed)
        table["MAG_GAAP_r"][:3] = 99.0
        write_catalogue(survey.path(tile, "ugriZYJHKs_cat"), table)
    sources = {"rows_per_partition": 40, "highest_order": 9, "margin_arcsec": MARGIN_ARCSEC}
    config = make_config(folder, sources=sources, engine={"name": "serial"}, inference={"estimator": "double"})
    assert [outcome.problem for outcome in ingest_every(config)] == [""]
    partition(config)
    DoubleEstimator(config.survey.bands).save(f"{config.locations.models}/double")
    with known():
        infer_catalogue(config)
    return config


def test_a_run_with_densities_is_clean_and_has_them_in_its_margin(finished: Config) -> None:
    assert list_failed(Copy(finished).audit()) == set()
    margin = f"{finished.locations.catalogue}/{MARGIN}"
    rows = [read_partition(margin, partition) for partition in list_partitions(margin)]
    assert sum(map(len, rows)) > 0
    assert all(table.schema.equals(make_catalogue_schema("double"), check_metadata=True) for table in rows)


def test_lsdb_reads_the_lists_and_they_are_what_read_pdfs_gives(finished: Config) -> None:
    catalogue = lsdb.open_catalog(finished.locations.catalogue)
    frame = catalogue.cone_search(180.0, -0.5, 3600).compute()
    rows = read_all(finished.locations.catalogue)
    assert 0 < len(frame) <= len(rows)
    codes = np.stack([np.asarray(row) for row in frame["double_z_quantiles"]])
    assert codes.shape == (len(frame), len(LEVELS))
    densities = read_pdfs(finished.locations.catalogue, frame["object_id"].tolist())
    np.testing.assert_array_equal(np.isnan(densities.quantiles_NQ), codes == MISSING)
    np.testing.assert_allclose(np.nan_to_num(densities.quantiles_NQ, nan=6.5535), codes * 1e-4, atol=1e-9)
    assert np.isnan(densities.quantiles_NQ).any()  # the galaxies without r


def test_lsdb_nests_the_lists(finished: Config) -> None:
    catalogue = lsdb.open_catalog(finished.locations.catalogue)
    nested = catalogue.nest_lists(list_columns=["double_z_quantiles"], name="pdf").compute()
    rows = read_all(finished.locations.catalogue)
    assert len(nested) == len(rows)
    codes = nested["pdf.double_z_quantiles"].to_numpy().reshape(len(nested), -1)
    assert codes.shape == (len(rows), len(LEVELS))
    assert codes.sum() == unpack_codes(rows["double_z_quantiles"]).sum()


def change_codes(rows: pa.Table, change: Callable[[np.ndarray], None]) -> pa.Table:
    codes = unpack_codes(rows["double_z_quantiles"]).copy()
    change(codes)
    return replace(rows, "double_z_quantiles", pack_codes(codes))


def replace(rows: pa.Table, name: str, values: pa.Array | np.ndarray) -> pa.Table:
    place = rows.schema.get_field_index(name)
    field = rows.schema.field(name)
    return rows.set_column(place, field, pa.array(values) if isinstance(values, np.ndarray) else values)


def edit(rows: pa.Table, name: str, row: int, value: float) -> pa.Table:
    values = rows[name].to_numpy().copy()
    values[row] = value
    return replace(rows, name, values)


def swap(codes: np.ndarray, row: int) -> None:
    codes[row, :2] = codes[row, 1], codes[row, 0]


DAMAGE: dict[str, tuple[Callable[[pa.Table, int], pa.Table], str]] = {
    "fall": (lambda rows, row: change_codes(rows, lambda codes: swap(codes, row)), "quantiles that fall"),
    "lost": (
        lambda rows, row: change_codes(rows, lambda codes: codes.__setitem__(row, MISSING)),
        "have a z_phot and no quantiles",
    ),
    "some": (
        lambda rows, row: change_codes(rows, lambda codes: codes.__setitem__((row, -1), MISSING)),
        "lack some of their quantiles",
    ),
    "limit": (lambda rows, row: edit(rows, "double_z_err68_low", row, 0.5), "another z_err68_low"),
    "odds": (lambda rows, row: edit(rows, "double_odds", row, 1.2), "odds outside 0 to 1"),
    "mean": (lambda rows, row: edit(rows, "double_z_mean", row, np.nan), "z_phot without it"),
    "flag": (lambda rows, row: edit(rows, "flags", row, 0), "above 1 and not OUTSIDE_TRAINING"),
    "near": (lambda rows, row: edit(rows, "double_training_distance", row, 0.5), "that is not above 1"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_to_densities_is_found(finished: Config, kind: str) -> None:
    damage, problem = DAMAGE[kind]
    partition = list_partitions(finished.locations.catalogue)[0]
    rows = read_partition(finished.locations.catalogue, partition)
    row = rows["flags"].to_pylist().index(Flag.OUTSIDE_TRAINING)
    findings = list(check_densities(partition, damage(rows, row), "double"))
    assert any(problem in finding.detail for finding in findings)
    assert {name for finding in findings for name in finding.ids} == {rows["object_id"][row].as_py()}
    assert list(check_densities(partition, rows, "double")) == []


def test_a_run_reports_damage_to_densities(finished: Config, tmp_path: Path) -> None:
    copy = copy_catalogue(finished, tmp_path)
    partition = copy.partitions[0]
    rows = copy.read(partition)
    row = next(n for n, flags in enumerate(rows["flags"].to_pylist()) if flags == 0 or flags == Flag.OUTSIDE_TRAINING)
    copy.write_with_records(partition, edit(rows, "double_odds", row, 1.2))
    assert "p(z)" in list_failed(copy.audit())
