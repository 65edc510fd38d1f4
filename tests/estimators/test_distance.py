from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.errors import EstimatorError, TrainingError
from photoz.estimators.distance import TrainingDistance

REAL = Path(__file__).parents[3] / "shared" / "data" / "catalogues" / "sdss_ugrizJHK.parquet"


def make_galaxies(count: int, seed: int) -> np.ndarray:
    """Five colours and magnitudes that follow two hidden properties, with photometric errors: (count, 5)."""
    rng = np.random.default_rng(seed)
    red, bright = rng.beta(3, 1.5, count), rng.normal(size=count)
    columns = [3 * red, 2 * red**2 + 0.2 * bright, bright, np.sqrt(red), red * bright / 2]
    return np.column_stack(columns) + rng.normal(0, 0.05, (count, 5))


def compare_flagged(features_NC, colour_N, train_N) -> tuple[float, float]:
    """Share flagged among test galaxies redder than 95 % of the training sample, and among the others."""
    cut = np.quantile(colour_N[train_N], 0.95)
    used = features_NC[train_N & (colour_N <= cut)]
    shift, spread = used.mean(axis=0), used.std(axis=0)
    distance_N = TrainingDistance.fit((used - shift) / spread).measure((features_NC[~train_N] - shift) / spread)
    red = colour_N[~train_N] > cut
    return float((distance_N[red] > 1).mean()), float((distance_N[~red] > 1).mean())


def test_reddest_galaxies_left_out_of_training_are_flagged_five_times_as_often():
    features_NC = make_galaxies(12_000, seed=3)
    outside, inside = compare_flagged(features_NC, features_NC[:, 0], np.arange(12_000) < 9_000)
    assert outside > 5 * inside
    assert 0.004 < inside < 0.02


@pytest.mark.parametrize("pair", [(1, 2), (1, 3), (0, 1)], ids=["g-r", "g-i", "u-g"])
def test_reddest_real_galaxies_left_out_of_training_are_flagged_five_times_as_often(pair):
    if not REAL.exists():
        pytest.skip(f"the catalogue of real SDSS galaxies is not at {REAL}")
    table = pq.read_table(REAL)
    magnitudes_NF = np.column_stack([table[f"mag_{band}"].to_numpy() for band in "ugriz"])
    complete = np.isfinite(magnitudes_NF).all(axis=1)
    magnitudes_NF = magnitudes_NF[complete]
    train_N = table["split"].to_numpy(zero_copy_only=False)[complete] == "train"
    colours_NC = np.column_stack([magnitudes_NF[:, 2], -np.diff(magnitudes_NF, axis=1)])
    outside, inside = compare_flagged(colours_NC, magnitudes_NF[:, pair[0]] - magnitudes_NF[:, pair[1]], train_N)
    assert outside > 5 * inside
    assert 0.005 < inside < 0.02


def test_hand_made_points():
    points = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])
    distance = TrainingDistance(points, np.array([1.0, 1e9]), 4)
    # The mean distance from the four: at their centre 1, at (3, 0) that of sqrt(10) twice, 2 and 4.
    np.testing.assert_allclose(distance.measure(np.array([[0.0, 0.0], [3.0, 0.0]])), [1, (2 * 10**0.5 + 6) / 4], 1e-6)
    # Their covariance is 1/2 in each direction, and 1 % is added: three from their centre.
    aside = TrainingDistance(points, np.array([1e9, 1.0]), 4)
    np.testing.assert_allclose(
        aside.measure(np.array([[0.0, 0.0], [3.0, 0.0]])), [0, 3 / (0.5 * 1.01) ** 0.5], 1e-6, 1e-6
    )


def test_far_galaxies_holes_and_ends_are_outside():
    rng = np.random.default_rng(1)
    two = np.concatenate([rng.normal((-4, 0), 0.3, (1000, 2)), rng.normal((4, 0), 0.3, (1000, 2))])
    distance = TrainingDistance.fit(two).measure(np.array([[4.0, 0.0], [0.0, 0.0], [6.5, 0.0], [1e6, 0.0]]))
    assert distance[0] < 0.6
    assert (distance[1:] > 1).all()
    assert distance[3] > distance[2]


def test_limit_leaves_one_in_a_hundred_outside():
    rng = np.random.default_rng(5)
    distance = TrainingDistance.fit(rng.normal(size=(5000, 3)))
    assert (distance.measure(rng.normal(size=(20_000, 3))) > 1).mean() == pytest.approx(0.01, abs=0.004)


def test_same_from_arrays_and_in_parts():
    features_NC = make_galaxies(3000, seed=4)
    distance = TrainingDistance.fit(features_NC[:2000], most=500, seed=7)
    again = TrainingDistance.from_arrays({**distance.to_arrays(), "other": np.zeros(3)})
    whole = distance.measure(features_NC)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(again.measure(features_NC), whole)
    parts = [distance.measure(features_NC[start : start + 77]) for start in range(0, 3000, 77)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(distance.points_MC) == 500
    assert all(name.startswith("coverage_") for name in distance.to_arrays())


@settings(deadline=None)  # the machine may be busy
@given(st.integers(3, 40), st.integers(1, 6), st.booleans())
def test_small_and_degenerate_samples_do_not_fail(count, features, equal):
    rng = np.random.default_rng(count)
    points = np.ones((count, features)) if equal else rng.normal(size=(count, features))
    measured = TrainingDistance.fit(points).measure(np.concatenate([points, points + 100]))
    assert np.isfinite(measured).all()
    assert (measured[count:] > 1).all()
    assert not equal or (measured[:count] == 0).all()


def test_missing_features_have_no_distance():
    distance = TrainingDistance.fit(make_galaxies(100, seed=1))
    values = make_galaxies(3, seed=2)
    values[1, 2] = np.nan
    assert np.isnan(distance.measure(values)).tolist() == [False, True, False]
    assert len(distance.measure(np.empty((0, 5)))) == 0


def test_wrong_features_are_told():
    with pytest.raises(TrainingError, match=r"\(2, 5\).*at least 3 galaxies"):
        TrainingDistance.fit(make_galaxies(2, seed=1))
    with pytest.raises(TrainingError, match="1 of them not finite"):
        TrainingDistance.fit(np.array([[1.0], [2.0], [np.inf]]))
    with pytest.raises(EstimatorError, match=r"\(3, 4\).*5 features"):
        TrainingDistance.fit(make_galaxies(9, seed=1)).measure(np.zeros((3, 4)))
