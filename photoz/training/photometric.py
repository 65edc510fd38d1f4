"""Fit an estimator that reads photometry alone to the survey's training set."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.registry import load_class
from photoz.inputs import read_fluxes
from photoz.metrics import compute_metrics
from photoz.schema import make_training_schema, name_fluxes
from photoz.training.set import read_split
from photoz.training.settings import Training


def read_sample(training: str, bands: tuple[str, ...], split: str = "train") -> Sample:
    """Read fluxes, errors and redshifts of one split of the training set; the cutouts stay on disk.

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
        float32, 76 bytes a galaxy of nine bands; without rows when the split is empty.

    Raises
    ------
    TrainingError
        There is no training set.
    """
    columns = [*(name for band in bands for name in name_fluxes(band)), "z_spec"]
    # An empty table first, since a split may have no galaxies, and no row group to tell the columns by.
    empty = make_training_schema(bands, None).empty_table().select(columns)
    table = pa.concat_tables([empty, *read_split(training, split, columns)], promote_options="permissive")
    return Sample(bands, *read_fluxes(table, bands), table["z_spec"].to_numpy())


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
        Whose fluxes it is to read.
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
    metrics = compute_metrics(estimator.estimate(sample.make_inputs()).z_phot_N, sample.z_N, resamples=0)
    # JSON knows no NaN.
    figures = {name: metrics[name].value for name in ("smad", "r2")}
    return {"rows": metrics.count} | {name: value if np.isfinite(value) else None for name, value in figures.items()}


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Give torch, LightGBM and SciPy that many threads for the time of the block, whatever runs this process.

    threadpoolctl would not do: SciPy's search in a tree starts threads of its own, and LightGBM takes the number it is
    told; both read ``OMP_NUM_THREADS`` here (`photoz.estimators.photometric.knn.count_threads`).
    The last digits of a float32 sum depend on their number, and a seed must give the same estimator on every engine
    and every machine: so one is the default, whatever the machine has.
    """
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(count)
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        # Or it would hold for whatever this process does next where it was not set before.
        os.environ.pop("OMP_NUM_THREADS")
        if before[1] is not None:
            os.environ["OMP_NUM_THREADS"] = before[1]
