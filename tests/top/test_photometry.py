"""Magnitudes from fluxes and back, missing bands and scaling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import TrainingError
from photoz.photometry import (
    POGSON,
    MagnitudeScaling,
    MagnitudeSums,
    compute_fluxes_from_magnitudes,
    derive_magnitudes,
    fill_missing_magnitudes,
    fit_band_differences,
)

NAN = np.nan


def test_both_sides_are_averaged_and_edges_use_one():
    differences = np.array([-1.0, -0.5, -0.25])
    filled = fill_missing_magnitudes(
        np.array([[20.0, NAN, 18.0, 18.0], [NAN, 19.0, 18.5, NAN], [NAN, NAN, NAN, NAN]]), differences
    )
    np.testing.assert_allclose(filled[0], [20.0, (19.0 + 18.5) / 2, 18.0, 18.0])
    np.testing.assert_allclose(filled[1], [20.0, 19.0, 18.5, 18.25])
    assert np.isnan(filled[2]).all()


def test_neighbours_that_are_missing_too_are_skipped():
    filled = fill_missing_magnitudes(np.array([[20.0, NAN, NAN, 18.0]]), np.array([-1.0, -0.5, -0.25]))
    np.testing.assert_allclose(filled[0], [20.0, (19.0 + 18.75) / 2, (18.5 + 18.25) / 2, 18.0])


def test_infinite_magnitudes_count_as_missing():
    filled = fill_missing_magnitudes(np.array([[np.inf, 19.0]]), np.array([-1.0]))
    np.testing.assert_allclose(filled, [[20.0, 19.0]])


@given(st.integers(0, 2**32 - 1))
def test_galaxies_that_follow_the_mean_differences_are_restored(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0, 1, 8)
    level_N1 = rng.normal(20, 1, (30, 1))
    true_NF = level_N1 + np.concatenate([[0], np.cumsum(differences)])
    gaps_NF = rng.random(true_NF.shape) < 0.5
    gaps_NF[:, rng.integers(9)] = False
    filled_NF = fill_missing_magnitudes(np.where(gaps_NF, NAN, true_NF), differences)
    np.testing.assert_allclose(filled_NF, true_NF, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(0, 50))
def test_sums_of_parts_are_those_of_the_whole(seed, cut):
    rng = np.random.default_rng(seed)
    values_NF = rng.normal(20, 2, (50, 4))
    values_NF[rng.random(values_NF.shape) < 0.3] = NAN
    values_NF[:2] = [[20, 19, 18, 17], [21, 19, 18, 18]]
    parts = MagnitudeSums.empty(4).add(values_NF[:cut]).add(values_NF[cut:])
    scaling = MagnitudeScaling.fit(parts, "abcd")
    np.testing.assert_allclose(scaling.mean_F, np.nanmean(values_NF, axis=0))
    np.testing.assert_allclose(scaling.std_F, np.nanstd(values_NF, axis=0))
    np.testing.assert_allclose(scaling.differences, np.nanmean(np.diff(values_NF, axis=1), axis=0))
    np.testing.assert_allclose(fit_band_differences(values_NF), scaling.differences)


def test_features_have_mean_0_and_spread_1():
    values_NF = np.random.default_rng(0).normal(20, 3, (1000, 3))
    features_NF = MagnitudeScaling.fit(MagnitudeSums.empty(3).add(values_NF), "gri").apply(values_NF)
    assert features_NF.dtype == np.float32
    np.testing.assert_allclose(features_NF.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(features_NF.std(axis=0), 1, atol=1e-6)


def test_scaling_survives_a_manifest():
    scaling = MagnitudeScaling(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([5.0]))
    again = MagnitudeScaling.from_dict(scaling.to_dict())
    np.testing.assert_array_equal(again.apply(np.ones((1, 2))), scaling.apply(np.ones((1, 2))))


def test_band_without_any_magnitude_is_named():
    sums = MagnitudeSums.empty(2).add(np.array([[20.0, NAN]]))
    with pytest.raises(TrainingError, match="magnitude in Ks, J with Ks"):
        MagnitudeScaling.fit(sums, ("J", "Ks"))


@given(
    st.lists(st.tuples(st.floats(5, 40), st.floats(1e-4, 1.08)), min_size=1, max_size=20),
    st.sampled_from([np.float32, np.float64]),
)
def test_magnitudes_come_back_from_fluxes(rows, dtype):
    magnitudes, errors = np.array(rows).T[:, :, None]
    fluxes = (values.astype(dtype) for values in compute_fluxes_from_magnitudes(magnitudes, errors))
    found = derive_magnitudes(*fluxes)
    assert found.magnitudes_NF.dtype == found.errors_NF.dtype == dtype
    within = 4e-6 if dtype == np.float32 else 1e-12  # mag; float32 holds 40 to within 2e-6
    np.testing.assert_allclose(found.magnitudes_NF, magnitudes, rtol=0, atol=within)
    np.testing.assert_allclose(found.errors_NF, errors, rtol=1e-6)
    assert not found.not_detected_NF.any()


def test_a_flux_within_its_error_is_not_detected_and_an_unknown_error_hides_none():
    fluxes = np.array([[1.0, 0.99, 0.0, -5.0, 1e-3, 1.0, NAN, np.inf]])
    errors = np.array([[1.0, 1.0, NAN, 1.0, NAN, 0.0, 1.0, 1.0]])
    found = derive_magnitudes(fluxes, errors)
    assert found.not_detected_NF.tolist() == [[False, True, True, True, False, False, False, False]]
    assert np.isfinite(found.magnitudes_NF).tolist() == [[True, False, False, False, True, True, False, False]]
    assert np.flatnonzero(np.isfinite(found.errors_NF)).tolist() == [0]
    assert found.errors_NF[0, 0] == pytest.approx(POGSON)
