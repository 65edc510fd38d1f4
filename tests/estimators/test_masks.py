"""What the networks are told: filled magnitudes as elsewhere, bits of what is missing, numbers of what is missing."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.estimators.networks.dropping import drop_image_bands, drop_inputs
from photoz.estimators.networks.masks import Photometry, encode, number_patterns
from photoz.photometry import Magnitudes, MagnitudeScaling
from photoz.training.settings import Dropped

SCALING = MagnitudeScaling(
    np.array([20.0, 19.0, 18.0, 17.5]), np.array([1.0, 2.0, 0.5, 1.5]), np.array([-0.9, -1.1, 0.2])
)
CPU = torch.device("cpu")
UNIMAGED = torch.tensor([False, False, True, True])


def make_photometry(count: int = 2000, *, missing: float = 0.3, seed: int = 0) -> Photometry:
    rng = np.random.default_rng(seed)
    magnitudes_NF = rng.normal(19, 1, (count, 4))
    magnitudes_NF[rng.random((count, 4)) < missing] = np.nan
    dark_NF = np.isnan(magnitudes_NF) & (rng.random((count, 4)) < 0.5)
    return Photometry.prepare(Magnitudes(magnitudes_NF, np.full((count, 4), 0.1), dark_NF), SCALING, CPU)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), missing=st.floats(0, 1))
def test_magnitudes_are_filled_as_everywhere_else(seed: int, missing: float) -> None:
    photometry = make_photometry(20, missing=missing, seed=seed)
    magnitudes_NF = photometry.values_NF.numpy() * SCALING.std_F + SCALING.mean_F
    expected_NF = np.nan_to_num(SCALING.apply(magnitudes_NF), nan=0.0)
    np.testing.assert_allclose(encode(photometry, None)[:, :4], expected_NF, atol=2e-5)


def test_features_are_magnitudes_and_bits() -> None:
    magnitudes_NF = np.array([[20.0, 21.0, np.nan, np.nan], [np.nan, np.nan, np.nan, np.nan]])
    not_detected_NF = np.array([[False, False, True, False], [False, False, False, True]])
    magnitudes = Magnitudes(magnitudes_NF, np.full((2, 4), 0.1), not_detected_NF)
    photometry = Photometry.prepare(magnitudes, SCALING, CPU)
    features = encode(photometry, torch.tensor([[True, False], [False, False]])).tolist()
    assert features[0][:2] == [0.0, 1.0]
    assert features[0][4:] == [0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0]
    assert features[1] == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0]


def test_numbers_tell_what_is_missing() -> None:
    rows = [[], [0], [3], [2, 3], [0, 1], [0, 1, 2, 3]]
    missing_NF = torch.tensor([[band in row for band in range(4)] for row in rows])
    assert number_patterns(missing_NF, None, UNIMAGED).tolist() == [0, 1, 4, 5, 6, 7]
    seen_NB = torch.tensor([[True, True], [True, False], [False, False]]).repeat_interleave(6, dim=0)
    numbers = number_patterns(missing_NF.repeat(3, 1), seen_NB, UNIMAGED).reshape(3, 6)
    assert numbers.tolist() == [[0, 1, 4, 5, 6, 7], [8, 9, 12, 13, 14, 15], [16, 17, 20, 21, 22, 23]]


def test_inputs_are_dropped_as_often_as_the_settings_say_and_never_all() -> None:
    photometry = make_photometry(20_000, missing=0.0)
    seen_NB = torch.ones(20_000, 3, dtype=torch.bool)
    chosen = Dropped(band=0.1, unimaged=0.2, image=0.3, photometry=0.15)
    options = {"settings": chosen, "unimaged_F": UNIMAGED}
    dropped, seen = drop_inputs(photometry, seen_NB, generator=torch.Generator().manual_seed(1), **options)
    again, _ = drop_inputs(photometry, seen_NB, generator=torch.Generator().manual_seed(1), **options)
    np.testing.assert_array_equal(dropped.values_NF, again.values_NF)
    missing_NF = dropped.values_NF.isnan()
    none_N, image_N = missing_NF.all(dim=1), seen.any(dim=1)
    assert abs(1 - image_N.float().mean() - 0.3) < 0.01
    assert (seen.all(dim=1) == image_N).all()
    assert (image_N | ~none_N).all()
    kept = missing_NF[~none_N].float().mean(dim=0)
    np.testing.assert_allclose(kept, [0.1, 0.1, 0.28, 0.28], atol=0.02)
    assert abs(none_N[image_N].float().mean() - 0.15) < 0.02
    assert not (dropped.not_detected_NF & missing_NF).any()  # what is dropped was not observed


def test_no_galaxy_loses_its_only_magnitude_without_an_image() -> None:
    photometry = make_photometry(500, missing=0.7)
    chosen = Dropped(band=0.9)
    dropped, _ = drop_inputs(
        photometry, None, settings=chosen, unimaged_F=UNIMAGED, generator=torch.Generator().manual_seed(1)
    )
    had_N = ~photometry.values_NF.isnan().all(dim=1)
    assert (~dropped.values_NF.isnan().all(dim=1) == had_N).all()


def test_an_image_loses_one_band_and_keeps_its_last() -> None:
    images, seen = torch.ones(400, 3, 2, 2), torch.ones(400, 3, dtype=torch.bool)
    seen[0] = torch.tensor([False, True, False])
    emptied, left = drop_image_bands(images, seen, chance=1.0, generator=torch.Generator().manual_seed(0))
    assert left[0].tolist() == [False, True, False]
    assert (left[1:].sum(dim=1) == 2).all()
    assert (left[1:].sum(dim=0) > 200).all()
    assert ((emptied.sum(dim=(2, 3)) > 0) == left).all()
    _, same = drop_image_bands(images, seen, chance=0.0, generator=torch.Generator().manual_seed(0))
    assert (same == seen).all()
