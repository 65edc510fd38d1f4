"""Bad images are named and cost their tile; the rest goes on. Whole numbers with BSCALE and BLANK are good ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from ingested import ingest_every, truncate
from tiny_survey import IMAGE_BANDS, SCALE, TinySurvey, make_config, make_wcs, write_image, write_survey

from photoz.tiles import open_tile

GOOD, BAD = "180.0_-0.5", "181.0_-0.5"
SHAPE = (60, 70)


@pytest.fixture
def survey(tmp_path: Path) -> TinySurvey:
    return write_survey(tmp_path, (GOOD, BAD), shape=SHAPE, count=6)


def shift_band(survey: TinySurvey) -> None:
    wcs = make_wcs(181.0, -0.5, SHAPE)
    wcs.wcs.crpix += [0.3, 0]
    write_image(survey.path(BAD, "r_sci"), survey.images[BAD, "r"], wcs)


def cut_mask(survey: TinySurvey) -> None:
    write_image(survey.path(BAD, "g_msk"), np.zeros((50, 70), np.uint8), make_wcs(181.0, -0.5, (50, 70)))


def double_image(survey: TinySurvey) -> None:
    copy = survey.folder / "again" / survey.path(BAD, "i_sci").name
    copy.parent.mkdir()
    copy.write_bytes(survey.path(BAD, "i_sci").read_bytes())


def drop_zeropoint(survey: TinySurvey) -> None:
    for tile in (GOOD, BAD):
        for band in IMAGE_BANDS:
            if (tile, band) != (BAD, "u"):
                fits.setval(survey.path(tile, f"{band}_sci"), "MAGZERO", value=25.0)
    for path in survey.folder.glob("*_sci.fits"):
        # The card came after the checksums.
        with fits.open(path) as units:
            units[0].writeto(path.with_suffix(".new"), checksum=True)
        path.with_suffix(".new").rename(path)


def change_scale(survey: TinySurvey) -> None:
    for band in IMAGE_BANDS:
        wcs = make_wcs(181.0, -0.5, SHAPE, scale=1.1 * SCALE)
        write_image(survey.path(BAD, f"{band}_sci"), survey.images[BAD, band], wcs)


def cut_short(survey: TinySurvey) -> None:
    path = survey.path(BAD, "g_sci")
    packed = path.with_name(f"{path.name}.fz")
    write_image(packed, survey.images[BAD, "g"], make_wcs(181.0, -0.5, SHAPE), compress=True)
    path.unlink()
    truncate(packed)


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (shift_band, {}, "r_sci.fits lies up to 0.30 pixels off the pixels of"),
        (cut_mask, {}, "g_msk.fits has 50 x 70 pixels and its image"),
        (double_image, {"image_file": "*KiDS_DR4.0_{ra}_{dec}_{band}_sci.fits"}, "are the same image of one band"),
        (drop_zeropoint, {"zeropoint_key": "MAGZERO", "stored_unit": "nJy"}, "u_sci.fits has no MAGZERO"),
        (change_scale, {}, "has 0.2200 arcsec/pixel and survey.pixel_scale is 0.2000"),
        (cut_short, {}, "g_sci.fits.fz is truncated"),
    ],
)
def test_a_bad_image_is_named_and_costs_its_tile_alone(
    survey: TinySurvey, tmp_path: Path, spoil: Callable[[TinySurvey], None], settings: dict[str, Any], said: str
) -> None:
    spoil(survey)
    good, bad = ingest_every(make_config(tmp_path, survey=settings))
    assert (good.status, good.problem) == ("done", "")
    assert {name: part.status for name, part in bad.parts.items()} == {"catalogue": "done", "images": "failed"}
    assert said in bad.problem
    assert BAD in bad.problem


@pytest.mark.parametrize("packed", [False, True])
def test_whole_numbers_with_a_scale_and_a_blank_are_the_pixels_they_stand_for(
    survey: TinySurvey, tmp_path: Path, packed: bool
) -> None:
    numbers = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE).astype(np.int16)
    numbers[:5, :7] = -32768
    expected = np.where(numbers == -32768, np.nan, numbers * 0.25 + 100).astype(np.float32)
    header = make_wcs(180.0, -0.5, SHAPE).to_header()
    path = survey.path(GOOD, "r_sci")
    path.unlink()
    if packed:
        header["BLANK"] = -32768
        unit = fits.CompImageHDU(numbers, header, compression_type="RICE_1")
        unit.header["BSCALE"], unit.header["BZERO"] = 0.25, 100.0
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(f"{path}.fz")
    else:
        plain = fits.PrimaryHDU(numbers, header)
        plain.header["BLANK"], plain.header["BSCALE"], plain.header["BZERO"] = -32768, 0.25, 100.0
        # As they are, and not scaled once more by astropy.
        plain.writeto(path, output_verify="ignore")
        _write_raw(path, numbers)
    config = make_config(tmp_path)
    good, _ = ingest_every(config)
    assert good.problem == ""
    pixels = open_tile(config.locations.tiles, f"KIDS_{GOOD}").read_window(0, SHAPE[0], 0, SHAPE[1])
    np.testing.assert_allclose(pixels[IMAGE_BANDS.index("r")], expected, rtol=1e-6)


def _write_raw(path: Path, numbers: np.ndarray) -> None:
    """Put numbers into a FITS file's data as they are, whatever astropy has made of them."""
    with fits.open(path, do_not_scale_image_data=True) as units:
        start = units[0].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    data = numbers.astype(">i2").tobytes()
    content[start : start + len(data)] = data
    path.write_bytes(bytes(content))
