"""Fluxes from the training set to an estimate: negative ones are data, and what an earlier photoz wrote is refused."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from from_magnitudes import lose
from tiny_training import BANDS, make_config, write_training_set

from photoz.errors import EstimatorError, TrainingError
from photoz.estimators import load_estimator
from photoz.estimators.folder import MANIFEST
from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.base import Sample
from photoz.storage import read_json, write_json
from photoz.training.photometric import read_sample
from photoz.training.set import list_parts

SMALL = {"members": 2, "hidden": (16, 16), "components": 2, "least_steps": 100, "epochs": 2, "batch_size": 32}
DARK = slice(0, 40)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Galaxies of a training set, of which each part's first have fluxes around 0 in u, with errors."""
    config = make_config(tmp_path_factory.mktemp("set"))
    write_training_set(config)
    noise_N = np.random.default_rng(1).normal(0.0, 30.0, 40).astype(np.float32)
    for part in list_parts(config.locations.training):
        table = pq.read_table(part)
        for name, values_N in (("flux_u", noise_N), ("fluxerr_u", np.full(40, 30.0, np.float32))):
            whole_N = table[name].to_numpy().copy()
            whole_N[DARK] = values_N
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), pa.array(whole_N))
        pq.write_table(table, part)
    return read_sample(config.locations.training, BANDS)


@pytest.fixture(scope="module")
def mlp(sample: Sample) -> MlpEstimator:
    return MlpEstimator.fit(sample, **SMALL)


def test_negative_fluxes_come_through_the_training_set(sample: Sample) -> None:
    assert (sample.fluxes_NF[DARK, 0] < 0).sum() > 10
    assert (sample.errors_NF[DARK, 0] == 30).all()
    assert np.isfinite(sample.fluxes_NF[DARK, 0]).all()


def test_a_negative_flux_is_not_a_band_that_was_not_observed(sample: Sample, mlp: MlpEstimator) -> None:
    inputs = sample.make_inputs()
    absent, dark = mlp.estimate(lose(inputs, DARK, 0)), mlp.estimate(inputs)
    assert (np.abs(absent.z_phot_N[DARK] - dark.z_phot_N[DARK]) > 1e-4).all()
    # How negative it is says something too, and so does its error.
    for fluxes_NF, errors_NF in ((sample.fluxes_NF - 60, sample.errors_NF), (sample.fluxes_NF, sample.errors_NF * 3)):
        other = mlp.estimate(replace(sample, fluxes_NF=fluxes_NF, errors_NF=errors_NF).make_inputs())
        assert (other.z_phot_N[DARK] != dark.z_phot_N[DARK]).all()


def test_a_training_set_of_magnitudes_is_refused_with_a_remedy(tmp_path) -> None:
    config = make_config(tmp_path)
    write_training_set(config)
    for part in list_parts(config.locations.training):
        table = pq.read_table(part)
        names = [name.replace("fluxerr_", "magerr_").replace("flux_", "mag_") for name in table.column_names]
        pq.write_table(table.rename_columns(names), part)
    with pytest.raises(TrainingError, match=r"lacks the columns \['flux_u', .*make it again with jobs/train_dr4\.py"):
        read_sample(config.locations.training, BANDS)


def test_an_ensemble_whose_softening_is_in_another_unit_is_refused(mlp: MlpEstimator, tmp_path) -> None:
    folder = str(tmp_path / "mlp")
    mlp.save(folder)
    location = f"{folder}/{MANIFEST}"
    write_json(location, {**read_json(location), "format_version": 2})
    with pytest.raises(EstimatorError, match=r"holds format 2 of the estimator 'mlp', .*format 3 .*train it again"):
        load_estimator(folder)
