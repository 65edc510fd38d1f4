"""What every estimator that reads photometry alone must do, each tried on the same made-up galaxies."""

import json
from dataclasses import replace
from functools import lru_cache

import from_magnitudes
import numpy as np
import pyarrow as pa
import pytest
from from_magnitudes import lose

from photoz.errors import EstimatorError, TrainingError
from photoz.estimators.base import check_bands
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.registry import list_fitted, load_class, load_estimator
from photoz.inference import estimate_rows
from photoz.schema import Flag, make_source_schema
from photoz.settings.config import Config, convert_config

BANDS = ("u", "g", "r", "i", "z")
NAMES = list_fitted()
FAST = {
    "annz": {"members": 3, "kept": 2, "max_epochs": 40, "batch_size": 32},
    "boosted": {"max_trees": 200},
    "cnn1d": {"max_epochs": 60},
    "fcnn": {"max_epochs": 60, "learning_rate": 1e-3, "batch_size": 64},
    "gat": {"max_epochs": 30, "batch_size": 64, "learning_rate": 5e-3},
    "mlp": {"members": 2, "hidden": (32, 32), "least_steps": 250, "epochs": 10, "batch_size": 128},
    "template": {"tuning_rows": 100, "z_step": 0.02, "floors": (0.05,)},
}
"""Settings that are fast rather than good."""


def make_sample(count: int, seed: int = 0) -> Sample:
    """Galaxies whose colours grow with the redshift, faintly non-linearly, with errors of 0.02 mag."""
    rng = np.random.default_rng(seed)
    z_N = rng.uniform(0.02, 0.5, count)
    bright_N = rng.uniform(16.0, 20.0, count)
    slopes = np.array([4.0, 2.5, 0.0, -0.9, -1.6])
    bends = np.array([-2.0, -1.0, 0.0, 0.3, 0.5])
    shape = np.array([1.6, 0.7, 0.0, -0.3, -0.5])
    magnitudes_NF = bright_N[:, None] + shape + slopes * z_N[:, None] + bends * z_N[:, None] ** 2
    errors_NF = np.full_like(magnitudes_NF, 0.02)
    return from_magnitudes.make_sample(BANDS, magnitudes_NF + rng.normal(0, 0.02, magnitudes_NF.shape), errors_NF, z_N)


def make_survey_config() -> Config:
    places = ("survey", "tiles", "sources", "training", "models", "catalogue", "report")
    return convert_config({"run": {"name": "t"}, "locations": {place: place for place in places}})


def fit(name: str, *, seed: int = 1, count: int = 800) -> PhotometricEstimator:
    return load_class(name).fit(make_sample(count), seed=seed, **FAST.get(name, {}))


@lru_cache
def get_fitted(name: str) -> PhotometricEstimator:
    return fit(name)


@pytest.mark.parametrize("name", NAMES)
def test_learns_a_relation(name):
    test = make_sample(300, seed=5)
    z_N = get_fitted(name).estimate(test.make_inputs()).z_phot_N
    # Templates know real galaxies, and these are none: they need only follow the trend.
    assert np.std(z_N - test.z_N) < (0.2 if name == "template" else 0.05)
    assert np.corrcoef(z_N, test.z_N)[0, 1] > (0.3 if name == "template" else 0.9)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("gat", "annz")])
