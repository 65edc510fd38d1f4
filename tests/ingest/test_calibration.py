"""What pixels mean: zero points by setting, header and unit, masks by planes and bits, weights from variances."""

from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from tiny_survey import make_wcs

from photoz.errors import ConfigError, SurveyFileError
from photoz.ingest.calibration import (
    compute_unit_factor,
    convert_weights,
    find_bad_bits,
    find_masked,
    read_zeropoint,
)
from photoz.photometry import AB_ZEROPOINT
from photoz.survey.fits import ImageInfo
from photoz.survey.settings import Survey


def make_info(own: dict[str, Any] | None = None, primary: dict[str, Any] | None = None) -> ImageInfo:
    header, first = (fits.Header(cards or {}).tostring(sep="\n") for cards in (own, primary))
    return ImageInfo("a/b.fits", header, (4, 4), 1, (0, 0, 0), None, None, False, first)


def test_without_a_key_the_zero_point_is_the_setting() -> None:
    assert read_zeropoint(make_info({"MAGZERO": 30.0}), Survey(zeropoint=25.5)) == 25.5


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        ("mag", "MAGZERO", 30.0, 30.0),
        ("mag", "ZP", 27, 27.0),
        ("flux0", "FLUXMAG0", 10**10.8, 27.0),
        ("unit", "BUNIT", "nJy", AB_ZEROPOINT),
        ("unit", "BUNIT", "nanomaggy", 22.5),
        ("unit", "BUNIT", "nanomaggies per pixel", None),
        ("unit", "BUNIT", " NanoMaggies/pix ", 22.5),
        ("unit", "BUNIT", "uJy", 23.9 + AB_ZEROPOINT - 31.4),
        ("unit", "BUNIT", "mJy", 16.4 + AB_ZEROPOINT - 31.4),
        ("unit", "BUNIT", "10^-9 Jy", AB_ZEROPOINT),
        ("unit", "BUNIT", "nJy pixel-1", AB_ZEROPOINT),
        ("unit", "BUNIT", "njy", AB_ZEROPOINT),
        ("unit", "BUNIT", "MJY", None),
        ("unit", "BUNIT", "Jy/beam", None),
        ("unit", "BUNIT", "MJy/sr", None),  # without a WCS the pixel's area is not known
        ("unit", "BUNIT", "adu", None),
        ("mag", "MAGZERO", "30", None),
        ("mag", "MAGZERO", True, None),
        ("flux0", "FLUXMAG0", 0.0, None),
        ("flux0", "FLUXMAG0", -5.0, None),
    ],
)
@pytest.mark.parametrize("where", ["own", "primary"])
def test_headers_tell_the_zero_point(kind: Any, key: str, value: object, expected: float | None, where: str) -> None:
    survey, info = Survey(zeropoint_key=key, zeropoint_kind=kind), make_info(**{where: {key: value}})
    if expected is None:
        with pytest.raises(SurveyFileError, match=rf"b\.fits has {key} = .*survey\.zeropoint_kind = '{kind}' asks for"):
            read_zeropoint(info, survey)
    else:
        assert read_zeropoint(info, survey) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("unit", "flux"), [("MJy/sr", 1e15), ("nmgy / arcsec2", 3631 * 206264.806**2)])
def test_a_surface_brightness_is_that_of_the_pixels_area(unit: str, flux: float) -> None:
    info = make_info({**make_wcs(10.0, 20.0, (4, 4), 0.03 / 3600).to_header(), "BUNIT": unit})
    found = read_zeropoint(info, Survey(zeropoint_key="BUNIT", zeropoint_kind="unit"))
    assert found == pytest.approx(AB_ZEROPOINT - 2.5 * np.log10(flux * (0.03 / 206264.806) ** 2), abs=1e-4)


def test_the_images_own_header_counts_before_the_files() -> None:
    info = make_info({"ZP": 25.0}, {"ZP": 30.0})
    assert read_zeropoint(info, Survey(zeropoint_key="ZP")) == 25.0


