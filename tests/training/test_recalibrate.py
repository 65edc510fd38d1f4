"""Recalibration after training: fitted to galaxies as they are and with inputs missing, each pattern by itself."""

from dataclasses import replace

import from_magnitudes
import numpy as np
import torch

from photoz.estimators import Inputs
from photoz.estimators.networks.hybrid import HybridEstimator, PhotometryEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head
from photoz.estimators.networks.recalibrate import fit_recalibration, measure_pits
from photoz.pdf import compute_ks, compute_pit

BANDS = ("g", "r", "i", "H")


def make_estimator(image_bands: tuple[str, ...] = ()) -> HybridEstimator:
    """An estimator that says N(0.25, 0.05) in ln(1 + z) of every galaxy."""
    torch.manual_seed(0)
    layout = InputLayout(BANDS, image_bands, 18 if image_bands else 0, 0.2, Head("mixture", 2, 1), ("H",))
    kind = HybridEstimator if image_bands else PhotometryEstimator
    network = kind.make_network(layout)
    with torch.no_grad():
        network.members.weights[-1].zero_()
        network.members.biases[-1].copy_(torch.tensor([0.0, 0.0, 0.0, np.log(0.5)]))
        network.target_scale.copy_(torch.tensor([0.25, 0.1]))
    return kind(layout, from_magnitudes.make_preparation(kind, BANDS), network, device=torch.device("cpu"))


def make_galaxies(count: int, *, images: int = 0, seed: int = 0) -> tuple[Inputs, np.ndarray]:
    """Galaxies at ln(1 + z) of N(0.27, 0.03): nearer to each other, and farther away, than the estimator says."""
    rng = np.random.default_rng(seed)
    magnitudes_NF = rng.normal(20, 1, (count, 4)).astype(np.float32)
    cutouts_NBYX = rng.random((count, images, 18, 18)).astype(np.float32) if images else None
    inputs = from_magnitudes.make_inputs(magnitudes_NF, np.nan, cutouts_NBYX)
    return inputs, np.expm1(rng.normal(0.27, 0.03, count))


def test_recalibrated_densities_come_true_whatever_is_missing() -> None:
    estimator = make_estimator()
    calibrated = replace(estimator, recalibration=fit_recalibration(estimator.model, [make_galaxies(2000, seed=1)]))
    inputs, z_spec_N = make_galaxies(4000)
    without_r = from_magnitudes.lose(inputs, slice(None), 1)
    for each in (inputs, without_r):
        before, after = (estimator.estimate(each), calibrated.estimate(each))
        assert compute_ks(compute_pit(before.pdf.quantiles_NQ, z_spec_N)) > 0.2
        assert compute_ks(compute_pit(after.pdf.quantiles_NQ, z_spec_N)) < 0.04


def test_every_way_to_lack_something_has_a_number_of_its_own() -> None:
    parts = list(measure_pits(make_estimator().model, *make_galaxies(10)))
    numbers = [set(pattern_N.tolist()) for _, _, pattern_N in parts]
    # Nothing; each of four bands (H stands for all without images); two bands.
    assert numbers == [{0}, {1}, {2}, {3}, {4}, {4}, {6}]
    parts = list(measure_pits(make_estimator(("g", "r")).model, *make_galaxies(10, images=2)))
    numbers = {number for _, _, pattern_N in parts for number in pattern_N.tolist()}
    assert numbers == {0, 1, 2, 3, 4, 6, 7, *(16 + n for n in (0, 1, 2, 3, 4, 6)), 8, 9, 10}
    magnitude_N = parts[2][1][:, 0]
    assert np.isnan(magnitude_N).all()  # of the galaxies whose r was dropped


def test_few_or_no_galaxies_change_nothing() -> None:
    for galaxies in ([], [make_galaxies(3)]):
        recalibration = fit_recalibration(make_estimator().model, galaxies)
        expected = make_estimator().recalibration.map_levels(np.zeros((1, 2)))
        np.testing.assert_allclose(recalibration.map_levels(np.zeros((1, 2))), expected)
