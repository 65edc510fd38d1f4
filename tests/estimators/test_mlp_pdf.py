"""p(z) of the ensemble: calibrated, wider where something is missing, and the same after a round trip."""

from dataclasses import replace
from functools import lru_cache

import from_magnitudes
import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import norm

from photoz.estimators import Inputs, load_estimator
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble
from photoz.estimators.mlp.estimator import MlpEstimator, fit_ensemble
from photoz.estimators.mlp.lacking import choose_dark, choose_lost, darken_bands, drop_bands
from photoz.estimators.mlp.unseen import (
    _encode,
    assign_folds,
    code_patterns,
    compute_member_pits,
    compute_unseen_pit,
    find_lacking,
    find_unseen,
    fit_recalibration,
    measure_spread,
)
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.features import FluxFeatures
from photoz.inference import estimate_rows
from photoz.pdf import compute_coverage, compute_ks
from photoz.pdf import compute_pit as measure_pit
from photoz.photometry import derive_magnitudes
from photoz.schema import LEVELS, Flag, find_algorithm, make_catalogue_schema, make_source_schema

BANDS = ("u", "g", "r", "i")
SMALL = {"members": 5, "hidden": (24, 24), "components": 3, "least_steps": 300, "epochs": 10, "batch_size": 128}


def make_sample(count: int, seed: int = 0, *, reddest: float = 0.5) -> Sample:
    """Galaxies with one colour relation and errors that grow with the magnitude."""
    rng = np.random.default_rng(seed)
    z_N = rng.uniform(0.02, reddest, count)
    r_N = rng.uniform(16.0, 20.0, count)
    clean_NF = r_N[:, None] + np.array([2.5, 0.7, 0.0, -0.3]) + np.array([1.0, 3.0, 0.0, -0.9]) * z_N[:, None]
    errors_NF = 0.03 * 10 ** (0.25 * (clean_NF - 18.0))
    return from_magnitudes.make_sample(BANDS, clean_NF + rng.normal(0.0, errors_NF), errors_NF, z_N)


def lose(inputs: Inputs, band: int, *, dark: bool = False) -> Inputs:
    return from_magnitudes.lose(inputs, slice(None), band, flux=0.0 if dark else np.nan)


def measure_widths(quantiles_NQ: np.ndarray) -> np.ndarray:
    return quantiles_NQ[:, LEVELS.index(0.84)] - quantiles_NQ[:, LEVELS.index(0.16)]


@lru_cache
def get_fitted() -> MlpEstimator:
    return MlpEstimator.fit(make_sample(3000), **SMALL)


@pytest.mark.parametrize("band", [None, 1])
def test_density_is_calibrated_also_without_a_band(band):
    test = make_sample(2000, seed=5)
    inputs = test.make_inputs() if band is None else lose(test.make_inputs(), band)
    estimates = get_fitted().estimate(inputs)
    quantiles_NQ = estimates.pdf.quantiles_NQ
    assert compute_ks(measure_pit(quantiles_NQ, test.z_N)) < (0.06 if band is None else 0.09)  # 3,000 galaxies are few
    assert compute_coverage(quantiles_NQ, test.z_N, 0.68) == pytest.approx(0.68, abs=0.05)


def test_missing_band_widens_the_density():
    inputs = make_sample(300, seed=6).make_inputs()
    full, less = (get_fitted().estimate(each).pdf.quantiles_NQ for each in (inputs, lose(inputs, 1)))
    assert np.median(measure_widths(less)) > 1.5 * np.median(measure_widths(full))


def test_not_detected_is_not_the_same_as_not_observed():
    inputs = make_sample(100, seed=7).make_inputs()
    dark, absent = (get_fitted().estimate(lose(inputs, 0, dark=dark)).pdf.quantiles_NQ for dark in (True, False))
    assert np.abs(dark - absent).max() > 1e-3


def test_points_alone_are_the_same_points():
    inputs = lose(make_sample(100, seed=7).make_inputs(), 0, dark=True)
    points = get_fitted().without_pdf()
    assert get_fitted().gives_pdf
    assert not points.gives_pdf
    estimates = points.estimate(inputs)
    assert estimates.pdf is None
    np.testing.assert_array_equal(estimates.z_phot_N, get_fitted().estimate(inputs).z_phot_N)


