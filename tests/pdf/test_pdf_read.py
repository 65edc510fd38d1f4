"""p(z) read back from a catalogue: order, missing rows, unknown ids, what is read, and qp."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm
from tiny_catalogues import make_pdfs, make_sky, write_photoz

from photoz.errors import CatalogueError
from photoz.pdf import read_pdfs, to_qp

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
