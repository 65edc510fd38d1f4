"""n(z) and the map of the sky: densities that integrate to one, cells in one piece wherever the field lies."""

import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix
from drawn import list_legend, list_steps, list_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection

from photoz.plots.catalogue import (
    SkyCounts,
    _find_start,
    _rebin,
    _unwrap,
    plot_redshift_distribution,
    plot_sky,
)
from photoz.plots.style import Sample


def find_cells(order: int, ra: list[float], dec: list[float]) -> np.ndarray:
    grid = HEALPix(nside=2**order, order="nested")
    return np.unique(grid.lonlat_to_healpix(np.array(ra) * units.deg, np.array(dec) * units.deg))


def list_polygons(axes) -> list[np.ndarray]:
    collections = [collection for collection in axes.collections if isinstance(collection, PolyCollection)]
    return [path.vertices[:4] for collection in collections for path in collection.get_paths()]


def test_every_density_integrates_to_one() -> None:
    rng = np.random.default_rng(3)
    z = rng.gamma(4.0, 0.06, 900)
    fine = np.linspace(-0.1, 3.0, 621)
    counts = np.histogram(z, fine)[0].astype(float)
    samples = [Sample("one", z + 0.01, z), Sample("two", np.where(np.arange(900) % 3 == 0, np.nan, z), z)]
    (axes,) = plot_redshift_distribution(samples, ("whole", counts, fine)).axes
    steps = list_steps(axes)
    assert len(steps) == 4
    for density, edges in steps:
        assert edges[0] >= 0.0
        assert np.sum(density * np.diff(edges)) == pytest.approx(1.0)
    assert list_legend(axes)[-1] == "whole"
    assert axes.get_xlim() == (steps[0][1][0], steps[0][1][-1])


@pytest.mark.parametrize(("count", "bins"), [(1, 10), (400, 10), (2500, 25), (40_000, 50)])
def test_bins_grow_with_the_root_of_the_sample_within_bounds(count: int, bins: int) -> None:
    z = np.linspace(0.1, 0.6, count)
    density, edges = list_steps(plot_redshift_distribution([Sample("s", z, z)]).axes[0])[0]
    assert len(density) == bins == len(edges) - 1


@pytest.mark.parametrize("samples", [[], [Sample("s", np.array([0.1]), np.array([np.nan]))]])
def test_a_distribution_of_nobody_says_so(samples) -> None:
    assert list_texts(plot_redshift_distribution(samples)) == ["no galaxies"]


def test_a_whole_catalogue_without_rows_is_a_line_at_zero() -> None:
    z = np.linspace(0.1, 0.5, 50)
    (axes,) = plot_redshift_distribution([Sample("s", z, z)], ("whole", np.zeros(10), np.linspace(0, 1, 11))).axes
    assert (list_steps(axes)[-1][0] == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=4, max_size=30), st.integers(1, 9))
def test_other_bins_keep_every_galaxy(counts: list[int], bins: int) -> None:
    fine = np.linspace(0.0, 1.0, len(counts) + 1)
    edges = np.concatenate([[0.0], np.sort(np.random.default_rng(bins).random(bins - 1)), [1.0]])
    rebinned = _rebin(np.array(counts, float), fine, edges)
    assert rebinned.sum() == pytest.approx(sum(counts))
    assert (rebinned >= -1e-9).all()


def test_half_a_fine_bin_has_half_of_its_galaxies() -> None:
    assert _rebin(np.array([4.0, 8.0]), np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.5])).tolist() == [6.0]
    # Beyond what was counted there is nobody.
    assert _rebin(np.array([4.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.5, 7.0])).tolist() == [2.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 359.99), min_size=1, max_size=12))
def test_the_axis_begins_after_the_widest_gap(ra: list[float]) -> None:
    start = _find_start(np.array(ra))
    spread = np.mod(np.array(ra) - start, 360.0)
    # Begun at any of the others, the field would be at least as wide.
    others = [np.mod(np.array(ra) - each, 360.0).max() for each in ra]
    assert spread.max() <= min(others) + 1e-9


def test_a_field_across_the_origin_begins_before_it() -> None:
    assert _find_start(np.array([0.5, 359.5, 0.0])) == 359.5
    assert _find_start(np.array([10.0])) == 10.0
    assert _find_start(np.array([0.5, 360.5])) == 0.5


