"""Cutouts: windows of an image around sky positions."""

from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_survey import make_wcs

from photoz.cutouts import blank_unexposed, compute_windows, extract_cutouts, flag_cutouts
from photoz.errors import TileError
from photoz.schema import Flag
from photoz.tiles import Tile, TileTemplate, TileWriter, open_tile
from photoz.tiles.settings import Tiles

SHAPE = (300, 260)
SIZE = 36
BANDS = ("u", "g", "r")


def slice_padded(image: np.ndarray, y0: int, x0: int, size: int) -> np.ndarray:
    pad = 400
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), constant_values=np.nan)
    return padded[:, y0 + pad : y0 + pad + size, x0 + pad : x0 + pad + size]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(8).normal(size=(3, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def tile(image: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Tile:
    location = str(tmp_path_factory.mktemp("tiles"))
    writer = TileWriter(location, TileTemplate("T", BANDS, SHAPE), Tiles(chunk=32, shard=64))
    mask = np.zeros(SHAPE, np.uint8)
    mask[100, 100] = 1
    for y0 in range(0, SHAPE[0], 64):
        writer.write_rows(y0, {"image": image[:, y0 : y0 + 64], "mask": mask[y0 : y0 + 64]})
    writer.finish({"wcs": make_wcs(180.0, -0.5, SHAPE).to_header().tostring(sep="\n"), "checksum": "x"})
    return open_tile(location, "T")


def sky(tile: Tile, x: object, y: object) -> tuple[np.ndarray, np.ndarray]:
    ra, dec = tile.wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return ra, dec


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-60, 320), st.floats(-60, 360)), min_size=1, max_size=30))
def test_cutouts_equal_slices_at_the_nearest_pixel(
    tile: Tile, image: np.ndarray, places: list[tuple[float, float]]
) -> None:
    x, y = np.array(places).T
    # A position half-way between two pixels may fall to either side after its way over the sky.
    x, y = (np.where(np.abs(v % 1 - 0.5) < 1e-3, v + 0.01, v) for v in (x, y))
    cut, flags = extract_cutouts(tile, *sky(tile, x, y), SIZE, bands=BANDS)
    for n in range(len(x)):
        y0, x0 = int(np.floor(y[n] + 0.5)) - SIZE // 2, int(np.floor(x[n] + 0.5)) - SIZE // 2
        expected = slice_padded(image, y0, x0, SIZE)
        np.testing.assert_array_equal(cut[n], expected)
        assert bool(flags[n] & Flag.OFF_IMAGE) == np.isnan(expected).all()
        assert bool(flags[n] & Flag.PARTIAL_CUTOUT) == (np.isnan(expected).any() and np.isfinite(expected).any())
        assert bool(flags[n] & Flag.MASKED_PIXELS) == (0 <= 100 - y0 < SIZE and 0 <= 100 - x0 < SIZE)


