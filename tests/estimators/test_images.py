"""Cutouts as our own networks read them: flux over noise, nothing cut off, what is missing said; and their shifts."""

import numpy as np
import pytest
import torch

from photoz.estimators.networks.batches import shift_images
from photoz.estimators.networks.images import LIMIT, SCALE, compress_cutouts, compute_asinh, measure_noise


def make_cutouts(count: int = 20, *, noise: float = 3.0, core: float = 1e4, seed: int = 0) -> np.ndarray:
    """Make galaxies of two bands, the second twice as bright and as noisy, with normal noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :36] - 18.0
    galaxy_YX = core * np.exp(-np.hypot(y, x) / 3)
    band_YX = rng.normal(0, noise, (count, 2, 36, 36)) + galaxy_YX
    return (band_YX * np.array([1.0, 2.0])[:, None, None]).astype(np.float32)


def test_the_noise_is_measured_beside_a_galaxy() -> None:
    sky = measure_noise(torch.from_numpy(make_cutouts(200, core=0.0))).numpy()
    np.testing.assert_allclose(sky.mean(axis=0), [3.0, 6.0], rtol=0.03)
    # The galaxy's light falls from pixel to pixel, too, but for most pixels by less than the noise.
    with_galaxy = measure_noise(torch.from_numpy(make_cutouts(200, core=300.0))).numpy()
    np.testing.assert_allclose(with_galaxy.mean(axis=0), [3.0, 6.0], rtol=0.25)


def test_pixels_are_the_inverse_hyperbolic_sine_of_the_signal_to_noise() -> None:
    cutouts = make_cutouts()
    noise_NB = measure_noise(torch.from_numpy(cutouts)).numpy()
    images_NCYX, seen_NB = compress_cutouts(torch.from_numpy(cutouts))
    expected = np.arcsinh(cutouts / noise_NB[:, :, None, None]) / SCALE
    np.testing.assert_allclose(images_NCYX[:, :2], expected, rtol=1e-4, atol=1e-6)
    assert (images_NCYX[:, 2:] == 1).all()
    assert seen_NB.all()
    assert images_NCYX.is_contiguous(memory_format=torch.channels_last)


def test_asinh_is_that_of_numpy_to_the_last_digits() -> None:
    values = np.concatenate([np.logspace(-20, 6, 2000), -np.logspace(-20, 6, 2000)]).astype(np.float32)
    found = compute_asinh(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, np.arcsinh(values.astype(np.float64)), rtol=2.5e-7)


def test_asinh_of_what_is_no_signal_to_noise() -> None:
    values = torch.tensor([0.0, torch.inf, -torch.inf, 3e38, -1e30, torch.nan])
    found = compute_asinh(values)
    torch.testing.assert_close(found, SCALE * LIMIT * torch.tensor([0.0, 1, -1, 1, -1, torch.nan]), equal_nan=True)


def test_no_core_is_saturated() -> None:
    images_NCYX, _ = compress_cutouts(torch.from_numpy(make_cutouts(core=1e6)))
    core_N = images_NCYX[:, 0, 18, 18]
    assert (core_N > images_NCYX[:, 0, 18, 20]).all()
    assert (core_N < LIMIT).all()


def test_what_is_missing_is_said_and_0() -> None:
    cutouts = make_cutouts(3)
    cutouts[0, 0, :5] = np.nan
    cutouts[1, 1] = np.inf
    given = cutouts.copy()
    images_NCYX, seen_NB = compress_cutouts(torch.from_numpy(cutouts))
    np.testing.assert_array_equal(cutouts, given)
    assert seen_NB.tolist() == [[True, True], [True, False], [True, True]]
    np.testing.assert_array_equal(images_NCYX[:, 2:], np.isfinite(cutouts))
    assert (images_NCYX[:, :2][~torch.from_numpy(np.isfinite(cutouts))] == 0).all()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cutouts: cutouts * 1e9,
        lambda cutouts: cutouts * 1e-30,
        lambda cutouts: np.where(np.arange(36) == 7, 1e6, cutouts),
        lambda cutouts: cutouts - 1e4,
        lambda cutouts: cutouts * 0,
        lambda cutouts: np.full_like(cutouts, 5.0),
        lambda cutouts: np.where(np.arange(36) > 18, 3e38, cutouts),
        lambda cutouts: np.full_like(cutouts, np.nan),
    ],
    ids=["unit", "small unit", "cosmic ray", "negative sky", "zeros", "constant", "overflow", "nothing"],
)
def test_defects_give_finite_numbers_within_the_limit(spoil) -> None:
    images_NCYX, _ = compress_cutouts(torch.from_numpy(spoil(make_cutouts()).astype(np.float32)))
    assert torch.isfinite(images_NCYX).all()
    assert images_NCYX.abs().max() <= LIMIT


def test_the_unit_of_the_flux_changes_nothing() -> None:
    cutouts = torch.from_numpy(make_cutouts())
    torch.testing.assert_close(compress_cutouts(cutouts * 1e9)[0], compress_cutouts(cutouts)[0])


def test_shifts_move_by_up_to_half_a_pixel_and_all_bands_alike() -> None:
    ramp = torch.arange(12.0).expand(500, 2, 12, 12) + 100 * torch.arange(12.0)[:, None]
    generator = torch.Generator().manual_seed(0)
    moved = shift_images(ramp, generator)[:, :, 1:-1, 1:-1] - ramp[:, :, 1:-1, 1:-1]
    # On a ramp a shift adds the same everywhere: 100 times that in y, and that in x.
    steps_N = moved[:, 0, 0, 0]
    torch.testing.assert_close(moved, steps_N[:, None, None, None].expand_as(moved), atol=1e-3, rtol=0)
    y_N = torch.round(steps_N) / 100
    assert -0.51 < y_N.min() < -0.45
    assert 0.45 < y_N.max() < 0.51
    again = shift_images(ramp, torch.Generator().manual_seed(0))
    torch.testing.assert_close(again[:, :, 1:-1, 1:-1] - ramp[:, :, 1:-1, 1:-1], moved)
