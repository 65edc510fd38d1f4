"""The tile store: what is written is read, and damage is an error with the tile's name."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny_survey import make_wcs

from photoz.errors import TileError
from photoz.tiles import Tile, TileTemplate, TileWriter, list_tiles, open_tile
from photoz.tiles.settings import Tiles

LAYOUT = Tiles(chunk=16, shard=32)
SHAPE = (70, 90)  # no multiple of a shard
BANDS = ("g", "r")


def write(location: str, *, layout: Tiles = LAYOUT, finish: bool = True, blank: bool = False) -> np.ndarray:
    image = np.random.default_rng(2).normal(size=(2, *SHAPE)).astype(np.float32)
    if blank:
        image[:] = np.nan
    mask = np.zeros(SHAPE, np.uint8)
    mask[5, 6] = 2
    writer = TileWriter(location, TileTemplate("T", BANDS, SHAPE), layout)
    for y0 in range(0, SHAPE[0], writer.stripe):
        rows = slice(y0, y0 + writer.stripe)
        writer.write_rows(y0, {"image": image[:, rows], "mask": mask[rows]})
    if finish:
        header = make_wcs(180.0, 0.0, SHAPE).to_header().tostring(sep="\n")
        writer.finish({"wcs": header, "checksum": "abc", "note": "kept"})
    return image


def read(tile: Tile) -> np.ndarray:
    return tile.read_window(0, SHAPE[0], 0, SHAPE[1])


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else f"memory://tiles-{tmp_path.name}"


@pytest.mark.parametrize("layout", [LAYOUT, Tiles(chunk=16, shard=32, codec="none", checksum=False)])
def test_what_is_written_is_read(store: str, layout: Tiles) -> None:
    image = write(store, layout=layout)
    tile = open_tile(store, "T")
    np.testing.assert_array_equal(read(tile), image)
    np.testing.assert_array_equal(tile.read_window(3, 40, 60, 90), image[:, 3:40, 60:90])
    assert tile.read_mask_window(5, 6, 6, 7).tolist() == [[2]]
    assert (tile.name, tile.bands, tile.shape, tile.checksum) == ("T", BANDS, SHAPE, "abc")
    assert tile.attributes["note"] == "kept"
    assert tile.wcs.has_celestial
    assert list_tiles(store) == ["T"]


def test_it_is_a_sharded_zarr_3_group_with_checksums(tmp_path: Path) -> None:
    write(str(tmp_path))
    image = zarr.open_group(str(tmp_path / "T.zarr"), mode="r")["image"]
    assert (image.metadata.zarr_format, image.dtype, image.chunks, image.shards) == (
        3,
        "float32",
        (2, 16, 16),
        (2, 32, 32),
    )
    assert [type(codec).__name__ for codec in image.compressors] == ["Crc32cCodec"]


def test_a_mask_is_compressed_in_whole_shards(tmp_path: Path) -> None:
    write(str(tmp_path))
    mask = zarr.open_group(str(tmp_path / "T.zarr"), mode="r")["mask"]
    assert (mask.chunks, mask.shards) == ((32, 32), None)
    assert [type(codec).__name__ for codec in mask.compressors] == ["ZstdCodec", "Crc32cCodec"]


def test_quantized_pixels_are_off_by_less_than_the_fraction_and_smaller(tmp_path: Path) -> None:
    stored = {}
    for fraction in (0.0, 0.25):
        layout = Tiles(chunk=32, shard=128, codec="zstd", quantize=fraction)
        image = write(str(tmp_path / str(fraction)), layout=layout)
        pixels = read(open_tile(str(tmp_path / str(fraction)), "T"))
        assert np.abs(pixels - image).max() <= fraction / 2 * 1.05  # of a noise of 1, as measured
        stored[fraction] = sum(file.stat().st_size for file in (tmp_path / str(fraction)).rglob("image/c/*/*/*"))
    assert stored[0.25] < 0.5 * stored[0.0]


def test_missing_store_and_tile(tmp_path: Path) -> None:
    with pytest.raises(TileError, match="there is no tile X"):
        open_tile(str(tmp_path), "X")
    assert list_tiles(str(tmp_path / "nowhere")) == []


def test_unfinished_tile_is_not_opened(store: str) -> None:
    write(store)
    write(store, finish=False)
    with pytest.raises(TileError, match=r"tile T in .* is unfinished"):
        open_tile(store, "T")


def test_metadata_that_is_no_json(tmp_path: Path) -> None:
    write(str(tmp_path))
    (tmp_path / "T.zarr" / "zarr.json").write_text("{")
    with pytest.raises(TileError, match=r"tile T in .* is damaged"):
        open_tile(str(tmp_path), "T")


@pytest.mark.parametrize("codec", ["zstd", "none"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_flipped_byte_is_an_error_that_names_the_tile(tmp_path: Path, codec: str, where: float) -> None:
    write(str(tmp_path), layout=Tiles(chunk=16, shard=32, codec=codec))  # type: ignore[arg-type]
    shard = tmp_path / "T.zarr" / "image" / "c" / "0" / "0" / "1"
    content = bytearray(shard.read_bytes())
    content[int(where * len(content))] ^= 0x04
    shard.write_bytes(bytes(content))
    tile = open_tile(str(tmp_path), "T")
    with pytest.raises(TileError, match=r"tile T: image cannot be read in rows 0 to 70, columns 0 to 90"):
        read(tile)
    assert np.isfinite(tile.read_window(0, 32, 0, 32)).all(), "the other shards are whole"


def test_truncated_shard_is_an_error(tmp_path: Path) -> None:
    write(str(tmp_path))
    shard = tmp_path / "T.zarr" / "image" / "c" / "0" / "1" / "1"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(TileError, match="tile T"):
        read(open_tile(str(tmp_path), "T"))


def test_blank_shards_are_stored_and_zarrs_own_settings_left_alone(tmp_path: Path) -> None:
    before = zarr.config.get("array.write_empty_chunks")
    write(str(tmp_path), blank=True)
    assert zarr.config.get("array.write_empty_chunks") == before
    shards = [file.relative_to(tmp_path / "T.zarr/image/c/0") for file in (tmp_path / "T.zarr/image").rglob("c/*/*/*")]
    assert sorted(map(str, shards)) == [f"{row}/{column}" for row in range(3) for column in range(3)]


def test_lost_shard_is_an_error_and_a_blank_one_is_not(tmp_path: Path) -> None:
    write(str(tmp_path), blank=True)
    assert np.isnan(open_tile(str(tmp_path), "T").read_window(40, 60, 40, 60)).all()
    (tmp_path / "T.zarr" / "image" / "c" / "0" / "1" / "1").unlink()
    with pytest.raises(TileError, match="shard c/0/1/1 of image is missing"):
        open_tile(str(tmp_path), "T").read_window(40, 60, 40, 60)
