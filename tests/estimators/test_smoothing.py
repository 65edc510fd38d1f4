import numpy as np
import pytest
from from_magnitudes import make_inputs, make_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.errors import TrainingError
from photoz.estimators.base import Pdfs
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.boosted import import_lightgbm, make_parameters, make_tree_features
from photoz.estimators.smoothing import compute_smoothing_weights
from photoz.photometry import fit_band_differences
from photoz.schema import LEVELS

SPIKE = 0.25


def draw_redshifts(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.beta(2.2, 4.0, count) * 0.6


def make_magnitudes(z_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magnitudes of galaxies whose colours tell the redshift to some 0.025."""
    bright_N = rng.uniform(17, 20, len(z_N))
    return bright_N[:, None] + np.outer(z_N, [2.5, 0.0, -0.9]) + rng.normal(0, 0.05, (len(z_N), 3))


def make_features(z_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    magnitudes_NF = make_magnitudes(z_N, rng)
    return make_tree_features(magnitudes_NF, np.full_like(magnitudes_NF, 0.05), fit_band_differences(magnitudes_NF))


def predict(z_train_N, features_train, features_test, weights_N) -> np.ndarray:
    lightgbm = import_lightgbm()
    settings = {
        "learning_rate": 0.1,
        "num_leaves": 15,
        "min_data_in_leaf": 20,
        "feature_fraction": 1.0,
        "bagging_fraction": 1.0,
        "huber_delta": 0.02,
    }
    data = lightgbm.Dataset(features_train, label=np.log1p(z_train_N), weight=weights_N)
    booster = lightgbm.train(make_parameters(settings, 1) | {"num_threads": 1}, data, num_boost_round=60)
    return np.expm1(booster.predict(features_test))


def measure_excess(z_N: np.ndarray, expected_N: np.ndarray) -> float:
    """Galaxies within 0.01 of the spike beyond those of an estimator that never saw one, over the latter."""
    near, expected = (np.count_nonzero(np.abs(values - SPIKE) < 0.01) for values in (z_N, expected_N))
    return near / expected - 1


def test_weights_take_a_spike_of_training_out_of_the_redshifts_predicted():
    rng = np.random.default_rng(1)
    smooth_N, spike_N = draw_redshifts(2_500, rng), rng.normal(SPIKE, 0.003, 700)
    z_N, test_N = np.concatenate([smooth_N, spike_N]), draw_redshifts(6_000, rng)
    features, test = make_features(z_N, rng), make_features(test_N, rng)
    unclustered = predict(smooth_N, features[:2_500], test, None)
    without = measure_excess(predict(z_N, features, test, None), unclustered)
    with_weights = measure_excess(predict(z_N, features, test, compute_smoothing_weights(z_N)), unclustered)
    assert without > 0.5
    assert abs(with_weights) < without / 3


def measure_near_spike(pdf: Pdfs) -> float:
    """Measure the share of the stacked p(z) within 0.01 of the spike."""
    shares = [np.interp([SPIKE - 0.01, SPIKE + 0.01], quantiles, LEVELS) for quantiles in pdf.quantiles_NQ]
    return float(np.diff(shares, axis=1).mean())


@pytest.mark.slow
def test_mlps_setting_takes_a_spike_of_training_out_of_the_stacked_densities():
    rng = np.random.default_rng(1)
    smooth_N, spike_N = draw_redshifts(2_500, rng), rng.normal(SPIKE, 0.003, 700)
    z_N, test_N = np.concatenate([smooth_N, spike_N]), draw_redshifts(6_000, rng)
    magnitudes_NF, test_NF = make_magnitudes(z_N, rng), make_magnitudes(test_N, rng).astype(np.float32)
    inputs = make_inputs(test_NF, 0.05)

    def stack(count: int, **settings: float) -> float:
        sample = make_sample(("g", "r", "i"), magnitudes_NF[:count], 0.05, z_N[:count])
        estimates = MlpEstimator.fit(sample, members=2, epochs=20, **settings).estimate(inputs)
        return measure_near_spike(estimates.pdf)

    unclustered = stack(2_500)
    without = stack(3_200) / unclustered - 1
    assert without > 0.5
    assert abs(stack(3_200, smooth_nz_width=0.08) / unclustered - 1) < without / 3


def test_weighted_distribution_has_no_spike():
    rng = np.random.default_rng(2)
    z_N = np.concatenate([draw_redshifts(20_000, rng), rng.normal(SPIKE, 0.003, 4_000)])
    edges = np.linspace(0.15, 0.35, 21)
    plain = np.histogram(z_N, edges)[0]
    weighted = np.histogram(z_N, edges, weights=compute_smoothing_weights(z_N))[0]
    assert plain.max() > 2.5 * np.median(plain)
    assert weighted.max() < 1.25 * np.median(weighted)


def test_smooth_sample_keeps_its_distribution():
    z_N = draw_redshifts(50_000, np.random.default_rng(3))
    weights_N = compute_smoothing_weights(z_N)
    edges = np.quantile(z_N, np.linspace(0.02, 0.98, 11))
    counts, weighted = np.histogram(z_N, edges)[0], np.histogram(z_N, edges, weights=weights_N)[0]
    np.testing.assert_allclose(weighted / counts, 1, atol=0.06)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(0, 6), min_size=1, max_size=200), st.sampled_from([0.02, 0.08, 0.5]))
def test_weights_have_mean_one_and_bounds(z, width):
    weights_N = compute_smoothing_weights(z, width=width)
    assert weights_N.mean() == pytest.approx(1)
    assert weights_N.min() >= 0.1
    assert weights_N.max() <= 10
    order = np.random.default_rng(1).permutation(len(z))
    np.testing.assert_allclose(compute_smoothing_weights(np.array(z)[order], width=width), weights_N[order])


def test_nothing_and_wrong_values():
    assert len(compute_smoothing_weights([])) == 0
    with pytest.raises(TrainingError, match="1 of 2 redshifts are not finite"):
        compute_smoothing_weights([0.1, np.nan])
    with pytest.raises(TrainingError, match="positive width"):
        compute_smoothing_weights([0.1], width=0.0)
