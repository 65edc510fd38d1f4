"""FITS images from any location: rows, checksums, and files that are not what they should be."""

import hashlib
import itertools
from pathlib import Path

import fsspec
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from tiny_survey import make_wcs, write_image

from photoz.errors import SurveyFileError
from photoz.survey.fits import RowReader, fold_carries, inspect_image, sum_words

SHAPE = (60, 50)


def read_all(location: str, stripe: int = 7) -> tuple[np.ndarray, str]:
    with RowReader(inspect_image(location)) as reader:
        rows = [reader.read_rows(stripe) for _ in range(-(-reader.info.shape[0] // stripe))]
        return np.concatenate(rows), reader.finish()


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, np.ndarray]:
    data = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    path = tmp_path / "a.fits"
    write_image(path, data, make_wcs(180.0, 0.0, SHAPE))
    return path, data


def flip_byte(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(bytes(content))


def test_rows_are_the_image_and_the_digest_is_the_files(image: tuple[Path, np.ndarray]) -> None:
    path, data = image
    rows, digest = read_all(str(path))
    np.testing.assert_array_equal(rows, data)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_reads_from_an_object_store(image: tuple[Path, np.ndarray]) -> None:
    path, data = image
    with fsspec.open("memory://fits/a.fits", "wb") as file:
        file.write(path.read_bytes())
    np.testing.assert_array_equal(read_all("memory://fits/a.fits")[0], data)


@pytest.mark.parametrize("name", ["c.fits", "c.fits.fz"])
@pytest.mark.parametrize("tile_shape", [(1, SHAPE[1]), (16, 16)])
def test_fpacked_integers_equal_plain(tmp_path: Path, name: str, tile_shape: tuple[int, int]) -> None:
    data = np.random.default_rng(5).integers(0, 200, SHAPE).astype(np.int32)
    write_image(tmp_path / name, data, make_wcs(180.0, 0.0, SHAPE), compress=True, tile_shape=tile_shape)
    info = inspect_image(str(tmp_path / name))
    assert info.compressed
    assert info.shape == SHAPE
    np.testing.assert_array_equal(read_all(str(tmp_path / name))[0], data)


def test_fpacked_floats_equal_plain_to_the_quantisation(tmp_path: Path) -> None:
    data = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    write_image(tmp_path / "c.fits.fz", data, make_wcs(180.0, 0.0, SHAPE), compress=True, quantize=16)
    rows, _ = read_all(str(tmp_path / "c.fits.fz"))
    assert np.abs(rows - data).max() < 1 / 16
    assert np.abs(rows - data).max() > 0


def test_scaled_integers_are_scaled(tmp_path: Path) -> None:
    data = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    fits.PrimaryHDU(data).writeto(tmp_path / "u.fits")
    np.testing.assert_array_equal(read_all(str(tmp_path / "u.fits"))[0], data)


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_of_pan_starrs_are_fluxes_again(tmp_path: Path, packed: bool) -> None:
    fluxes = np.linspace(-50, 1e5, 600).reshape(20, 30)
    header = fits.Header({"BSOFTEN": 40.0, "BOFFSET": 3.5})
    pixels = 2.5 / np.log(10) * np.arcsinh((fluxes - 3.5) / (2 * 40.0))
    path, kind = tmp_path / "skycell.fits", {"compression_type": "GZIP_2", "quantize_level": 0}
    unit = fits.CompImageHDU(pixels, header, **kind) if packed else fits.ImageHDU(pixels, header)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path)
    with RowReader(inspect_image(str(path))) as reader:
        np.testing.assert_allclose(reader.read_rows(20), fluxes, rtol=1e-9, atol=1e-9)


def test_pixels_of_pan_starrs_need_both_keys(tmp_path: Path) -> None:
    path = tmp_path / "skycell.fits"
    fits.PrimaryHDU(np.zeros((20, 30)), fits.Header({"BSOFTEN": 40.0})).writeto(path)
    with RowReader(inspect_image(str(path))) as reader, pytest.raises(SurveyFileError, match="header that makes no"):
        reader.read_rows(20)


def test_blank_integers_become_nan(tmp_path: Path) -> None:
    data = np.ones(SHAPE, np.int16)
    data[3, 4] = -7
    hdu = fits.PrimaryHDU(data)
    hdu.header["BLANK"] = -7
    hdu.writeto(tmp_path / "b.fits")
    rows, _ = read_all(str(tmp_path / "b.fits"))
    assert np.isnan(rows[3, 4])
    assert np.isnan(rows).sum() == 1


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SurveyFileError, match=r"nowhere\.fits is missing"):
        inspect_image(str(tmp_path / "nowhere.fits"))


def test_truncated_file_is_named_with_both_sizes(image: tuple[Path, np.ndarray]) -> None:
    path, _ = image
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(SurveyFileError, match=rf"a\.fits is truncated: {size - 2880} bytes.*promises {size}"):
        inspect_image(str(path))


@pytest.mark.parametrize("content", [b"", b"not a FITS file" * 400, b"SIMPLE  =                    T"])
def test_garbage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.fits").write_bytes(content)
    with pytest.raises(SurveyFileError, match=r"g\.fits"):
        inspect_image(str(tmp_path / "g.fits"))


def test_flipped_byte_in_plain_data(image: tuple[Path, np.ndarray]) -> None:
    path, _ = image
    flip_byte(path, inspect_image(str(path)).spans[1] + 1000)
    with pytest.raises(SurveyFileError, match=r"a\.fits is corrupt: DATASUM"):
        read_all(str(path))


def test_flipped_byte_in_header_value(image: tuple[Path, np.ndarray]) -> None:
    path, _ = image
    flip_byte(path, path.read_bytes().index(b"OBJECT  = 'a") + 11)
    with pytest.raises(SurveyFileError, match="CHECKSUM"):
        read_all(str(path))


def test_flipped_byte_in_rice_data(tmp_path: Path) -> None:
    data = np.random.default_rng(5).normal(size=SHAPE).astype(np.float32)
    path = tmp_path / "c.fits.fz"
    write_image(path, data, make_wcs(180.0, 0.0, SHAPE), compress=True)
    flip_byte(path, inspect_image(str(path)).spans[2] - 3000)
    with pytest.raises(SurveyFileError, match=r"c\.fits\.fz is corrupt: DATASUM"):
        read_all(str(path))


def test_table_is_no_image(tmp_path: Path) -> None:
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(tmp_path / "t.fits")
    with pytest.raises(SurveyFileError, match=r"t\.fits holds no two-dimensional image"):
        inspect_image(str(tmp_path / "t.fits"))


def test_a_cube_is_told_as_one(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((1, 4, 4), np.float32)).writeto(tmp_path / "c.fits")
    with pytest.raises(SurveyFileError, match=r"extension 0 has more axes: save one plane of it"):
        inspect_image(str(tmp_path / "c.fits"))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_sum_does_not_depend_on_how_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = sum(sum_words(data[first:last], first) for first, last in itertools.pairwise(edges))
    assert fold_carries(parts) == fold_carries(sum_words(data))


def test_sum_is_that_of_astropy() -> None:
    data = np.random.default_rng(1).integers(0, 255, 2880).astype(np.uint8)
    hdu = fits.PrimaryHDU(data)
    hdu.add_datasum()
    assert fold_carries(sum_words(data.tobytes())) == int(hdu.header["DATASUM"])


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_bytes_that_cut_words_are_summed_in_their_places(tmp_path: Path, rows: int) -> None:
    data = np.random.default_rng(2).integers(0, 255, (60, 51)).astype(np.uint8)  # rows of 51 bytes
    write_image(tmp_path / "odd.fits", data, None)
    np.testing.assert_array_equal(read_all(str(tmp_path / "odd.fits"), rows)[0], data)
    flip_byte(tmp_path / "odd.fits", 2880 + 1001)
    with pytest.raises(SurveyFileError, match=r"odd\.fits is corrupt: DATASUM is"):
        read_all(str(tmp_path / "odd.fits"), rows)


def test_a_sum_that_is_no_number_is_named(tmp_path: Path) -> None:
    header = fits.Header({"DATASUM": "none"})
    fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header).writeto(tmp_path / "n.fits")
    with pytest.raises(SurveyFileError, match=r"n\.fits: its header has DATASUM = 'none', which is no number: remove"):
        read_all(str(tmp_path / "n.fits"))


@pytest.mark.parametrize(("key", "value"), [("BSCALE", ""), ("BZERO", "none")])
def test_a_scale_that_is_no_number_is_refused_by_the_file(tmp_path: Path, key: str, value: str) -> None:
    unit = fits.PrimaryHDU(np.ones((4, 4), np.float32))
    unit.header[key] = value
    unit.writeto(tmp_path / "a.fits", output_verify="ignore")
    info = inspect_image(str(tmp_path / "a.fits"))
    with pytest.raises(SurveyFileError, match=r"a\.fits has a header that makes no sense"), RowReader(info) as reader:
        reader.read_rows(4)


def test_a_header_of_bytes_that_are_no_text_is_refused_by_the_file(tmp_path: Path) -> None:
    unit = fits.PrimaryHDU(np.ones((4, 4), np.float32))
    unit.header["CD1_1"] = 0.5
    unit.writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(content.replace(b"CD1_1   =  ", b"CD1_1   = \0", 1))
    with pytest.raises(SurveyFileError, match=r"a\.fits has a header that makes no sense"):
        inspect_image(str(tmp_path / "a.fits"))