def test_same_seed_gives_the_same_estimator(name):
    inputs = make_sample(50, seed=6).make_inputs()
    first, second = (fit(name, count=200).estimate(inputs).z_phot_N for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_folder_gives_back_the_same_estimates(name, tmp_path):
    inputs = make_sample(60, seed=7).make_inputs()
    get_fitted(name).save(f"{tmp_path}/{name}")
    again = load_estimator(f"{tmp_path}/{name}")
    assert (again.name, again.bands, again.image_bands) == (name, BANDS, ())
    np.testing.assert_array_equal(get_fitted(name).estimate(inputs).z_phot_N, again.estimate(inputs).z_phot_N)
    manifest = json.loads((tmp_path / name / "manifest.json").read_text())
    assert manifest["record"]["seed"] == 1
    assert len(manifest["record"]["training_set"]) == 64
    assert manifest["versions"]["photoz"]


@pytest.mark.parametrize("name", NAMES)
def test_each_band_may_be_missing(name):
    inputs = make_sample(100, seed=8).make_inputs()
    full_N = get_fitted(name).estimate(inputs).z_phot_N
    for band in range(len(BANDS)):
        estimates = get_fitted(name).estimate(lose(inputs, slice(None), band))
        assert np.isfinite(estimates.z_phot_N).all()
        assert not (estimates.flags_N & ~Flag.OUTSIDE_TRAINING).any()
        assert np.median(np.abs(estimates.z_phot_N - full_N)) < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_row_without_magnitudes_is_flagged_and_changes_no_other(name):
    inputs = make_sample(40, seed=9).make_inputs()
    whole = get_fitted(name).estimate(inputs)
    holed = get_fitted(name).estimate(lose(inputs, 7))
    assert np.isnan(holed.z_phot_N[7])
    assert holed.flags_N[7] & Flag.ESTIMATE_FAILED
    others = np.arange(40) != 7
    np.testing.assert_allclose(holed.z_phot_N[others], whole.z_phot_N[others], atol=2e-6)
    np.testing.assert_array_equal(holed.flags_N[others], whole.flags_N[others])


@pytest.mark.parametrize("name", NAMES)
def test_order_of_rows_does_not_matter(name):
    inputs = make_sample(70, seed=10).make_inputs()
    order = np.random.default_rng(0).permutation(70)
    expected = get_fitted(name).estimate(inputs).z_phot_N[order]
    np.testing.assert_allclose(get_fitted(name).estimate(inputs.take(order)).z_phot_N, expected, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_strange_values_come_out_flagged_or_finite(name):
    inputs = make_sample(8, seed=11).make_inputs()
    fluxes_NF, errors_NF = inputs.fluxes_NF.copy(), inputs.errors_NF.copy()
    fluxes_NF[0] = np.inf
    fluxes_NF[1, 2] = -np.inf
    fluxes_NF[2] = -1.0
    errors_NF[3] = np.nan
    errors_NF[4] = -1.0
    errors_NF[5] = 0.0
    fluxes_NF[6, 0] = -fluxes_NF[6, 0] / 10
    estimates = get_fitted(name).estimate(replace(inputs, fluxes_NF=fluxes_NF, errors_NF=errors_NF))
    assert np.isnan(estimates.z_phot_N[[0, 2]]).all()
    assert (estimates.flags_N[[0, 2]] == Flag.ESTIMATE_FAILED).all()
    assert np.isfinite(np.delete(estimates.z_phot_N, [0, 2])).all()
    # An error of 0 or less says as much as none.
    unknown = get_fitted(name).estimate(replace(inputs, errors_NF=np.full_like(errors_NF, np.nan)))
    np.testing.assert_allclose(estimates.z_phot_N[3:6], unknown.z_phot_N[3:6], atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("band", range(len(BANDS)))
def test_a_band_in_another_unit_is_flagged(name, band):
    """µJy, mJy, or a zero point that is off by 5 mag, in one band of a target; its other rows are as the sample's."""
    inputs = make_sample(300, seed=12).make_inputs()
    assert (get_fitted(name).estimate(inputs).flags_N & Flag.OUTSIDE_TRAINING != 0).mean() < 0.04
    for factor in (1e3, 1e-3, 1e6, 100.0, 0.01):
        scale_F = np.ones(len(BANDS), dtype=np.float32)
        scale_F[band] = factor
        other = replace(inputs, fluxes_NF=inputs.fluxes_NF * scale_F, errors_NF=inputs.errors_NF * scale_F)
        assert (get_fitted(name).estimate(other).flags_N & Flag.OUTSIDE_TRAINING != 0).mean() > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_all_bands_in_another_unit_are_flagged(name):
    inputs = make_sample(300, seed=12).make_inputs()
    other = replace(inputs, fluxes_NF=inputs.fluxes_NF * 1e-3, errors_NF=inputs.errors_NF * 1e-3)
    assert (get_fitted(name).estimate(other).flags_N & Flag.OUTSIDE_TRAINING != 0).mean() > 0.95


def test_a_model_that_remembers_no_photometry_flags_nothing():
    """As one of an earlier photoz, or whose manifest was edited."""
    estimator = get_fitted("knn")
    forgetful = replace(estimator, parts=replace(estimator.parts, record={"photometry": "lost"}))
    inputs = make_sample(30).make_inputs()
    other = replace(inputs, fluxes_NF=inputs.fluxes_NF * np.array([1, 1, 1, 1, 1e6], dtype=np.float32))
    assert not forgetful.estimate(other).flags_N.any()


@pytest.mark.parametrize("name", NAMES)
def test_no_rows_and_wrong_bands(name):
    none = make_sample(0).make_inputs()
    assert len(get_fitted(name).estimate(none).z_phot_N) == 0
    wrong = make_sample(3).make_inputs()
    with pytest.raises(EstimatorError, match="reads 5 bands"):
        get_fitted(name).estimate(replace(wrong, fluxes_NF=wrong.fluxes_NF[:, :4]))


def test_folder_of_another_method_is_refused(tmp_path):
    get_fitted("knn").save(f"{tmp_path}/knn")
    with pytest.raises(EstimatorError, match="'knn'"):
        load_class("fcnn").load(f"{tmp_path}/knn")


@pytest.mark.parametrize("name", ["knn", "boosted", "mlp"])
def test_damaged_folder_is_refused(name, tmp_path):
    get_fitted(name).save(f"{tmp_path}/x")
    (tmp_path / "x" / "arrays.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(EstimatorError, match="damaged"):
        load_estimator(f"{tmp_path}/x")


def test_survey_without_a_needed_band_is_refused():
    estimator = get_fitted("knn")  # reads z, which KiDS spells Z
    with pytest.raises(EstimatorError, match=r"lacks \['z'\]"):
        check_bands(estimator, make_survey_config().survey)


def test_survey_with_further_bands_is_accepted():
    sample = make_sample(60)
    few = Sample(("g", "r", "i"), sample.fluxes_NF[:, 1:4], sample.errors_NF[:, 1:4], sample.z_N)
    check_bands(load_class("knn").fit(few), make_survey_config().survey)


@pytest.mark.parametrize("name", ["knn", "mlp"])
def test_unusable_samples_are_refused(name):
    sample = make_sample(60)
    kind = load_class(name)
    with pytest.raises(TrainingError, match="at least 20"):
        kind.fit(sample.take(np.arange(1)))
    with pytest.raises(TrainingError, match="no redshifts"):
        kind.fit(replace(sample, z_N=np.where(sample.z_N < 0.1, -1.0, sample.z_N)))
    for flux in (np.nan, -1.0):
        empty_NF = sample.fluxes_NF.copy()
        empty_NF[:, 3] = flux
        with pytest.raises(TrainingError, match="detected in i"):
            kind.fit(replace(sample, fluxes_NF=empty_NF))
    with pytest.raises(TrainingError, match="no settings"):
        kind.fit(sample, depth=3)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("knn", {"neighbours": 5}),
        ("knn", {"neighbours": []}),
        ("knn", {"neighbours": [0]}),
        ("knn", {"held_out": "a fifth"}),
        ("mlp", {"members": 0}),
        ("mlp", {"members": 2.5}),
        ("boosted", {"learning_rate": -0.1}),
        ("boosted", {"learning_rate": float("nan")}),
    ],
)
def test_a_setting_that_is_nothing_it_can_be_is_refused_with_its_default(name: str, settings: dict) -> None:
    sample = Sample(("g", "r"), np.ones((30, 2)), np.ones((30, 2)), np.linspace(0.1, 0.9, 30))
    (key,) = settings
    with pytest.raises(TrainingError, match=rf"{name}: {key} = .* is nothing that it can be; by default it is"):
        load_class(name).fit(sample, **settings)


def test_numbers_of_numpy_are_numbers(tmp_path):
    """As they come out of a grid of settings; a manifest holds Python's own."""
    sample = make_sample(60)
    settings = {"neighbours": np.array([3, 5]), "held_out": np.float32(0.25)}
    estimator = load_class("knn").fit(sample, seed=1, **settings)
    estimator.save(f"{tmp_path}/knn")
    expected = load_class("knn").fit(sample, seed=1, neighbours=[3, 5], held_out=0.25)
    inputs = sample.make_inputs()
    np.testing.assert_array_equal(
        load_estimator(f"{tmp_path}/knn").estimate(inputs).z_phot_N, expected.estimate(inputs).z_phot_N
    )
    with pytest.raises(TrainingError, match=r"knn: neighbours = \[0\] is nothing that it can be"):
        load_class("knn").fit(sample, neighbours=np.array([0]))


def test_no_least_number_of_steps_is_a_number():
    assert load_class("mlp").fit(make_sample(30), epochs=1, members=2, least_steps=0).parts.settings["least_steps"] == 0


def test_digest_names_the_training_set():
    sample = make_sample(30)
    assert sample.compute_digest() == make_sample(30).compute_digest()
    assert sample.compute_digest() != make_sample(30, seed=1).compute_digest()


def test_density_of_the_ensemble_is_one():
    grid = np.linspace(-0.5, 3.0, 4000)
    pdf_NZ = get_fitted("mlp").estimate_pdf(make_sample(20, seed=3).make_inputs(), grid)
    np.testing.assert_allclose(np.trapezoid(pdf_NZ, grid, axis=1), 1.0, atol=2e-3)


@pytest.mark.parametrize("name", ["knn", "mlp", "template"])
def test_runs_over_a_survey(name):
    """As inference does: rows of the source catalogue in, rows of the photo-z catalogue out, bands missing or spare."""
    sample = make_sample(30, seed=4)
    columns = from_magnitudes.make_columns(BANDS, sample.magnitudes.magnitudes_NF, sample.magnitudes.errors_NF)
    columns["flux_u"][4] = np.nan
    for band in BANDS:
        columns[f"flux_{band}"][9] = np.nan
    schema = make_source_schema((*BANDS, "Y"))
    sources = pa.table(
        [
            pa.array(columns[field.name])
            if field.name in columns
            else pa.array([""] * 30 if field.type == pa.string() else np.zeros(30), type=field.type)
            for field in schema
        ],
        schema=schema,
    )
    table = estimate_rows(sources, get_fitted(name)).table
    assert len(table) == 30
    assert np.flatnonzero(np.isnan(table["z_phot"].to_numpy())).tolist() == [9]
    assert table["flags"].to_numpy()[9] == Flag.ESTIMATE_FAILED
    assert table["flags"].to_numpy()[4] & ~Flag.OUTSIDE_TRAINING == 0
