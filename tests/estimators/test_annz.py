"""The committee: who sits in it, what each member reads, and how much each counts."""

from dataclasses import replace

import from_magnitudes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.estimators.photometric.annz import (
    AnnzEstimator,
    _gather_arrays,
    _weigh,
    make_inputs,
    plan_members,
)
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.fitting import predict
from photoz.photometry import MagnitudeScaling
from photoz.schema import Flag

SCALING = MagnitudeScaling(np.array([20.0, 19.0, 18.0]), np.array([1.0, 2.0, 0.5]), np.array([-1.0, -0.8]))
FAST = {"members": 4, "kept": 2, "max_epochs": 2, "batch_size": 32}


def make_sample(count: int = 120, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    z_N = rng.uniform(0.05, 0.5, count)
    magnitudes_NF = 19 + z_N[:, None] * np.array([4.0, 0.0, -1.5]) + rng.normal(0, 0.02, (count, 3))
    return from_magnitudes.make_sample(("g", "r", "i"), magnitudes_NF, 0.02, z_N)


@pytest.fixture(scope="module")
def fitted() -> AnnzEstimator:
    return AnnzEstimator.fit(make_sample(), **FAST)


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 1000))
def test_members_have_annz2s_sizes_and_take_inputs_in_turn(bands: int, count: int, seed: int) -> None:
    members = plan_members(bands, count, seed)
    twice = {(4 * bands, 2 * bands), (2 * bands + 10, 2 * bands + 10), (2 * bands + 20, 2 * bands)}
    assert {member.hidden for member in members} <= twice
    assert [member.inputs for member in members] == (["magnitudes", "colours", "errors"] * 10)[:count]
    assert members == plan_members(bands, count, seed)


def test_all_sizes_are_drawn() -> None:
    assert len({member.hidden for member in plan_members(5, 60, 1)}) == 3


def test_colours_are_differences_of_what_is_scaled_and_four_times_as_large() -> None:
    magnitudes_NF, errors_NF = np.array([[21.0, 17.0, 18.5]]), np.full((1, 3), 0.02)
    # Scaled: 1, -1 and 1.
    assert make_inputs("magnitudes", magnitudes_NF, errors_NF, SCALING).tolist() == [[1.0, -1.0, 1.0]]
    assert make_inputs("colours", magnitudes_NF, errors_NF, SCALING).tolist() == [[1.0, -1.0, 1.0, -8.0, 8.0]]


def test_errors_are_logarithms_about_a_tenth_of_a_magnitude_within_bounds() -> None:
    magnitudes_NF = np.array([[20.0, 19.0, 18.0]] * 2)
    errors_NF = np.array([[0.1, 0.01, 1.0], [1e-9, 1e9, np.nan]])
    found = make_inputs("errors", magnitudes_NF, errors_NF, SCALING)[:, 3:]
    np.testing.assert_allclose(found, [[0, -1, 1], [-2, 2, 0]], atol=1e-6)


@pytest.mark.parametrize("kind", ["magnitudes", "colours", "errors"])
def test_a_missing_band_is_filled_from_its_neighbours_and_nothing_is_nan(kind: str) -> None:
    magnitudes_NF = np.array([[20.0, np.nan, 18.0], [np.nan, np.nan, np.nan]])
    found = make_inputs(kind, magnitudes_NF, np.full((2, 3), np.nan), SCALING)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # g - 1.0 = 19.0 and i + 0.8 = 18.8: their mean is 18.9, a twentieth of the spread of 2 below the mean of 19.
    assert found[0, 1] == pytest.approx(-0.05)
    assert (found[1] == 0).all()


def test_members_count_by_the_inverse_of_their_loss() -> None:
    assert _weigh([0.1, 0.3]).tolist() == pytest.approx([0.75, 0.25])


def test_each_member_has_arrays_of_its_own() -> None:
    arrays = _gather_arrays([{"layer": np.zeros(1)}, {"layer": np.ones(1)}], SCALING)
    assert {"0.layer", "1.layer", "mean", "std", "band_differences"} == set(arrays)
    assert (arrays["0.layer"], arrays["1.layer"]) == (0, 1)


def test_a_loss_of_nothing_takes_no_infinite_weight() -> None:
    weights = _weigh([0.0, 0.1])
    assert np.isfinite(weights).all()
    assert sum(weights) == pytest.approx(1.0)


def test_the_best_of_all_members_are_kept_and_averaged(fitted: AnnzEstimator) -> None:
    settings = fitted.parts.settings
    assert len(settings["chosen"]) == len(settings["weights"]) == 2
    assert all(kind in ("magnitudes", "colours", "errors") and len(hidden) == 2 for kind, hidden in settings["chosen"])
    assert sum(settings["weights"]) == pytest.approx(1.0)
    # From the least loss upwards, by whose inverse they weigh.
    assert settings["weights"] == sorted(settings["weights"], reverse=True)
    sample = make_sample(30, seed=3)
    mean, spread = fitted.parts.arrays["target"]
    magnitudes_NF, errors_NF = sample.magnitudes.magnitudes_NF, sample.magnitudes.errors_NF
    values = [
        predict(network, make_inputs(kind, magnitudes_NF, errors_NF, fitted._model.scaling))
        for kind, network in fitted._model.members
    ]
    expected = np.expm1(np.average(values, axis=0, weights=settings["weights"]) * spread + mean)
    np.testing.assert_allclose(fitted._predict(magnitudes_NF, errors_NF), expected, rtol=1e-6)


def test_more_to_keep_than_members_keeps_them_all() -> None:
    assert len(AnnzEstimator.fit(make_sample(), **{**FAST, "members": 1, "kept": 5}).parts.settings["chosen"]) == 1


def test_errors_that_are_not_known_and_rows_without_a_magnitude(fitted: AnnzEstimator) -> None:
    sample = make_sample(6)
    unknown = replace(sample, errors_NF=np.full((6, 3), np.nan)).make_inputs()
    found = fitted.estimate(from_magnitudes.lose(unknown, 0))
    assert np.isfinite(found.z_phot_N).tolist() == [False] + [True] * 5
    assert found.flags_N.tolist() == [int(Flag.ESTIMATE_FAILED)] + [0] * 5
