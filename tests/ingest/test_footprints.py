"""Which tile holds a source best: the one whose edge is farthest, wherever the tiles lie."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_survey import make_wcs

from photoz.ingest.footprints import Footprint, assign_tiles, measure_depth

SHAPE = (100, 80)
SCALE = 0.2 / 3600


def make_footprint(name: str, ra: float, dec: float, shape: tuple[int, int] = SHAPE) -> Footprint:
    return Footprint(name, make_wcs(ra, dec, shape).to_header().tostring(sep="\n"), shape)


def read_wcs(footprint: Footprint) -> WCS:
    return WCS(fits.Header.fromstring(footprint.wcs, sep="\n"))


def test_depth_is_the_distance_to_the_nearest_edge() -> None:
    wcs = make_wcs(10.0, 0.0, SHAPE)
    # 0-based pixels x, y: a corner's middle, the image's middle, on its left edge, outside.
    ra, dec = wcs.all_pix2world([0, 39.5, -0.5, -3], [0, 49.5, 50, 50], 0)
    np.testing.assert_allclose(measure_depth(wcs, SHAPE, ra, dec), [0.5, 40, 0, -2.5], atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(ra=st.sampled_from([0.0, 0.001, 180.0, 359.999]), dec=st.sampled_from([0.0, -60.0, 89.9]))
def test_a_source_goes_to_the_tile_in_which_it_lies_deepest(ra: float, dec: float) -> None:
    # Side by side along declination, 20 rows in common.
    step = (SHAPE[0] - 20) * SCALE
    tiles = [make_footprint(f"T{n}", ra, dec + n * step) for n in range(3)]
    wcs = make_wcs(ra, dec, SHAPE)
    # On the first tile alone, in the lower half of what it has in common with the second, in the upper half, and above
    # and beside all.
    ra_N, dec_N = wcs.all_pix2world([40, 40, 40, 40, 140], [20, 85, 94, 300, 50], 0)
    assert assign_tiles(np.asarray(ra_N), np.asarray(dec_N), tiles).tolist() == [0, 0, 1, -1, -1]


def test_all_sources_of_a_grid_get_the_deepest_tile_as_by_looking_at_each() -> None:
    rng = np.random.default_rng(2)
    tiles = [make_footprint(f"T{n}", 150 + rng.normal(0, 0.004), 2 + rng.normal(0, 0.004)) for n in range(12)]
    ra_N, dec_N = 150 + rng.normal(0, 0.006, 2000), 2 + rng.normal(0, 0.006, 2000)
    depths = np.array([measure_depth(read_wcs(each), each.shape, ra_N, dec_N) for each in tiles])
    expected = np.where(depths.max(axis=0) > 0, depths.argmax(axis=0), -1)
    np.testing.assert_array_equal(assign_tiles(ra_N, dec_N, tiles), expected)
    assert (expected < 0).any()
    assert len(set(expected.tolist())) > 5


@pytest.mark.parametrize("count", [0, 3])
def test_without_sources_or_tiles_none_is_given(count: int) -> None:
    nowhere = np.full(count, 10.0)
    assert assign_tiles(nowhere, nowhere, []).tolist() == [-1] * count
    assert assign_tiles(np.empty(0), np.empty(0), [make_footprint("T", 10, 10)]).tolist() == []
