"""Projections and matrices as surveys write them: TAN, SIP, TPV, by PC, CD and CROTA."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from photoz.survey.fits import ImageInfo
from photoz.survey.wcs import align_bands, parse_wcs, read_wcs

SHAPE, SCALE, ANGLE = (400, 300), 0.2, np.radians(12.0)
ROTATION = np.array([[-np.cos(ANGLE), np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])


def make_header(kind: str) -> fits.Header:
    header = fits.Header({"NAXIS": 2, "NAXIS1": SHAPE[1], "NAXIS2": SHAPE[0], "RADESYS": "ICRS"})
    projection = {"SIP": "TAN-SIP", "TPV": "TPV"}.get(kind, "TAN")
    header["CTYPE1"], header["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 150.1, 2.2, 140.5, 210.25
    if kind in ("PC", "CROTA"):
        header["CDELT1"], header["CDELT2"] = -SCALE / 3600, SCALE / 3600
    if kind == "PC":
        turn = ROTATION * np.array([[-1], [1]])
        header.update({f"PC{i + 1}_{j + 1}": turn[i, j] for i in (0, 1) for j in (0, 1)})
    elif kind == "CROTA":
        header["CROTA2"] = -12.0
    else:
        header.update({f"CD{i + 1}_{j + 1}": ROTATION[i, j] * SCALE / 3600 for i in (0, 1) for j in (0, 1)})
    if kind == "SIP":
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-6, "A_0_2": -1e-6, "B_1_1": 3e-6, "B_2_0": 1e-6})
    if kind == "TPV":
        header.update({"PV1_1": 1.0, "PV2_1": 1.0, "PV1_5": 0.3, "PV2_4": -0.4, "PV1_7": 2.0})
    return header


def make_info(header: fits.Header, name: str = "a.fits") -> ImageInfo:
    return ImageInfo(name, header.tostring(sep="\n"), SHAPE, 0, (0, 0, 0), None, None, False)


@pytest.mark.parametrize("kind", ["CD", "PC", "CROTA", "SIP", "TPV"])
def test_the_stored_wcs_finds_the_pixels_that_the_files_does(kind: str) -> None:
    header, other = make_header(kind), make_header(kind)
    # The second band begins 6 columns and 9 rows before the first, so that the grid's reference pixel moves.
    other["CRPIX1"] += 6
    other["CRPIX2"] += 9
    grid = align_bands({"g": make_info(header), "r": make_info(other, "b.fits")}, pixel_scale=SCALE, tolerance=0.1)
    assert grid.offsets == {"g": (9, 6), "r": (0, 0)}
    x, y = np.meshgrid(np.linspace(0, SHAPE[1] - 1, 9), np.linspace(0, SHAPE[0] - 1, 9))
    ra, dec = WCS(header).all_pix2world(x.ravel(), y.ravel(), 0)
    stored = parse_wcs(grid.wcs_header, name="grid")
    there = np.array(stored.all_world2pix(ra, dec, 0))
    np.testing.assert_allclose(there, [x.ravel() + 6, y.ravel() + 9], atol=0.01)


def test_the_ways_to_write_a_turn_are_one() -> None:
    places = [
        read_wcs(make_info(make_header(kind)), pixel_scale=SCALE).all_pix2world([5, 200], [7, 300], 0)
        for kind in ("CD", "PC", "CROTA")
    ]
    np.testing.assert_allclose(places[1], places[0], atol=1e-10)
    np.testing.assert_allclose(places[2], places[0], atol=1e-10)


def test_distortion_is_no_error_and_is_not_lost() -> None:
    straight, *bent = (
        np.array(read_wcs(make_info(make_header(kind)), pixel_scale=SCALE).all_pix2world([0], [0], 0))
        for kind in ("CD", "SIP", "TPV")
    )
    for place in bent:
        assert np.abs(place - straight).max() * 3600 > 0.001
