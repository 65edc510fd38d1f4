"""FITS files of the simulated survey."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from simulated import CENTRE, CENTRES, make_config, make_small_recipe, write_survey

from photoz.simulate.files import format_name, make_column, make_header, write_fits, write_image, write_table
from photoz.simulate.render import BandImage, Psf, compute_sky_noise


def test_names_hold_one_decimal_and_the_first_of_a_choice() -> None:
    assert format_name("a[10]_{ra}_{dec}_{band}[xy]", (13.46, -28.2), "Ks") == "a1_13.5_-28.2_Ksx"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([1.5, np.nan]), "D"),
        (np.array([1.5, np.nan], dtype=np.float32), "E"),
        (np.array([2**40, -1]), "K"),
        (np.array([7, 8], dtype=np.int32), "J"),
        (np.array([7, 8], dtype=np.int16), "I"),
        (np.array([True, False]), "L"),
        (np.array(["a", "bcd"]), "3A"),
        (np.array([""]), "1A"),
    ],
)
def test_columns_come_back_with_their_type(tmp_path: Path, values: np.ndarray, kind: str) -> None:
    assert make_column("it", values).format == kind
    location = write_table(str(tmp_path / "t.fits"), {"it": values}, name="T", cards={"OBJECT": ("here", "tile")})
    with fits.open(location) as hdus:
        assert hdus[0].header["SIMULATE"] is True
        assert hdus[0].header["OBJECT"] == "here"
        np.testing.assert_array_equal(np.asarray(hdus["T"].data["it"]), values)


def test_files_hold_no_date_and_valid_checksums(tmp_path: Path) -> None:
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    one, other = (write_fits(str(tmp_path / name), [fits.PrimaryHDU(data)]) for name in ("a.fits", "b.fits"))
    assert Path(one).read_bytes() == Path(other).read_bytes()
    with fits.open(one, checksum=True) as hdus:
        assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1
        assert "T" not in hdus[0].header.comments["CHECKSUM"]  # as in 2026-11-27T12:00


def test_a_header_tells_what_was_simulated() -> None:
    blank = np.zeros((300, 300), dtype=np.float32)
    image = BandImage("i", blank, blank, blank.astype(np.uint8), Psf(0.8, (0.03, 0.04)), gain=2.0, sky_noise=1e-12)
    header = make_header(make_small_recipe(seed=9), CENTRE, image)
    expected = {"SEEING": 0.8, "PSFELL": 0.05, "GAIN": 2.0, "SKYNOISE": 1e-12, "SEED": 9, "EXPTIME": 1200.0}
    assert {key: header[key] for key in expected} == pytest.approx(expected)
    assert header["FILTER"] == "OCAM_i_SDSS"
    assert "DATE" not in header


@pytest.mark.parametrize("value", [np.uint8(3), np.float32(2.5)])
def test_constant_images_are_compressed_without_loss(tmp_path: Path, value: np.number) -> None:
    data = np.full((40, 50), value)
    location = write_image(str(tmp_path / "c.fits"), data, fits.Header(), compress=True)
    assert location.endswith(".fz")
    np.testing.assert_array_equal(fits.getdata(location, 1), data)


def test_compressed_images_read_back(tmp_path: Path) -> None:
    config = make_config(tmp_path / "plain", centres=CENTRES[:1])
    folder = write_survey(config)
    packed = write_survey(make_config(tmp_path, compress=True, centres=CENTRES[:1]))
    for kind in ("sci", "wei", "msk"):
        plain = fits.getdata(folder / f"KiDS_DR4.0_180.0_-0.5_r_{kind}.fits")
        compressed = fits.getdata(packed / f"KiDS_DR4.0_180.0_-0.5_r_{kind}.fits.fz", 1)
        tolerance = compute_sky_noise(config.simulation.depth["r"], 0.2) / 8 if kind == "sci" else 0
        assert np.abs(plain.astype(np.float64) - compressed).max() <= tolerance
