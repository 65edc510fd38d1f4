"""Bands on one pixel grid: whole-pixel shifts, in closed form, and headers that fit nothing."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_survey import SCALE, make_wcs

from photoz.errors import SurveyFileError
from photoz.survey.fits import ImageInfo
from photoz.survey.wcs import align_bands, parse_wcs, read_wcs

SHAPE = (60, 80)
PIXEL_SCALE = 0.2  # arcsec


def make_info(wcs: WCS, shape: tuple[int, int] = SHAPE, name: str = "a.fits") -> ImageInfo:
    header = wcs.to_header().tostring(sep="\n")
    return ImageInfo(f"folder/{name}", header, shape, 0, (0, 0, 0), None, None, False)


def shift(y: float, x: float, name: str = "b.fits", shape: tuple[int, int] = SHAPE) -> ImageInfo:
    """Make a band whose first pixel lies on row y and column x of the first band."""
    wcs = make_wcs(180.0, -0.5, SHAPE)
    wcs.wcs.crpix -= [x, y]
    return make_info(wcs, shape, name)


@settings(max_examples=50, deadline=None)
@given(y=st.integers(-14, 14), x=st.integers(-14, 14))
def test_a_shift_of_whole_pixels_is_found(y: int, x: int) -> None:
    grid = align_bands({"g": shift(0, 0), "r": shift(y, x)}, pixel_scale=PIXEL_SCALE)
    first = (max(-y, 0), max(-x, 0))
    assert grid.offsets == {"g": first, "r": (first[0] + y, first[1] + x)}
    assert grid.shape == (SHAPE[0] + abs(y), SHAPE[1] + abs(x))
    np.testing.assert_allclose(list(grid.residuals.values()), 0, atol=1e-6)
    # A source in the middle of the first band lies on that band's offset more of the grid.
    wcs = WCS(fits.Header.fromstring(grid.wcs_header, sep="\n"))
    ra, dec = make_wcs(180.0, -0.5, SHAPE).all_pix2world(40, 30, 0)
    np.testing.assert_allclose(np.ravel(wcs.all_world2pix(ra, dec, 0)), [40 + first[1], 30 + first[0]], atol=1e-6)


def test_the_grid_holds_bands_of_every_size() -> None:
    bands = {"g": shift(0, 0), "r": shift(3, -2, shape=(50, 90)), "i": shift(-4, 6, shape=(64, 60))}
    grid = align_bands(bands, pixel_scale=PIXEL_SCALE)
    assert grid.offsets == {"g": (4, 2), "r": (7, 0), "i": (0, 8)}
    assert grid.shape == (64, 90)


@pytest.mark.parametrize(("off", "passes"), [(0.0, True), (0.09, True), (-0.09, True), (0.11, False), (-0.3, False)])
def test_bands_may_lie_a_tenth_of_a_pixel_off(off: float, passes: bool) -> None:
    bands = {"g": shift(0, 0), "r": shift(2, 3 + off)}
    if passes:
        grid = align_bands(bands, pixel_scale=PIXEL_SCALE, tolerance=0.1)
        np.testing.assert_allclose(grid.residuals["r"], [0, off], atol=1e-6)
        return
    with pytest.raises(
        SurveyFileError, match=rf"lies up to {abs(off):.2f} pixels off .* survey\.band_tolerance = 0\.1"
    ):
        align_bands(bands, pixel_scale=PIXEL_SCALE, tolerance=0.1)


def test_what_a_shift_to_whole_pixels_leaves_is_told() -> None:
    grid = align_bands({"g": shift(0, 0), "r": shift(2.3, -1.4)}, pixel_scale=PIXEL_SCALE)
    assert grid.offsets == {"g": (0, 1), "r": (2, 0)}
    np.testing.assert_allclose(grid.residuals["r"], [0.3, -0.4], atol=1e-6)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (
            shift(20, 0),
            r"b\.fits does not lie on the pixels of a\.fits: its first pixel falls on row 20\.0, column -?0\.0",
        ),
        (make_info(make_wcs(180.0, -0.5, SHAPE, scale=SCALE * 1.015), name="b.fits"), r"changes by 1\.\d\d pixels"),
    ],
    ids=["far", "other scale"],
)
def test_bands_that_no_shift_brings_together_are_refused(other: ImageInfo, text: str) -> None:
    with pytest.raises(SurveyFileError, match=text):
        align_bands({"g": make_info(make_wcs(180.0, -0.5, SHAPE)), "r": other}, pixel_scale=PIXEL_SCALE)


@pytest.mark.parametrize(("scale", "fits_survey"), [(0.2, True), (0.2039, True), (0.2041, False), (0.1959, False)])
def test_the_pixel_scale_may_differ_by_two_percent(scale: float, fits_survey: bool) -> None:
    info = make_info(make_wcs(180.0, -0.5, SHAPE, scale=scale / 3600))
    if fits_survey:
        assert read_wcs(info, pixel_scale=PIXEL_SCALE).has_celestial
    else:
        with pytest.raises(SurveyFileError, match=rf"a\.fits has {scale:.4f} arcsec/pixel and survey\.pixel_scale is"):
            read_wcs(info, pixel_scale=PIXEL_SCALE)


def test_a_header_without_celestial_axes_and_one_that_contradicts_itself() -> None:
    with pytest.raises(SurveyFileError, match=r"a\.fits has no celestial WCS \(CTYPE1 = '', CTYPE2 = ''\)"):
        read_wcs(make_info(WCS(naxis=2)), pixel_scale=PIXEL_SCALE)
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN", "CRVAL1": 10.0})
    with pytest.raises(SurveyFileError, match=r"x\.fits has a WCS that cannot be used"):
        read_wcs(
            ImageInfo("x.fits", header.tostring(sep="\n"), SHAPE, 0, (0, 0, 0), None, None, False), pixel_scale=0.2
        )
    with pytest.raises(SurveyFileError, match=r"y\.fits has a WCS that cannot be used"):
        parse_wcs(fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "GLAT-TAN"}).tostring(sep="\n"), name="y.fits")


@pytest.mark.parametrize("letter", ["E", "D", "d"])
def test_exponents_are_read_as_fortran_and_idl_write_them(letter: str) -> None:
    """1.8D+02 is 180, where astropy.wcs reads 1.8: a tile at another place of the sky."""
    header = make_wcs(180.0, -0.5, SHAPE).to_header().tostring(sep="\n")
    cards = {
        "CRVAL1": f"1.8{letter}+02",
        "CRVAL2": f"-5.{letter}-1 / [deg] 12D5",
        "CDELT1": f"-{SCALE:.12e}".replace("e", letter),
    }
    lines = [
        f"{line[:10]}{cards[line[:8].strip()]}".ljust(80) if line[:8].strip() in cards else line
        for line in header.split("\n")
    ]
    wcs = parse_wcs("\n".join(lines), name="a.fits")
    np.testing.assert_allclose(wcs.wcs.crval, (180.0, -0.5), rtol=1e-12)
    np.testing.assert_allclose(wcs.wcs.cdelt, (-SCALE, SCALE), rtol=1e-9)
    assert list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
