"""Writing tiles: what never was written, what an interrupted writer leaves, and how pixels are rounded."""

import math
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.errors import TileError
from photoz.tiles.reader import open_tile, read_attributes
from photoz.tiles.settings import Tiles
from photoz.tiles.writer import TileTemplate, TileWriter, _make_codecs, invalidate_tile, quantize

LAYOUT = Tiles(chunk=8, shard=16)
SHAPE = (20, 24)


def open_writer(folder: Path, *, weights: bool = False, layout: Tiles = LAYOUT) -> TileWriter:
    return TileWriter(str(folder), TileTemplate("T", ("g", "r"), SHAPE, weights), layout)


def open_arrays(folder: Path):
    return zarr.open_group(str(folder / "T.zarr"), mode="r")


def make_sky(shape: tuple[int, ...], noise: float, seed: int = 0) -> np.ndarray:
    return (noise * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def test_what_was_never_written_is_missing_and_masked_in_every_band(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, weights=True)
    writer.write_rows(0, {"image": np.ones((2, 16, 24), np.float32), "mask": np.zeros((16, 24), np.uint8)})
    arrays = open_arrays(tmp_path)
    assert np.isnan(arrays["image"][:, 16:]).all()
    assert (arrays["image"][:, :16] == 1).all()
    assert (arrays["mask"][16:] == 255).all()
    assert (arrays["mask"][:16] == 0).all()
    assert np.isnan(arrays["weight"][:]).all()


def test_weights_have_a_place_only_where_they_come(tmp_path: Path) -> None:
    open_writer(tmp_path)
    assert sorted(open_arrays(tmp_path).array_keys()) == ["image", "mask"]


def test_shards_hold_all_bands_and_a_mask_is_one_chunk_a_shard(tmp_path: Path) -> None:
    open_writer(tmp_path, weights=True)
    arrays = open_arrays(tmp_path)
    for name in ("image", "weight"):
        assert (arrays[name].chunks, arrays[name].shards) == ((2, 8, 8), (2, 16, 16))
    assert (arrays["mask"].chunks, arrays["mask"].shards) == ((16, 16), None)


def test_a_tile_is_seen_from_its_last_write_on(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    assert not read_attributes(str(tmp_path), "T").get("complete")
    writer.finish({"note": "kept", "complete": False, "bands": ["x"], "format": 99})
    attributes = read_attributes(str(tmp_path), "T")
    # What the tile is cannot be overruled by what is said of it.
    assert (attributes["note"], attributes["complete"], attributes["bands"], attributes["format"]) == (
        "kept",
        True,
        ["g", "r"],
        1,
    )


def test_a_tile_that_is_begun_anew_is_unfinished_before_its_pixels_change(tmp_path: Path) -> None:
    open_writer(tmp_path).finish({})
    open_writer(tmp_path)
    with pytest.raises(TileError, match="unfinished"):
        open_tile(str(tmp_path), "T")


def test_marking_what_is_not_there_writes_nothing(tmp_path: Path) -> None:
    invalidate_tile(str(tmp_path), "T")
    assert list(tmp_path.iterdir()) == []


def test_marking_keeps_all_else_that_is_known(tmp_path: Path) -> None:
    open_writer(tmp_path).finish({"checksum": "abc"})
    invalidate_tile(str(tmp_path), "T")
    attributes = read_attributes(str(tmp_path), "T")
    assert (attributes["complete"], attributes["checksum"]) == (False, "abc")


def test_a_layout_of_other_shards_replaces_the_old_arrays(tmp_path: Path) -> None:
    open_writer(tmp_path).finish({})
    writer = open_writer(tmp_path, layout=Tiles(chunk=4, shard=8))
    assert writer.stripe == 8
    assert open_arrays(tmp_path)["image"].shards == (2, 8, 8)


@pytest.mark.parametrize(("compress", "checksum", "names"), [
    (False, False, []), (True, False, ["ZstdCodec"]), (False, True, ["Crc32cCodec"]),
    (True, True, ["ZstdCodec", "Crc32cCodec"]),
])  # fmt: skip
def test_the_checksum_is_of_the_bytes_as_they_are_stored(compress: bool, checksum: bool, names: list[str]) -> None:
    assert [type(codec).__name__ for codec in _make_codecs(compress, checksum)] == names


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_pixels_are_rounded_to_a_power_of_two_below_the_fraction_of_their_noise(
    noise: float, fraction: float, seed: int
) -> None:
    image = make_sky((1, 64, 64), noise, seed)
    rounded = quantize(image, fraction)
    # 64 x 63 differences tell the noise to 2 %: the step may lie to either side of a power of two.
    steps = {2.0 ** math.floor(math.log2(fraction * noise * about)) for about in (0.93, 1.0, 1.07)}
    fitting = [step for step in steps if (rounded / step == np.round(rounded / step)).all()]
    assert fitting
    assert np.abs(rounded.astype(float) - image).max() <= max(fitting) / 2 * (1 + 1e-6)


def test_each_band_is_rounded_by_its_own_noise() -> None:
    image = np.concatenate([make_sky((1, 64, 64), 1.0), make_sky((1, 64, 64), 16.0, 1)])
    both, alone = quantize(image, 0.25), [quantize(image[[band]], 0.25)[0] for band in range(2)]
    np.testing.assert_array_equal(both, alone)
    assert np.unique(both[1] % 2).tolist() == [0.0]
    assert np.unique(both[0] % 2).size > 1


def test_a_gradient_of_the_sky_is_no_noise() -> None:
    image = make_sky((1, 64, 64), 1.0)
    sloped = image + np.linspace(0, 640, 64, dtype=np.float32)[:, None]  # along the rows, across no difference
    step = 2.0 ** math.floor(math.log2(0.25))
    assert (quantize(sloped, 0.25) / step % 1 == 0).all()
    assert np.abs(quantize(sloped, 0.25) - sloped).max() <= step / 2


def test_what_has_no_noise_or_no_pixel_is_left_as_it_is() -> None:
    for image in (
        np.full((1, 8, 8), 3.3, np.float32),
        np.full((1, 8, 8), np.nan, np.float32),
        np.ones((1, 3, 1), "f4"),
    ):
        np.testing.assert_array_equal(quantize(image, 0.25), image)


def test_missing_pixels_stay_missing_and_change_no_other() -> None:
    image = make_sky((1, 64, 64), 1.0)
    image[0, 3, 5] = np.nan
    rounded = quantize(image, 0.25)
    assert np.argwhere(np.isnan(rounded)).tolist() == [[0, 3, 5]]
    assert (rounded[np.isfinite(rounded)] % 0.125 == 0).all()


def test_the_callers_image_is_not_rounded_in_place() -> None:
    image = make_sky((1, 16, 16), 1.0)
    before = image.copy()
    quantize(image, 0.5)
    np.testing.assert_array_equal(image, before)


def test_the_step_follows_the_depth_over_the_tile(tmp_path: Path) -> None:
    # The right shard is 64 times as noisy: its pixels are multiples of a step 64 times as large.
    writer = open_writer(tmp_path, layout=Tiles(chunk=8, shard=16, quantize=0.5))
    image = np.concatenate([make_sky((2, 16, 16), 1.0), make_sky((2, 16, 8), 64.0, 1)], axis=2)
    writer.write_rows(0, {"image": image, "mask": np.zeros((16, 24), np.uint8)})
    stored = open_arrays(tmp_path)["image"][:, :16]
    assert (stored[..., 16:] % 8 == 0).all()
    assert not (stored[..., :16] % 8 == 0).all()
    assert (stored[..., :16] % 0.125 == 0).all()
