"""What the networks are told: the features of mlp, bits for images, numbers of what is missing."""

import from_magnitudes
import numpy as np
import torch

from photoz.estimators.networks.dropping import drop_image_bands, drop_inputs
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.masks import Photometry, encode, number_patterns
from photoz.training.settings import Dropped

BANDS = ("g", "r", "J", "H")
FEATURES = from_magnitudes.make_preparation(HybridEstimator, BANDS).features
CPU = torch.device("cpu")
UNIMAGED = np.array([False, False, True, True])


def make_photometry(count: int = 2000, *, missing: float = 0.3, seed: int = 0) -> Photometry:
    """Make galaxies that lack bands, in half of the cases for want of a detection."""
    rng = np.random.default_rng(seed)
    magnitudes_NF = rng.normal(19, 1, (count, 4))
    magnitudes_NF[rng.random((count, 4)) < missing] = np.nan
    fluxes_NF, errors_NF = from_magnitudes.convert(magnitudes_NF, 0.1)
    fluxes_NF[np.isnan(fluxes_NF) & (rng.random((count, 4)) < 0.5)] = 0.0
    return Photometry(fluxes_NF, errors_NF, FEATURES)


def test_features_are_mlps_and_a_bit_for_the_image_and_each_of_its_bands() -> None:
    photometry = make_photometry(2)
    features_MF = encode(photometry, torch.tensor([[True, False], [False, False]]), CPU).numpy()
    expected_NC = FEATURES.apply(photometry.fluxes_NF, photometry.errors_NF)
    np.testing.assert_array_equal(features_MF[:, :15], expected_NC)
    assert features_MF[:, 15:].tolist() == [[1, 1, 0], [0, 0, 0]]
    np.testing.assert_array_equal(encode(photometry, None, CPU), expected_NC)


def test_numbers_tell_what_is_missing() -> None:
    rows = [[], [0], [3], [2, 3], [0, 1], [0, 1, 2, 3]]
    missing_NF = torch.tensor([[band in row for band in range(4)] for row in rows])
    assert number_patterns(missing_NF, None, torch.from_numpy(UNIMAGED)).tolist() == [0, 1, 4, 5, 6, 7]
    seen_NB = torch.tensor([[True, True], [True, False], [False, False]]).repeat_interleave(6, dim=0)
    numbers = number_patterns(missing_NF.repeat(3, 1), seen_NB, torch.from_numpy(UNIMAGED)).reshape(3, 6)
    assert numbers.tolist() == [[0, 1, 4, 5, 6, 7], [8, 9, 12, 13, 14, 15], [16, 17, 20, 21, 22, 23]]


def test_inputs_are_dropped_as_often_as_the_settings_say_and_never_all() -> None:
    photometry = make_photometry(20_000, missing=0.0)
    seen_NB = torch.ones(20_000, 3, dtype=torch.bool)
    chosen = Dropped(band=0.1, unimaged=0.2, image=0.3, photometry=0.15)
    options = {"settings": chosen, "unimaged_F": UNIMAGED}
    dropped, seen = drop_inputs(photometry, seen_NB, generator=torch.Generator().manual_seed(1), **options)
    again, _ = drop_inputs(photometry, seen_NB, generator=torch.Generator().manual_seed(1), **options)
    np.testing.assert_array_equal(dropped.fluxes_NF, again.fluxes_NF)
    missing_NF = np.isnan(dropped.fluxes_NF)
    none_N, image_N = missing_NF.all(axis=1), seen.any(dim=1).numpy()
    assert abs(1 - image_N.mean() - 0.3) < 0.01
    assert (seen.all(dim=1).numpy() == image_N).all()
    assert (image_N | ~none_N).all()
    kept = missing_NF[~none_N].mean(axis=0)
    np.testing.assert_allclose(kept, [0.1, 0.1, 0.28, 0.28], atol=0.02)
    assert abs(none_N[image_N].mean() - 0.15) < 0.02
    assert np.isnan(dropped.errors_NF[missing_NF]).all()


def test_no_galaxy_loses_its_only_magnitude_without_an_image() -> None:
    photometry = make_photometry(500, missing=0.7)
    chosen = Dropped(band=0.9)
    dropped, _ = drop_inputs(
        photometry, None, settings=chosen, unimaged_F=UNIMAGED, generator=torch.Generator().manual_seed(1)
    )
    had_N = photometry.detected_NF.any(axis=1)
    assert (dropped.detected_NF.any(axis=1) == had_N).all()


def test_faint_magnitudes_count_as_not_detected_as_often_as_the_settings_say() -> None:
    errors_NF = np.full((20_000, 4), 10.0)
    photometry = Photometry(np.tile([20.0, 100.0, 25.0, -5.0], (20_000, 1)), errors_NF, FEATURES)
    chosen = Dropped(band=0.0, unimaged=0.0, dark=0.2)
    dropped, _ = drop_inputs(
        photometry, None, settings=chosen, unimaged_F=UNIMAGED, generator=torch.Generator().manual_seed(1)
    )
    np.testing.assert_allclose((dropped.fluxes_NF == 0).mean(axis=0), [0.2, 0.0, 0.2, 0.0], atol=0.01)
    np.testing.assert_array_equal(np.isnan(dropped.errors_NF), dropped.fluxes_NF == 0)


def test_an_image_loses_one_band_and_keeps_its_last() -> None:
    images, seen = torch.ones(400, 3, 2, 2), torch.ones(400, 3, dtype=torch.bool)
    seen[0] = torch.tensor([False, True, False])
    emptied, left = drop_image_bands(images, seen, chance=1.0, generator=torch.Generator().manual_seed(0))
    assert left[0].tolist() == [False, True, False]
    assert (left[1:].sum(dim=1) == 2).all()
    assert (left[1:].sum(dim=0) > 200).all()
    assert ((emptied.sum(dim=(2, 3)) > 0) == left).all()
    together = torch.tensor([False, True, True])
    _, left = drop_image_bands(
        images[1:], seen[1:], chance=1.0, generator=torch.Generator().manual_seed(0), together_B=together
    )
    # One choice in four is of both, and no image loses more.
    both = (left == ~together).all(dim=1)
    assert 60 < both.sum() < 140
    assert (left[~both].sum(dim=1) == 2).all()
    _, same = drop_image_bands(images, seen, chance=0.0, generator=torch.Generator().manual_seed(0))
    assert (same == seen).all()