def test_not_detected_has_no_flux_and_is_not_marked_as_missing():
    sample = make_sample(200)
    fluxes_NF = sample.fluxes_NF.copy()
    fluxes_NF[:2, 0] = 0.0, np.nan
    features_NC = FluxFeatures.fit(sample).apply(fluxes_NF, sample.errors_NF)
    assert features_NC[0, 0] > features_NC[2:, 0].max()
    assert features_NC[0, -4] < features_NC[1, -4]


def test_quantiles_rise_and_agree_with_the_density():
    inputs = make_sample(50, seed=8).make_inputs()
    quantiles_NQ = get_fitted().estimate(inputs).pdf.quantiles_NQ
    assert (np.diff(quantiles_NQ, axis=1) >= 0).all()
    grid = np.linspace(-0.3, 1.2, 6001)
    pdf_NZ = get_fitted().estimate_pdf(inputs, grid)
    cdf_NZ = np.cumsum(pdf_NZ, axis=1) * (grid[1] - grid[0])
    found = [np.interp(each, grid, cdf) for each, cdf in zip(quantiles_NQ, cdf_NZ, strict=True)]
    np.testing.assert_allclose(found, np.broadcast_to(LEVELS, quantiles_NQ.shape), atol=0.03)


def test_folder_and_seed_give_the_same_density(tmp_path):
    inputs = make_sample(80, seed=9).make_inputs()
    first = MlpEstimator.fit(make_sample(400), **SMALL, seed=3)
    first.save(f"{tmp_path}/mlp")
    expected = first.estimate(inputs)
    again = (load_estimator(f"{tmp_path}/mlp"), MlpEstimator.fit(make_sample(400), **SMALL, seed=3))
    for estimates in (each.estimate(inputs) for each in again):
        np.testing.assert_array_equal(estimates.z_phot_N, expected.z_phot_N)
        for name, values in vars(expected.pdf).items():
            np.testing.assert_array_equal(vars(estimates.pdf)[name], values)


def test_row_without_magnitudes_has_no_density():
    inputs = make_sample(5, seed=10).make_inputs()
    pdf = get_fitted().estimate(from_magnitudes.lose(inputs, 2)).pdf
    assert np.isnan(pdf.quantiles_NQ).all(axis=1).tolist() == [False, False, True, False, False]
    assert np.isnan(pdf.z_std_model_N[2])


def test_galaxies_unlike_those_of_the_training_are_flagged_and_their_members_disagree():
    estimator = MlpEstimator.fit(make_sample(1500, reddest=0.35), **SMALL)
    test = make_sample(2000, seed=11)
    estimates = estimator.estimate(test.make_inputs())
    outside_N = estimates.flags_N & Flag.OUTSIDE_TRAINING != 0
    red_N = test.z_N > 0.4
    np.testing.assert_array_equal(outside_N, estimates.pdf.distance_N > 1)
    assert outside_N[red_N].mean() > 5 * outside_N[test.z_N < 0.35].mean()
    spread_N = estimates.pdf.z_std_model_N
    assert np.median(spread_N[red_N]) > 2 * np.median(spread_N[test.z_N < 0.35])


def test_folds_are_equal_and_follow_the_seed():
    fold_N = assign_folds(103, seed=1)
    assert sorted(np.bincount(fold_N)) == [4] * 22 + [5] * 3
    np.testing.assert_array_equal(fold_N, assign_folds(103, seed=1))
    unseen_NK = np.stack([find_unseen(fold_N, member) for member in range(5)], axis=1)
    # Each galaxy is left out by a member, and one of five by a second.
    assert unseen_NK.any(axis=1).all()
    assert unseen_NK.sum(axis=1).max() == 2
    assert (unseen_NK.sum(axis=1) == 2).mean() == pytest.approx(0.2, abs=0.05)
    assert unseen_NK.mean(axis=0) == pytest.approx(0.24, abs=0.03)


def test_member_does_not_see_the_galaxies_it_is_calibrated_on():
    rng = np.random.default_rng(0)
    fold_N = assign_folds(1000, seed=1)
    targets_N = np.where(find_unseen(fold_N, 0), 4.0, 0.0).astype(np.float32)
    recipe = EnsembleRecipe(members=2, hidden=(8,), components=1, least_steps=500, epochs=1)
    torch.manual_seed(0)
    network = MixtureEnsemble(3, recipe)
    features_NC = rng.normal(size=(1000, 3)).astype(np.float32)
    fit_ensemble(network, lambda: features_NC, targets_N, recipe=recipe, fold_N=fold_N)
    _, centres, _ = network(torch.from_numpy(features_NC))
    first, second = centres.mean(dim=(1, 2)).tolist()
    assert first < 0.3  # of the other galaxies: 0
    assert second > first + 0.4  # a quarter of what it sees is 4