def test_a_stars_position_falls_on_its_pixel(tile: Tile, image: np.ndarray) -> None:
    ra, dec = sky(tile, [57.3], [211.8])
    cut, flags = extract_cutouts(tile, ra, dec, SIZE, bands=BANDS)
    np.testing.assert_array_equal(cut[0, :, SIZE // 2, SIZE // 2], image[:, 212, 57])
    assert flags[0] == 0


def test_bands_come_in_the_order_asked_for(tile: Tile) -> None:
    ra, dec = sky(tile, [130.0], [150.0])
    both, _ = extract_cutouts(tile, ra, dec, SIZE, bands=BANDS)
    swapped, _ = extract_cutouts(tile, ra, dec, SIZE, bands=("r", "u"))
    np.testing.assert_array_equal(swapped, both[:, [2, 0]])
    with pytest.raises(TileError, match=r"tile T has bands \['u', 'g', 'r'\] and lacks \['i'\]"):
        extract_cutouts(tile, ra, dec, SIZE, bands=("u", "i"))


@pytest.mark.parametrize(("ra", "dec"), [(np.nan, 0.0), (0.0, 0.0), (180.0, 89.0), (180.0, np.nan)])
def test_positions_without_a_pixel_are_off_the_image(tile: Tile, ra: float, dec: float) -> None:
    cut, flags = extract_cutouts(tile, [ra, 180.0], [dec, -0.5], SIZE, bands=BANDS)
    assert flags.tolist() == [Flag.OFF_IMAGE, 0]
    assert np.isnan(cut[0]).all()
    assert np.isfinite(cut[1]).all()


def test_no_positions(tile: Tile) -> None:
    cut, flags = extract_cutouts(tile, [], [], SIZE, bands=BANDS)
    assert cut.shape == (0, 3, SIZE, SIZE)
    assert flags.shape == (0,)


def test_blank_band_is_flagged(tmp_path: Path) -> None:
    writer = TileWriter(str(tmp_path), TileTemplate("B", BANDS, (64, 64)), Tiles(chunk=32, shard=64))
    stripe = np.ones((3, 64, 64), np.float32)
    stripe[1] = np.nan
    writer.write_rows(0, {"image": stripe, "mask": np.zeros((64, 64), np.uint8)})
    writer.finish({"wcs": make_wcs(10.0, 0.0, (64, 64)).to_header().tostring(sep="\n"), "checksum": "x"})
    _, flags = extract_cutouts(open_tile(str(tmp_path), "B"), [10.0], [0.0], SIZE, bands=BANDS)
    assert flags.tolist() == [Flag.EMPTY_CUTOUT | Flag.PARTIAL_CUTOUT]


def test_window_of_odd_and_even_size_hold_the_position_at_half() -> None:
    wcs: WCS = make_wcs(10.0, 0.0, (101, 101))
    for size in (35, 36):
        y0, x0 = compute_windows(wcs, 10.0, 0.0, size)
        assert (y0[0], x0[0]) == (50 - size // 2, 50 - size // 2)


def test_what_no_exposure_saw_is_no_pixel(tile: Tile, image: np.ndarray) -> None:
    x, y = np.array([60.0, 160.0, 200.0]), np.array([60.0, 60.0, 200.0])
    cutouts, _ = extract_cutouts(tile, *sky(tile, x, y), SIZE, bands=BANDS)
    assert np.isfinite(cutouts).all()
    # A band of zeros, a corner of zeros, a band of another value throughout; and what may be sky.
    cutouts[0, 1], cutouts[1, 0, :20, :5], cutouts[2, 2], cutouts[1, 2, :15, :15] = 0, 0, -7.5, 0
    cutouts[1, 1, 3, 5:20] = 0
    expected = cutouts.copy()
    expected[0, 1], expected[1, 0, :20, :5], expected[2, 2] = np.nan, np.nan, np.nan
    blank_unexposed(cutouts)
    np.testing.assert_array_equal(cutouts, expected)
    off_N = np.zeros(3, bool)
    flags = [Flag(int(flag)) for flag in flag_cutouts(cutouts, off_N, off_N)]
    assert flags == [
        Flag.PARTIAL_CUTOUT | Flag.EMPTY_CUTOUT,
        Flag.PARTIAL_CUTOUT,
        Flag.PARTIAL_CUTOUT | Flag.EMPTY_CUTOUT,
    ]


@pytest.mark.parametrize("size", [0, 1, 5])
def test_small_cutouts_may_be_blank(size: int) -> None:
    cutouts = np.zeros((2, 3, size, size), np.float32)
    blank_unexposed(cutouts)
    assert np.isnan(cutouts).all()


def test_a_pixel_of_its_own_is_no_constant() -> None:
    cutouts = np.ones((1, 1, 1, 1), np.float32)
    blank_unexposed(cutouts)
    assert cutouts[0, 0, 0, 0] == 1


@pytest.mark.parametrize("value", [-999.0, -32768.0, 65535.0, 1e-3])
def test_a_block_of_one_value_is_no_sky(value: float) -> None:
    """A sentinel of whoever made the coadd, in a corner or as a strip; noise and slopes hold no value so long."""
    rng = np.random.default_rng(1)
    cutouts = rng.normal(0, 1, (2, 4, SIZE, SIZE)).astype(np.float32)
    cutouts[0, 3] = 1 + np.arange(SIZE)[:, None]
    cutouts[1, 3] = 1 + np.arange(SIZE)
    kept = cutouts.copy()
    blank_unexposed(cutouts)
    np.testing.assert_array_equal(cutouts, kept)
    for part in ((0, 0, slice(None), slice(0, 2)), (0, 1, slice(10, 12), slice(3, 19)), (1, 2, slice(20), slice(20))):
        cutouts[part], kept[part] = value, np.nan
    # Too little to tell from a saturated star.
    cutouts[1, 0, :15, :15] = kept[1, 0, :15, :15] = value
    blank_unexposed(cutouts)
    np.testing.assert_array_equal(cutouts, kept)
