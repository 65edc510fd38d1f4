"""Fit an estimator that reads magnitudes alone to the survey's training set."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from photoz.estimators.base import Inputs
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.registry import load_class
from photoz.metrics import compute_metrics
from photoz.training.set import read_split
from photoz.training.settings import Training


def read_sample(training: str, bands: tuple[str, ...], split: str = "train") -> Sample:
    """Read magnitudes, errors and redshifts of one split of the training set; the cutouts stay on disk.

    Parameters
    ----------
    training : str
        ``locations.training``.
    bands : tuple of str
        Which to read, in that order.
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
    # z_spec last: the slices below rely on it.
    names = [*(f"mag_{band}" for band in bands), *(f"magerr_{band}" for band in bands), "z_spec"]
    count = len(bands)
    # An empty block first, since numpy concatenates no empty list and a split may have no galaxies.
    blocks, dark = [np.empty((0, len(names)), dtype=np.float32)], [np.empty((0, count), dtype=np.bool_)]
    for table in read_split(training, split, [*names, "not_detected"]):
        blocks.append(np.stack([table[name].to_numpy() for name in names], axis=1))
        # Bit i is the i-th of the survey's bands, so that `bands` must be these, all and in their order.
        dark.append(table["not_detected"].to_numpy()[:, None] >> np.arange(count) & 1 == 1)
    values_NC, dark_NF = np.concatenate(blocks), np.concatenate(dark)
    return Sample(
        bands, values_NC[:, :count], values_NC[:, count:-1], values_NC[:, -1], dark_NF if dark_NF.any() else None
    )


def fit_photometric(
    settings: Training, training: str, bands: tuple[str, ...], *, seed: int, record: Mapping[str, Any]
) -> PhotometricEstimator[Any]:
    """Fit the estimator that the settings name to the training split; measure it on the validation split.

    A method that chooses settings does so on galaxies of the training split that it holds back, so that the validation
    figures are of galaxies it never saw.

    Parameters
    ----------
    settings : Training
        ``estimator`` and ``fit`` are read.
    training : str
        ``locations.training``.
    bands : tuple of str
        Whose magnitudes it is to read.
    seed : int
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
    kind: Any = load_class(settings.estimator)
    # Settings of other methods in the same file are left alone: one file may configure several.
    own = settings.fit.get(settings.estimator, {})
    estimator: PhotometricEstimator[Any] = kind.fit(read_sample(training, bands), seed=seed, **own)
    valid = measure_estimator(estimator, read_sample(training, bands, "valid"))
    return estimator.with_record({**record, "valid": valid})


def measure_estimator(estimator: PhotometricEstimator[Any], sample: Sample) -> dict[str, float | int | None]:
    """Return ``rows``, ``smad`` and ``r2`` of the estimates of a sample; None where they are not defined."""
    # As inference gives them, so that the figures in the manifest are those of a catalogue.
    magnitudes_NF, errors_NF = (values.astype(np.float32) for values in (sample.magnitudes_NF, sample.errors_NF))
    flags_N = np.zeros(len(sample), dtype=np.int32)
    inputs = Inputs(magnitudes_NF, errors_NF, None, flags_N, sample.not_detected_NF)
    metrics = compute_metrics(estimator.estimate(inputs).z_phot_N, sample.z_N, resamples=0)
    # JSON knows no NaN.
    figures = {name: metrics[name].value for name in ("smad", "r2")}
    return {"rows": metrics.count} | {name: value if np.isfinite(value) else None for name, value in figures.items()}