def test_corners_of_a_cell_across_the_origin_stay_together() -> None:
    corners = np.array([[[359.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]])
    moved = _unwrap(corners, 358.0)
    assert np.ptp(moved[0, :, 0]) == pytest.approx(2.0)
    assert moved[0, :, 0].mean() == pytest.approx(360.0)
    assert moved[..., 1].tolist() == corners[..., 1].tolist()


def test_the_density_is_per_square_degree() -> None:
    # 41,253 square degrees in 12 x 4^6 cells of order 6.
    cells = find_cells(6, [180.0, 185.0, 190.0], [0.0, 0.0, 0.0])
    figure = plot_sky(SkyCounts(6, cells, np.full(cells.size, 84), []))
    (collection,) = [each for each in figure.axes[0].collections if isinstance(each, PolyCollection)]
    area = 41_252.96 / (12 * 4**6)
    assert np.asarray(collection.get_array()) == pytest.approx(np.full(3, 84 / area), rel=1e-6)
    assert "galaxies per deg$^2$" in [axes.get_ylabel() for axes in figure.axes[0].child_axes]


def test_a_dense_map_is_per_square_arcminute() -> None:
    cells = find_cells(8, [10.0, 11.0], [0.0, 0.0])
    figure = plot_sky(SkyCounts(8, cells, np.full(2, 10_000), []))
    (collection,) = figure.axes[0].collections
    area = 41_252.96 * 3600 / (12 * 4**8)
    assert np.asarray(collection.get_array()) == pytest.approx(np.full(2, 10_000 / area), rel=1e-6)
    assert "galaxies per arcmin$^2$" in [axes.get_ylabel() for axes in figure.axes[0].child_axes]


@pytest.mark.parametrize("ra", [0.0, 180.0, 359.9])
def test_right_ascension_grows_to_the_left_and_its_labels_stay_below_360(ra: float) -> None:
    around = [ra - 1.0, ra, ra + 1.0]
    cells = find_cells(7, [value % 360 for value in around], [-30.0] * 3)
    axes = plot_sky(SkyCounts(7, cells, np.ones_like(cells), [])).axes[0]
    left, right = axes.get_xlim()
    assert 1.5 < left - right < 4.0
    labels = [float(axes.xaxis.get_major_formatter()(tick, 0)) for tick in axes.get_xticks()]
    assert all(0 <= label < 360 for label in labels)


def test_partitions_are_outlined_around_the_cells_they_hold() -> None:
    cells = find_cells(8, [0.2, 359.8], [10.0, 10.0])
    partitions = [(4, int(pixel)) for pixel in np.unique(cells >> 8)]
    axes = plot_sky(SkyCounts(8, cells, np.ones_like(cells), partitions)).axes[0]
    polygons = list_polygons(axes)
    assert len(polygons) == cells.size + len(partitions)
    cell, outlines = polygons[: cells.size], polygons[cells.size :]
    for corners in cell:
        middle = corners.mean(axis=0)
        assert any((o.min(axis=0) <= middle).all() and (middle <= o.max(axis=0)).all() for o in outlines)


def test_degrees_are_equally_long_at_the_middle_declination() -> None:
    ra, dec = np.meshgrid(np.arange(100.0, 112.0), np.arange(57.0, 63.0))
    cells = find_cells(6, ra.ravel().tolist(), dec.ravel().tolist())
    axes = plot_sky(SkyCounts(6, cells, np.ones_like(cells), [])).axes[0]
    assert axes.get_aspect() == pytest.approx(2.0, rel=0.05)  # 1 / cos(60 deg)


def test_a_strip_of_the_sky_keeps_a_height_that_can_be_seen() -> None:
    cells = find_cells(6, np.arange(100.0, 200.0).tolist(), [0.0] * 100)
    axes = plot_sky(SkyCounts(6, cells, np.ones_like(cells), [])).axes[0]
    assert axes.get_aspect() == "auto"


def test_an_empty_sky_says_so() -> None:
    empty = np.empty(0, np.int64)
    assert list_texts(plot_sky(SkyCounts(5, empty, empty, []))) == ["no galaxies"]
