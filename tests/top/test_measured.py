"""What counts as measured: limits, sentinels and errors of a table of photometry."""

import numpy as np
import pytest

from photoz.measured import Sentinels, check_fluxes, convert_magnitudes
from photoz.photometry import AB_ZEROPOINT

NAN = np.nan


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