def test_each_galaxy_is_judged_by_the_member_that_did_not_see_it():
    sample, model = make_sample(60, seed=15), get_fitted()._model.ensemble
    fold_N = assign_folds(60, seed=1)
    pit_N, pit_NK = compute_unseen_pit(model, sample, fold_N), compute_member_pits(model, sample)
    unseen_NK = np.stack([find_unseen(fold_N, member) for member in range(5)], axis=1)
    for member in range(5):
        rows = np.flatnonzero(unseen_NK[:, member] & (unseen_NK.sum(axis=1) == 1))
        ratio_N = norm.ppf(pit_N[rows]) / norm.ppf(pit_NK[rows, member])
        np.testing.assert_allclose(ratio_N, np.median(ratio_N), rtol=1e-3)
        assert 0.7 < np.median(ratio_N) <= 1.0


@pytest.mark.parametrize("own", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("knows", [1.0, 0.6])
def test_members_disagree_as_on_galaxies_that_none_has_seen(own, knows):
    rng, rows = np.random.default_rng(0), 100_000
    galaxy_N1 = rng.normal(size=(rows, 1))
    fold_N = assign_folds(rows, seed=1)
    unseen_NK = np.stack([find_unseen(fold_N, member) for member in range(5)], axis=1)
    fresh_NK = galaxy_N1 + rng.normal(0.0, own, (rows, 5))
    # Who has seen a galaxy errs less, and more as others do.
    seen_NK = knows * galaxy_N1 + rng.normal(0.0, own / 2, (rows, 5))
    spread = measure_spread(norm.cdf(np.where(unseen_NK, fresh_NK, seen_NK)), unseen_NK)
    due = np.std(norm.ppf(norm.cdf(fresh_NK).mean(axis=1))) / np.std(fresh_NK)
    assert spread.compare(5) == pytest.approx(due, abs=0.02)
    assert spread.one == pytest.approx(1 + own**2, rel=0.03)
    assert spread.own == pytest.approx(own**2, rel=0.15, abs=0.01)


def test_members_without_a_galaxy_in_common_do_not_disagree():
    pit_NK = np.random.default_rng(0).random((100, 2))
    assert measure_spread(pit_NK, np.tile([True, False], (100, 1))).compare(2) == 1.0


def test_recalibration_moves_the_density_and_not_the_point():
    estimator, inputs = get_fitted(), make_sample(50, seed=13).make_inputs()
    sample = make_sample(1000, seed=14)
    samples = sample, replace(sample, z_N=sample.z_N + 0.02)
    maps = [
        fit_recalibration(estimator._model.ensemble, each, assign_folds(1000, 1), 1).to_arrays() for each in samples
    ]
    first, second = (
        MlpEstimator(replace(estimator.parts, arrays={**estimator.parts.arrays, **arrays})).estimate(inputs)
        for arrays in maps
    )
    np.testing.assert_array_equal(first.z_phot_N, second.z_phot_N)
    median = LEVELS.index(0.5)
    shift = np.median(second.pdf.quantiles_NQ[:, median] - first.pdf.quantiles_NQ[:, median])
    assert shift == pytest.approx(0.02, abs=0.01)


def test_member_spread_and_distance_are_each_their_own():
    pdf = get_fitted().estimate(make_sample(50, seed=16).make_inputs()).pdf
    assert np.median(pdf.z_std_model_N) < 0.05 < np.median(pdf.distance_N)


def test_dropped_bands_come_in_the_patterns_of_surveys():
    lost_NF = choose_lost(4000, 5, np.random.default_rng(0))
    counts_N = lost_NF.sum(axis=1)
    assert 0.5 < (counts_N == 1).mean() < 0.75
    red_N = lost_NF[:, 4] & lost_NF[:, 3] & lost_NF[:, 2] & ~lost_NF[:, :2].any(axis=1)
    assert red_N.mean() > 0.04


def test_dropping_bands_keeps_the_rest():
    sample = make_sample(500)
    dropped = drop_bands(sample, 0.3, np.random.default_rng(0))
    kept_NF = np.isfinite(dropped.fluxes_NF)
    np.testing.assert_array_equal(dropped.fluxes_NF[kept_NF], sample.fluxes_NF[kept_NF])
    assert kept_NF.any(axis=1).all()
    assert 0.15 < (~kept_NF).any(axis=1).mean() < 0.4
    assert np.isfinite(drop_bands(sample, 0.0, np.random.default_rng(0)).fluxes_NF).all()


def test_only_faint_magnitudes_are_taken_for_not_detected():
    sample = make_sample(2000)
    dark_NF = choose_dark(sample, 0.5, np.random.default_rng(0))
    assert dark_NF[:, 0].any()
    assert sample.magnitudes.errors_NF[dark_NF].min() > 0.36
    darkened = darken_bands(sample, dark_NF)
    np.testing.assert_array_equal(darkened.fluxes_NF == 0, dark_NF)
    np.testing.assert_array_equal(np.isnan(darkened.errors_NF), dark_NF)
    np.testing.assert_array_equal(darkened.magnitudes.not_detected_NF, dark_NF)


def test_rare_patterns_are_numbered_by_how_much_is_missing():
    lacking_NB = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    assert code_patterns(lacking_NB, np.array([0, 1])).tolist() == [1, 10, 10, 0]


def test_patterns_of_forty_bands_have_codes_of_their_own():
    rng = np.random.default_rng(0)
    lacking_NB = np.unique(rng.random((3000, 80)) < 0.1, axis=0)
    known_P = np.unique(code_patterns(lacking_NB, np.empty(0, np.int64)))
    assert (known_P >= 1 << 62).all()  # none is known: numbered by how much is missing
    codes_N = _encode(lacking_NB)
    assert len(np.unique(codes_N)) == len(lacking_NB)
    assert (codes_N >= 0).all()
    np.testing.assert_array_equal(code_patterns(lacking_NB, codes_N), codes_N)


@pytest.mark.slow
def test_forty_bands():
    rng = np.random.default_rng(2)
    z_N = rng.uniform(0.02, 0.5, 900)
    magnitudes_NF = 18 + rng.normal(0, 0.5, (900, 1)) + 3 * z_N[:, None] * np.cos(np.arange(40))
    magnitudes_NF[rng.random((900, 40)) < 0.05] = np.nan
    bands = tuple(f"n{number}" for number in range(40))
    sample = from_magnitudes.make_sample(bands, magnitudes_NF, 0.03, z_N)
    estimates = MlpEstimator.fit(sample, **SMALL).estimate(sample.make_inputs())
    assert np.std(estimates.z_phot_N - z_N) < 0.03
    assert np.isfinite(estimates.pdf.quantiles_NQ).all()


def test_not_observed_and_not_detected_are_two_patterns():
    magnitudes = derive_magnitudes(np.array([[-1.0, 20.0], [np.nan, 20.0]]), np.ones((2, 2)))
    assert find_lacking(magnitudes).tolist() == [[False, False, True, False], [True, False, False, False]]


def test_catalogue_holds_the_density():
    sample = make_sample(20, seed=12)
    columns = from_magnitudes.make_columns(BANDS, sample.magnitudes.magnitudes_NF, sample.magnitudes.errors_NF)
    columns["flux_u"][:2] = 0.0, np.nan
    schema = make_source_schema(BANDS)
    empty = {field.name: pa.array([""] * 20 if field.type == pa.string() else np.zeros(20)) for field in schema}
    arrays = [pa.array(columns.get(f.name)) if f.name in columns else empty[f.name].cast(f.type) for f in schema]
    table = estimate_rows(pa.table(arrays, schema=schema), get_fitted()).table
    assert table.schema.equals(make_catalogue_schema("mlp"), check_metadata=True)
    assert find_algorithm(table.column_names) == "mlp"
    assert (table["mlp_z_err68_low"].to_numpy() < table["mlp_z_err68_high"].to_numpy()).all()
    direct = get_fitted().estimate(sample.make_inputs().take(slice(2, None)))
    np.testing.assert_allclose(table["z_phot"].to_numpy()[2:], direct.z_phot_N, atol=1e-6)
