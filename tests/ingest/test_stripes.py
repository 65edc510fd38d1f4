"""Stripes put each band's rows where the band lies on the tile's grid, however the tile is cut into stripes."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.ingest.stripes import ShiftedRows, find_mask_bit, read_mask, read_stripe
from photoz.survey.fits import RowReader, inspect_image

SHAPES = {"g": (11, 9), "r": (8, 12), "i": (13, 5)}
GRID_SHAPE = (20, 18)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Images of which every pixel has a value of its own."""
    folder, first = tmp_path_factory.mktemp("bands"), 1
    places = {}
    for band, shape in SHAPES.items():
        values = np.arange(first, first + shape[0] * shape[1], dtype=np.float32).reshape(shape)
        places[band], first = str(folder / f"{band}.fits"), first + values.size
        fits.PrimaryHDU(values).writeto(places[band], checksum=True)
    return places


def open_band(stack: ExitStack, path: str, offset: tuple[int, int] = (0, 0)) -> ShiftedRows:
    return ShiftedRows(stack.enter_context(RowReader(inspect_image(path))), offset)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), height=st.integers(1, 25))
def test_stripes_together_are_the_bands_at_their_offsets(
    files: dict[str, str], data: st.DataObject, height: int
) -> None:
    offsets = {
        band: (data.draw(st.integers(0, 20 - rows)), data.draw(st.integers(0, 18 - columns)))
        for band, (rows, columns) in SHAPES.items()
    }
    expected = np.full((3, *GRID_SHAPE), np.nan, np.float32)
    for index, (band, (y, x)) in enumerate(offsets.items()):
        rows, columns = SHAPES[band]
        expected[index, y : y + rows, x : x + columns] = fits.getdata(files[band])
    found = np.zeros_like(expected)
    with ExitStack() as stack:
        images = {band: open_band(stack, files[band], offset) for band, offset in offsets.items()}
        for y0 in range(0, GRID_SHAPE[0], height):
            read_stripe(images, tuple(offsets), y0, found[:, y0 : y0 + height])
        assert all(len(image.finish()) == 64 for image in images.values()), "every file was read to its end"
    np.testing.assert_array_equal(found, expected)


def test_a_band_without_a_file_is_nan_and_not_masked(files: dict[str, str]) -> None:
    stripe = np.zeros((2, 4, 18), np.float32)
    with ExitStack() as stack:
        read_stripe({"r": open_band(stack, files["r"])}, ("g", "r"), 0, stripe)
    assert np.isnan(stripe[0]).all()
    assert np.isfinite(stripe[1, :, :12]).all()
    assert not read_mask({}, ("g", "r"), 0, (4, 18)).any()


@pytest.mark.parametrize(("number", "bit"), [(0, 0), (1, 1), (7, 7), (8, 7), (9, 7)])
def test_a_masked_pixel_sets_the_bit_of_its_band_at_its_place(tmp_path: Path, number: int, bit: int) -> None:
    bands = [f"b{n}" for n in range(10)]
    mask = np.zeros((6, 5), np.uint8)
    mask[4, 3] = 16  # any value but 0 masks
    fits.PrimaryHDU(mask).writeto(tmp_path / "m.fits")
    with ExitStack() as stack:
        found = read_mask({bands[number]: open_band(stack, str(tmp_path / "m.fits"), (2, 7))}, bands, 0, GRID_SHAPE)
    expected = np.zeros(GRID_SHAPE, np.uint8)
    expected[2 + 4, 7 + 3] = 1 << bit
    np.testing.assert_array_equal(found, expected)
    assert find_mask_bit(number) == bit


def test_masks_of_two_bands_share_a_pixel(tmp_path: Path) -> None:
    for name in ("g", "r"):
        fits.PrimaryHDU(np.ones((20, 18), np.uint8)).writeto(tmp_path / f"{name}.fits")
    with ExitStack() as stack:
        masks = {name: open_band(stack, str(tmp_path / f"{name}.fits")) for name in ("g", "r")}
        assert (read_mask(masks, ("g", "u", "r"), 0, GRID_SHAPE) == 0b101).all()
