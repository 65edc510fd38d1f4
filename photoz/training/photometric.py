"""Fit an estimator that reads magnitudes alone to the survey's training set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from photoz.estimators.base import Inputs
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.registry import load_class
from photoz.evaluate.metrics import compute_metrics
from photoz.settings.config import Config
from photoz.training.set import read_split


def read_sample(config: Config, split: str = "train") -> Sample:
    """Read magnitudes, errors and redshifts of one split of the training set; the cutouts stay on disk.

    Parameters
    ----------
    config : Config
        ``survey.bands`` gives the bands and their order.
    split : str
        "train", "valid", "calib" or "test".

    Returns
    -------
    Sample
        float32, 85 bytes a galaxy of nine bands; without rows when the split is empty.

    Raises
    ------
    TrainingError
        There is no training set.
    """
    bands = config.survey.bands
    names = [*(f"mag_{band}" for band in bands), *(f"magerr_{band}" for band in bands), "z_spec"]
    count = len(bands)
    blocks, dark = [np.empty((0, len(names)), dtype=np.float32)], [np.empty((0, count), dtype=np.bool_)]
    for table in read_split(config.locations.training, split, [*names, "not_detected"]):
        blocks.append(np.stack([table[name].to_numpy() for name in names], axis=1))
        dark.append(table["not_detected"].to_numpy()[:, None] >> np.arange(count) & 1 == 1)
    values_NC, dark_NF = np.concatenate(blocks), np.concatenate(dark)
    return Sample(
        bands, values_NC[:, :count], values_NC[:, count:-1], values_NC[:, -1], dark_NF if dark_NF.any() else None
    )


def fit_photometric(config: Config, record: Mapping[str, Any]) -> PhotometricEstimator[Any]:
    """Fit the estimator that ``training.estimator`` names to the training split; measure it on the validation split.

    A method that chooses settings does so on galaxies of the training split that it holds back, so that the validation
    figures are of galaxies it never saw.

    Parameters
    ----------
    config : Config
        ``training.estimator``, ``training.fit`` and ``run.seed`` are read.
    record : mapping
        Goes into the manifest's record, with the validation figures.

    Returns
    -------
    PhotometricEstimator

    Raises
    ------
    TrainingError
        The training split cannot be learnt from, or ``training.fit`` holds a setting that the method does not have.
    """
    kind: Any = load_class(config.training.estimator)
    settings = config.training.fit.get(config.training.estimator, {})
    estimator: PhotometricEstimator[Any] = kind.fit(read_sample(config), seed=config.run.seed, **settings)
    valid = measure_estimator(estimator, read_sample(config, "valid"))
    return estimator.with_record({**record, "valid": valid})


def measure_estimator(estimator: PhotometricEstimator[Any], sample: Sample) -> dict[str, float | int | None]:
    """Return ``rows``, ``smad`` and ``r2`` of the estimates of a sample; None where they are not defined."""
    magnitudes_NF, errors_NF = (values.astype(np.float32) for values in (sample.magnitudes_NF, sample.errors_NF))
    flags_N = np.zeros(len(sample), dtype=np.int32)
    inputs = Inputs(magnitudes_NF, errors_NF, None, flags_N, sample.not_detected_NF)
    metrics = compute_metrics(estimator.estimate(inputs).z_phot_N, sample.z_N, resamples=0)
    figures = {name: metrics[name].value for name in ("smad", "r2")}
    return {"rows": metrics.count} | {name: value if np.isfinite(value) else None for name, value in figures.items()}
