"""Windows cut from chunks equal slices of the array, whatever its layout; unknown layouts go to zarr-python."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny_survey import make_wcs
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

from photoz.errors import TileError
from photoz.tiles import Tile, TileTemplate, TileWriter, open_tile
from photoz.tiles.chunks import ChunkedArray
from photoz.tiles.fetch import Fetch, Range, make_fetch
from photoz.tiles.settings import Tiles

SHAPE = (2, 90, 70)
CHUNK, SHARD = 16, 32
ZSTD, CRC = ZstdCodec(level=1), Crc32cCodec()
IMAGE = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)

offsets = hnp.arrays(np.int64, st.shared(st.integers(1, 12), key="n"), elements=st.integers(-60, 120))


def write_array(folder: Path, *, shards: bool = True, codecs: Any = (ZSTD, CRC)) -> None:
    sides = {"chunks": (2, CHUNK, CHUNK), "shards": (2, SHARD, SHARD) if shards else None}
    array = zarr.create_array(folder, name="a", shape=SHAPE, dtype="f4", fill_value=-1, compressors=codecs, **sides)
    array[:] = IMAGE


def parse(folder: Path) -> ChunkedArray | None:
    return ChunkedArray.parse("a", json.loads((folder / "a" / "zarr.json").read_bytes()))


def slice_padded(image: np.ndarray, y0: int, x0: int, size: int, outside: float) -> np.ndarray:
    pad = 200
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)), constant_values=outside)
    return padded[:, y0 + pad : y0 + pad + size, x0 + pad : x0 + pad + size]


@pytest.fixture(
    scope="module",
    params=[(shards, codecs) for shards in (True, False) for codecs in ((), (CRC,), (ZSTD,), (ZSTD, CRC))],
    ids=str,
)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ChunkedArray, Fetch]:
    folder = tmp_path_factory.mktemp("array")
    write_array(folder, shards=request.param[0], codecs=request.param[1] or None)
    array = parse(folder)
    assert array is not None
    return array, make_fetch(str(folder))


@settings(max_examples=30, deadline=None)
@given(y0=offsets, x0=offsets, size=st.integers(1, 40))
def test_windows_equal_slices_of_a_padded_image(
    stored: tuple[ChunkedArray, Fetch], y0: np.ndarray, x0: np.ndarray, size: int
) -> None:
    array, fetch = stored
    windows = array.read_windows(fetch, y0, x0, size, outside=-7)
    for n in range(len(y0)):
        np.testing.assert_array_equal(windows[n], slice_padded(IMAGE, y0[n], x0[n], size, -7))


def test_each_chunk_is_read_once_and_no_other(tmp_path: Path) -> None:
    write_array(tmp_path, codecs=(CRC,))
    array, asked = parse(tmp_path), []
    fetch = make_fetch(str(tmp_path))

    def noting(ranges: list[Range]) -> list[bytes | None]:
        asked.extend(ranges)
        return fetch(ranges)

    assert array is not None
    y0, x0 = np.array([2, 3, 17]), np.array([2, 3, 3])  # in the first two chunks of the first shard, in its order
    array.read_windows(noting, y0, x0, 4, outside=0)
    index, chunks = asked
    assert index == ("a/c/0/0/0", -(4 * 16 + 4), None)
    assert chunks == ("a/c/0/0/0", 0, 2 * (2 * 4 * CHUNK**2 + 4)), "neighbours in one request"
    array.read_windows(noting, y0, x0, 4, outside=0)
    assert len(asked) == 3, "the index is known"


def test_a_chunk_that_is_not_stored_holds_the_fill_value(tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path, name="a", shape=SHAPE, dtype="f4", fill_value=-1, chunks=(2, CHUNK, CHUNK), shards=(2, SHARD, SHARD)
    )
    array[:, :4, :4] = 5
    parsed = parse(tmp_path)
    assert parsed is not None
    window = parsed.read_windows(make_fetch(str(tmp_path)), np.array([0]), np.array([10]), 12, outside=0)
    assert (window == -1).all()


@pytest.mark.parametrize("codecs", [GzipCodec(), (ZSTD, GzipCodec())])
def test_other_codecs_are_not_for_it(tmp_path: Path, codecs: Any) -> None:
    write_array(tmp_path, codecs=codecs)
    assert parse(tmp_path) is None


def test_other_byte_order_is_not_for_it(tmp_path: Path) -> None:
    zarr.create_array(
        tmp_path, name="a", shape=SHAPE, dtype="f4", chunks=(2, 16, 16), serializer=BytesCodec(endian="big")
    )
    assert parse(tmp_path) is None


def write_tile(folder: Path) -> np.ndarray:
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=SHAPE).astype(np.float32), (rng.random(SHAPE[1:]) < 1e-3).astype(np.uint8)
    writer = TileWriter(str(folder), TileTemplate("T", ("g", "r"), SHAPE[1:]), Tiles(chunk=CHUNK, shard=SHARD))
    for y0 in range(0, SHAPE[1], SHARD):
        rows = slice(y0, y0 + SHARD)
        writer.write_rows(y0, {"image": image[:, rows], "mask": mask[rows]})
    writer.finish({"wcs": make_wcs(180.0, 0.0, SHAPE[1:]).to_header().tostring(sep="\n"), "checksum": "x"})
    return image


def test_zarr_python_reads_the_same_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tile(tmp_path)
    y0, x0 = np.random.default_rng(0).integers(-20, 100, (2, 50))
    windows, masked = open_tile(str(tmp_path), "T").read_windows(y0, x0, 12)
    monkeypatch.setattr(ChunkedArray, "parse", lambda *_: None)
    again, masked_again = open_tile(str(tmp_path), "T").read_windows(y0, x0, 12)
    np.testing.assert_array_equal(windows, again)
    np.testing.assert_array_equal(masked, masked_again)
    assert 0 < masked.sum() < 50


def read_all(tile: Tile) -> np.ndarray:
    y0, x0 = np.indices((9, 7)).reshape(2, -1) * 10
    return tile.read_windows(y0, x0, 10)[0]


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9, 0.999])
def test_flipped_byte_is_an_error_that_names_the_tile(tmp_path: Path, where: float) -> None:
    write_tile(tmp_path)
    shard = tmp_path / "T.zarr" / "image" / "c" / "0" / "0" / "1"
    content = bytearray(shard.read_bytes())
    content[int(where * len(content))] ^= 0x04
    shard.write_bytes(bytes(content))
    with pytest.raises(TileError, match=r"tile T: image cannot be read in 63 windows .*checksum"):
        read_all(open_tile(str(tmp_path), "T"))


def test_truncated_and_lost_shards_are_errors(tmp_path: Path) -> None:
    write_tile(tmp_path)
    shard = tmp_path / "T.zarr" / "image" / "c" / "0" / "1" / "1"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(TileError, match="tile T"):
        read_all(open_tile(str(tmp_path), "T"))
    shard.unlink()
    with pytest.raises(TileError, match="shard image/c/0/1/1 is missing"):
        read_all(open_tile(str(tmp_path), "T"))