def test_a_header_without_a_zero_point_is_named_with_the_remedy() -> None:
    with pytest.raises(
        SurveyFileError, match=r'b\.fits has no ZP \(survey\.zeropoint_key\).*survey\.zeropoint_key = ""'
    ):
        read_zeropoint(make_info(), Survey(zeropoint_key="ZP"))


@given(st.floats(-5, 40))
def test_factors_bring_a_magnitude_to_its_flux_in_njy(zeropoint: float) -> None:
    factor = compute_unit_factor(zeropoint, Survey(stored_unit="nJy"))
    # A flux of 1 has the magnitude of the zero point.
    assert AB_ZEROPOINT - 2.5 * np.log10(factor) == pytest.approx(zeropoint, abs=1e-9)
    assert compute_unit_factor(zeropoint, Survey()) == 1.0


PLANES = {"MP_BAD": 0, "MP_SAT": 1, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_BRIGHT_OBJECT": 9}


def test_planes_and_bits_that_count() -> None:
    info = make_info(PLANES)
    assert find_bad_bits(info, "r", Survey(mask_planes=("SAT", "BRIGHT_OBJECT"))) == 2 + 512
    assert find_bad_bits(info, "r", Survey(mask_planes=("BAD",), mask_bits=(3,))) == 1 + 8
    assert find_bad_bits(make_info(), "r", Survey(mask_bits=(0, 62))) == 1 + 2**62
    assert find_bad_bits(make_info(), "r", Survey(mask_bits={"g": (1,), "r": (2, 3)})) == 12
    assert find_bad_bits(make_info(), "i", Survey(mask_bits={"g": (1,)})) == 0
    assert find_bad_bits(make_info(), "r", Survey()) is None


def test_a_mask_of_planes_is_not_taken_as_a_whole() -> None:
    with pytest.raises(SurveyFileError, match=r"planes \['BAD', 'BRIGHT_OBJECT', 'DETECTED', 'SAT'\].*mask_planes"):
        find_bad_bits(make_info(PLANES), "r", Survey())
    with pytest.raises(SurveyFileError, match=r"no mask plane \['NO_DATA'\].* but \['BAD'"):
        find_bad_bits(make_info(PLANES), "r", Survey(mask_planes=("SAT", "NO_DATA")))
    with pytest.raises(ConfigError, match=r"survey\.mask_bits has \[63\]"):
        find_bad_bits(make_info(), "r", Survey(mask_bits=(63,)))


@pytest.mark.parametrize("dtype", [np.uint8, ">i2", np.int32, np.int64, np.float64, np.uint64])
def test_masks_of_any_type_are_read_bit_by_bit(dtype: Any) -> None:
    values = np.array([[0, 1, 2, 3, 4, 6]], dtype)
    assert find_masked(values, 0b110).tolist() == [[False, False, True, True, True, True]]
    assert find_masked(values, None).tolist() == [[False, True, True, True, True, True]]


def test_a_mask_without_a_value_counts() -> None:
    assert find_masked(np.array([[np.nan, 1.0]]), 0b10).tolist() == [[True, False]]


def make_factors(*factors: float) -> np.ndarray:
    return np.array(factors, np.float32)[:, None, None]


def test_variances_become_weights_in_the_stored_unit() -> None:
    weights = np.array([[[4.0, 0.0, -1.0, np.nan, np.inf]], [[2.0, 1.0, 1.0, 1.0, 1.0]]], np.float32)
    convert_weights(weights, make_factors(10.0, 1.0), Survey(weight_kind="variance"))
    np.testing.assert_allclose(weights[0, 0], [0.0025, 0, 0, np.nan, 0], rtol=1e-6)
    np.testing.assert_allclose(weights[1, 0], [0.5, 1, 1, 1, 1])


def test_weights_of_images_that_stay_as_they_are_stay() -> None:
    weights = np.array([[[4.0, 0.0, np.nan]]], np.float32)
    kept = weights.copy()
    convert_weights(weights, make_factors(1.0), Survey())
    np.testing.assert_array_equal(weights, kept)
