"""What counts as measured: limits, sentinels and errors of a table of photometry."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.measured import (
    Sentinels,
    check_fluxes,
    convert_magnitudes,
    describe_repeated,
    find_sentinels,
    flag_bands,
)
from photoz.photometry import AB_ZEROPOINT
from photoz.schema import Flag

NAN = np.nan
OWN = [0.2 + 0.01 * row + 0.001 for row in range(60)]  # redshifts of which no two are the same


@pytest.mark.parametrize("magnitude", [4.99, 40.1, -3.4e38, 3.4e38, np.inf, -np.inf, 0.0, 98.4])
def test_a_magnitude_outside_the_limits_is_none_and_counted(magnitude: float) -> None:
    band = convert_magnitudes(np.array([magnitude, 20.0]), np.array([0.1, 0.1]))
    assert np.isnan([band.flux_N[0], band.error_N[0]]).all()
    assert np.isfinite([band.flux_N[1], band.error_N[1]]).all()
    assert band.implausible == 1


@pytest.mark.parametrize(("error", "counted"), [(0.0, 1), (-1350.0, 1), (10.1, 1), (np.inf, 1), (NAN, 0), (-99.0, 0)])
def test_an_error_that_is_none_leaves_the_flux(error: float, counted: int) -> None:
    band = convert_magnitudes(np.array([20.0]), np.array([error]))
    assert np.isfinite(band.flux_N).all()
    assert np.isnan(band.error_N).all()
    assert band.implausible == counted


@pytest.mark.parametrize(
    ("error", "limit", "expected"),
    [
        (99.0, None, NAN),
        (NAN, None, NAN),
        (0.3, None, NAN),
        (26.0, None, 26.0),
        (26.0, 25.0, 25.0),
        (99.0, 25.0, 25.0),
        (26.0, 99.0, 26.0),
        (26.0, NAN, 26.0),
        (9.0, 41.0, NAN),
    ],
)
def test_what_was_not_detected_has_the_error_of_its_limit(error: float, limit: float | None, expected: float) -> None:
    limits_N = None if limit is None else np.array([limit])
    band = convert_magnitudes(np.array([99.0]), np.array([error]), limits_N=limits_N)
    assert band.flux_N.tolist() == [0.0]
    np.testing.assert_allclose(AB_ZEROPOINT - 2.5 * np.log10(band.error_N), [expected])
    assert band.implausible == 0


def test_a_sentinel_among_plausible_values_is_one() -> None:
    """A survey may write 30 where nothing was detected, in the error too."""
    band = convert_magnitudes(np.array([30.0, 35.0]), np.array([30.0, 0.1]), sentinels=Sentinels(30.0, 35.0))
    np.testing.assert_array_equal(band.flux_N, [0.0, NAN])
    assert np.isnan(band.error_N).all()
    assert band.implausible == 0


def test_extinction_is_taken_off_flux_error_and_limit_alike() -> None:
    magnitudes, errors = np.array([20.0, 99.0, -99.0, 20.0]), np.array([0.1, 26.0, -99.0, 0.1])
    clear = convert_magnitudes(magnitudes, errors)
    dim = convert_magnitudes(magnitudes, errors, extinctions_N=np.array([1.0, 1.0, NAN, NAN]))
    np.testing.assert_allclose(dim.flux_N[:2], clear.flux_N[:2] * 10**0.4)
    np.testing.assert_allclose(dim.error_N[:2], clear.error_N[:2] * 10**0.4)
    assert np.isnan(dim.flux_N[2:]).all()
    assert dim.implausible == 1


def test_a_negative_flux_is_a_measurement_and_one_beyond_the_brightest_none() -> None:
    band = check_fluxes(np.array([-50.0, 0.0, -1e12, 1e12, np.inf, NAN]), np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(band.flux_N, [-50.0, 0.0, NAN, NAN, NAN, NAN])
    np.testing.assert_array_equal(band.error_N, [1.0, 2.0, NAN, NAN, NAN, NAN])
    assert band.implausible == 3


anything = st.floats() | st.sampled_from([99.0, -99.0, 98.7, 22.5, 40.0, 5.0, 0.0, -0.0])


@given(st.lists(st.tuples(anything, anything, anything, anything), max_size=12))
def test_of_magnitudes_each_row_has_a_flux_or_is_counted_or_was_not_observed(rows: list[tuple[float, ...]]) -> None:
    magnitudes_N, errors_N, extinctions_N, limits_N = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    band = convert_magnitudes(magnitudes_N, errors_N, extinctions_N=extinctions_N, limits_N=limits_N)
    lost_N = np.isnan(band.flux_N)
    absent_N = np.isnan(magnitudes_N) | (np.abs(magnitudes_N + 99) <= 0.5)
    assert lost_N[absent_N].all()
    # What is lost though something stands there is counted, and so may be an error that is none.
    assert (lost_N & ~absent_N).sum() <= band.implausible <= (~absent_N).sum()
    assert not np.isinf([band.flux_N, band.error_N]).any()
    assert (band.flux_N[~lost_N] >= 0).all()
    assert np.isnan(band.error_N[lost_N]).all()
    assert not (band.error_N <= 0).any()


@given(st.lists(st.tuples(anything, anything), max_size=12))
def test_what_is_kept_of_fluxes_is_what_stands_there(rows: list[tuple[float, float]]) -> None:
    fluxes_N, errors_N = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    band = check_fluxes(fluxes_N, errors_N)
    kept_N = ~np.isnan(band.flux_N)
    np.testing.assert_array_equal(band.flux_N[kept_N], fluxes_N[kept_N])
    np.testing.assert_array_equal(band.error_N[~np.isnan(band.error_N)], errors_N[~np.isnan(band.error_N)])
    again = check_fluxes(band.flux_N, band.error_N)
    np.testing.assert_array_equal([again.flux_N, again.error_N], [band.flux_N, band.error_N])
    assert again.implausible == 0


@pytest.mark.parametrize("dtype", [np.float32, np.int16, ">f4"])
def test_magnitudes_of_any_type_are_the_same_flux(dtype: Any) -> None:
    values = np.array([[20, 2], [99, 25], [-99, -99]]).T
    found = convert_magnitudes(*values.astype(dtype))
    expected = convert_magnitudes(*values.astype(np.float64))
    np.testing.assert_array_equal([found.flux_N, found.error_N], [expected.flux_N, expected.error_N])


@pytest.mark.parametrize("value", [99.4, 98.5, 99.0, np.float32(98.9999)])
def test_a_sentinel_is_found_however_it_was_rounded_and_no_further(value: float) -> None:
    assert find_sentinels(np.array([value]), [99.0], magnitudes=True).all()
    # Of a flux it is a number like any other.
    assert find_sentinels(np.array([value]), [99.0], magnitudes=False).all() == (value == 99)
    assert not find_sentinels(np.array([98.4, 99.6, np.inf, np.nan]), [99.0], magnitudes=True).any()


def test_an_infinite_sentinel_is_found_and_no_sentinel_finds_nothing() -> None:
    values = np.array([np.inf, -np.inf, 1.0, np.nan])
    assert find_sentinels(values, [np.inf], magnitudes=False).tolist() == [True, False, False, False]
    assert not find_sentinels(values, [], magnitudes=True).any()
    assert find_sentinels(np.empty(0), [99.0], magnitudes=True).shape == (0,)


@given(st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), min_size=1, max_size=10))
def test_flags_say_of_each_row_what_its_bands_lack(rows: list[list[float]]) -> None:
    """Two bands, whose flags are those of one another with the bands changed over."""
    flux_g, error_g, flux_r, error_r = np.array(rows, dtype=np.float32).T
    flags_N = flag_bands([flux_g, flux_r], [error_g, error_r])
    assert flags_N.dtype == np.int32
    np.testing.assert_array_equal(flags_N, flag_bands([flux_r, flux_g], [error_r, error_g]))
    for row, flags in enumerate(flags_N.tolist()):
        alone = [
            Flag(int(flag_bands([flux[row : row + 1]], [error[row : row + 1]])[0]))
            for flux, error in ((flux_g, error_g), (flux_r, error_r))
        ]
        missing = Flag.BAND_NOT_DETECTED | Flag.BAND_NOT_OBSERVED
        expected = (alone[0] | alone[1]) & missing | (alone[0] & alone[1] & Flag.NO_PHOTOMETRY)
        assert flags == expected


@pytest.mark.parametrize(
    ("redshifts", "told"),
    [
        ([], ""),
        ([NAN, np.inf], ""),
        (OWN, ""),
        ([*OWN, *[0.3] * 9], ""),  # few rows repeat by chance
        ([*OWN, *[0.3] * 10], "10 of 70 rows have exactly the redshift 0.3"),
        ([*[9.9] * 20, *OWN, *[0.0] * 10, *[NAN] * 99], "10 of 90 rows have exactly the redshift 0.0; 20 of 90"),
        (OWN * 20, ""),  # rounded redshifts repeat alike
    ],
)
def test_redshifts_that_many_share_are_told(redshifts: list[float], told: str) -> None:
    found = describe_repeated(np.array(redshifts))
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_a_float32_is_told_as_the_table_has_it() -> None:
    assert describe_repeated(np.array([*OWN, *[0.1] * 12], np.float32)).endswith("redshift 0.1")
