"""Estimates a second of the photometric estimators, with all cores."""

import from_magnitudes
import numpy as np
import pytest
from bench_table import Table, side_by_side

from photoz.estimators.mlp.estimator import MlpEstimator
from photoz.estimators.photometric.base import PhotometricEstimator, Sample
from photoz.estimators.photometric.knn import KnnEstimator
from photoz.inference import keep_memory

BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")


def make_sample(count: int, bands: int) -> Sample:
    """Galaxies on a three-dimensional family of colours with noise, as real ones nearly are."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(0.0, 1.0, (count, 3))
    mixing = np.random.default_rng(1).normal(0.0, 0.5, (3, bands))
    magnitudes_NF = 19.0 + hidden @ mixing + rng.normal(0.0, 0.05, (count, bands))
    return from_magnitudes.make_sample(BANDS[:bands], magnitudes_NF, 0.05, 0.3 * rng.random(count))


def measure(estimator: PhotometricEstimator, count: int, bands: int, *, rounds: int) -> float:
    """Galaxies/s."""
    inputs = make_sample(count, bands).make_inputs()
    return count / side_by_side({"estimate": lambda: estimator.estimate(inputs)}, rounds=rounds)["estimate"]


@pytest.mark.parametrize("bands", [5, 9])
def test_bench_mlp(bench_table: Table, bands: int) -> None:
    """The ensemble as shipped, hardly trained: its cost does not depend on its weights."""
    keep_memory()
    estimator = MlpEstimator.fit(make_sample(2000, bands), epochs=1, least_steps=20)
    points = measure(estimator.without_pdf(), 100_000, bands, rounds=3)
    bench_table.add(f"mlp, {bands} bands, z_phot alone", points, "galaxies/s", target=60_000, of="ours")
    densities = measure(estimator, 100_000, bands, rounds=3)
    bench_table.add(f"mlp, {bands} bands, with p(z)", densities, "galaxies/s", reference=points, against="z_phot alone")


@pytest.mark.parametrize("bands", [5, 9])
def test_bench_knn(bench_table: Table, bands: int) -> None:
    settings = {"features": ("colours",), "scalings": ("standard",), "neighbours": (15,)}
    estimator = KnnEstimator.fit(make_sample(1_000_000, bands), **settings)
    rate = measure(estimator, 20_000, bands, rounds=1)
    bench_table.add(f"knn, {bands} bands, 1,000,000 training rows", rate, "galaxies/s", target=5000, of="ours")
