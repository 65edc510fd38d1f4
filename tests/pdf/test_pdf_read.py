"""p(z) read back from a catalogue: order, missing rows, unknown ids, what is read, and qp."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm
from tiny_catalogues import make_pdfs, make_sky, write_photoz

from photoz.catalogue.hats import list_partitions, locate_partition, locate_primary
from photoz.errors import CatalogueError
from photoz.pdf.read import _find_range, _make_grid, read_pdfs, to_qp
from photoz.schema import LEVELS

GRID = np.linspace(0.0, 1.5, 751)


@pytest.fixture(scope="module")
def sky():
    return make_sky(600)


@pytest.fixture(scope="module")
def z_phot(sky):
    return make_pdfs(sky, width=0.02, claimed=0.02)[0]


@pytest.fixture(scope="module")
def catalogue(sky, tmp_path_factory) -> str:
    location = str(tmp_path_factory.mktemp("read") / "catalogue")
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    write_photoz(location, sky, z_phot, pdf=pdf)
    return location


def test_densities_come_in_the_order_of_the_ids_on_the_grid_asked_for(catalogue: str, sky, z_phot) -> None:
    chosen = np.random.default_rng(1).permutation(np.flatnonzero(z_phot > 0.15))[:200]
    chosen = np.append(chosen, chosen[:3])  # ids may come again
    densities = read_pdfs(catalogue, list(sky.object_id[chosen]), GRID)
    assert densities.object_id.tolist() == sky.object_id[chosen].tolist()
    widths = 0.02 * (1 + sky.z_spec[chosen])
    expected = norm.pdf(GRID[None], z_phot[chosen, None], widths[:, None])
    np.testing.assert_allclose(densities.pdf_NZ, expected, atol=0.05 * expected.max())


def test_the_grid_made_spans_the_densities(catalogue: str, sky, z_phot) -> None:
    densities = read_pdfs(catalogue, sky.object_id[z_phot > 0.2][:50])
    np.testing.assert_allclose(np.trapezoid(densities.pdf_NZ, densities.z_grid, axis=1), 1.0, atol=0.01)


def test_galaxies_without_an_estimate_give_nan(catalogue: str, sky, z_phot) -> None:
    lost = np.flatnonzero(np.isnan(z_phot))
    densities = read_pdfs(catalogue, [sky.object_id[lost[0]], sky.object_id[0]], GRID)
    assert np.isnan(densities.pdf_NZ).all(axis=1).tolist() == [True, False]


def test_unknown_ids_are_named(catalogue: str, sky) -> None:
    with pytest.raises(CatalogueError, match=r"2 of 3 ids, 'J0', 'zz' first"):
        read_pdfs(catalogue, ["zz", "J0", sky.object_id[0]])


def test_no_ids_give_no_rows(catalogue: str) -> None:
    assert read_pdfs(catalogue, [], GRID).pdf_NZ.shape == (0, len(GRID))


def test_only_the_files_that_may_hold_the_ids_are_read(catalogue: str, sky, monkeypatch) -> None:
    read = []
    original = pq.ParquetFile.read
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda self, columns: read.append(columns[0]) or original(self, columns=columns)
    )
    read_pdfs(catalogue, sky.object_id[:1], GRID)
    assert read.count("double_z_quantiles") == 1
    assert set(read) == {"object_id", "double_z_quantiles"}
    read.clear()
    with pytest.raises(CatalogueError):
        read_pdfs(catalogue, ["A before all"], GRID)
    assert read == []  # the statistics tell


def test_a_catalogue_of_lists_of_one_length_is_read_as_before(catalogue: str, sky, tmp_path: Path) -> None:
    """The type that catalogues had until their quantiles became lists that lsdb nests."""
    old = tmp_path / "old"
    shutil.copytree(catalogue, old)
    for file in old.rglob("Npix=*.parquet"):
        rows = pq.read_table(file, partitioning=None)
        kind = pa.list_(pa.field("element", pa.uint16()), len(LEVELS))
        place = rows.schema.get_field_index("double_z_quantiles")
        fixed = pa.array(rows["double_z_quantiles"].to_pylist(), kind)
        pq.write_table(rows.set_column(place, rows.schema.field(place).with_type(kind), fixed), file)
    found, expected = (read_pdfs(str(location), sky.object_id[:50]) for location in (old, catalogue))
    np.testing.assert_array_equal(found.quantiles_NQ, expected.quantiles_NQ)


def test_a_catalogue_without_densities_says_so(tmp_path: Path, sky, z_phot) -> None:
    write_photoz(str(tmp_path / "plain"), sky, z_phot)
    with pytest.raises(CatalogueError, match="holds no p\\(z\\)"):
        read_pdfs(str(tmp_path / "plain"), sky.object_id[:1])


def test_qp_gives_the_same_densities(catalogue: str, sky, z_phot) -> None:
    pytest.importorskip("qp")
    densities = read_pdfs(catalogue, sky.object_id[:100], GRID)
    ensemble = to_qp(densities)
    known = np.isfinite(z_phot[:100])
    assert ensemble.ancil["object_id"].tolist() == sky.object_id[:100][known].tolist()
    expected = densities.pdf_NZ[known] / np.trapezoid(densities.pdf_NZ[known], GRID, axis=1)[:, None]
    np.testing.assert_allclose(ensemble.pdf(GRID), expected, rtol=1e-6, atol=1e-9)


def test_without_qp_the_package_is_named(catalogue: str, sky, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "qp", None)
    with pytest.raises(ImportError, match="qp-prob"):
        to_qp(read_pdfs(catalogue, sky.object_id[:1], GRID))


@pytest.fixture
def damaged(tmp_path: Path, sky) -> tuple[str, Path]:
    """A catalogue of its own to spoil, and the file of its first partition."""
    z_phot, pdf = make_pdfs(sky, width=0.02, claimed=0.02)
    location = str(tmp_path / "damaged")
    write_photoz(location, sky, z_phot, pdf=pdf)
    return location, Path(locate_partition(locate_primary(location), list_partitions(location)[0]))


def test_a_lost_and_a_damaged_file_are_named_with_what_to_do(damaged: tuple[str, Path], sky) -> None:
    location, file = damaged
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(CatalogueError, match=r"cannot read .*parquet .*remove it and run the job again"):
        read_pdfs(location, sky.object_id)
    file.unlink()
    with pytest.raises(CatalogueError, match=r"Norder=4_Npix=\d+ has no file .*run the job again"):
        read_pdfs(location, sky.object_id)


def test_a_file_without_statistics_is_read_all_the_same(damaged: tuple[str, Path], catalogue: str, sky) -> None:
    location, file = damaged
    pq.write_table(pq.read_table(file, partitioning=None), file, write_statistics=False)
    assert _find_range(pq.read_metadata(file), np.array(["a", "b"])) == (0, 2)
    found, expected = (read_pdfs(each, sky.object_id, GRID).quantiles_NQ for each in (location, catalogue))
    np.testing.assert_array_equal(found, expected)


def test_statistics_span_all_row_groups(tmp_path: Path) -> None:
    file = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"object_id": ["d", "f", "b", "e"]}), file, row_group_size=2)
    wanted = np.array(["a", "b", "c", "f", "g"])
    assert _find_range(pq.read_metadata(file), wanted) == (1, 4)
    pq.write_table(pa.table({"object_id": pa.array([], pa.string())}), file)
    first, last = _find_range(pq.read_metadata(file), wanted)
    assert first == last or (first, last) == (0, 5)  # a file without rows: none, or no statistics


def test_a_grid_reaches_beyond_the_highest_quantile_and_is_there_without_any() -> None:
    quantiles = np.full((2, len(LEVELS)), np.nan)
    assert _make_grid(quantiles)[[0, -1]].tolist() == pytest.approx([0.0, 0.105])
    assert _make_grid(np.empty((0, len(LEVELS))))[-1] == pytest.approx(0.105)
    quantiles[0] = np.linspace(0.2, 2.0, len(LEVELS))
    grid = _make_grid(quantiles)
    assert (len(grid), grid[-1]) == (301, pytest.approx(2.1))


def test_the_same_id_twice_gives_the_same_row_twice(catalogue: str, sky) -> None:
    densities = read_pdfs(catalogue, [sky.object_id[3], sky.object_id[0], sky.object_id[3]], GRID)
    np.testing.assert_array_equal(densities.pdf_NZ[0], densities.pdf_NZ[2])
    assert densities.object_id.tolist() == [sky.object_id[3], sky.object_id[0], sky.object_id[3]]


def test_an_identifier_of_two_rows_is_refused(damaged: tuple[str, Path], sky) -> None:
    location, file = damaged
    rows = pq.read_table(file, partitioning=None)
    ids = rows["object_id"].to_pylist()
    pq.write_table(pa.concat_tables([rows, rows.slice(0, 1)]), file)
    with pytest.raises(CatalogueError, match=rf"more than one row of 1 of the ids, '{ids[0]}' first"):
        read_pdfs(location, ids)
    assert read_pdfs(location, ids[1:]).object_id.tolist() == ids[1:]
