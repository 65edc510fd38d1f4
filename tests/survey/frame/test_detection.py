"""Detection and photometry of a frame, on skies whose sources are Gaussians of known flux and width."""

import numpy as np
import pytest

from photoz.survey.frame.detection import (
    Detections,
    SkyImage,
    find_sources,
    find_stars,
    find_stellar_radius,
    mad_sigma,
    match_seeing,
    measure_apertures,
    measure_empty_noise,
    measure_growth,
    measure_seeing,
    measure_total,
    subtract_background,
)

pytest.importorskip("sep")
SIGMA, FLUX, NOISE = 2.0, 5000.0, 0.5
PLACES = np.array([(40.0, 50.0), (120.0, 60.0), (70.0, 150.0), (150.3, 140.7)])
"""[pixel] x and y."""


def make_sky(sigma: float = SIGMA, *, noise: float = NOISE, level: float = 10.0) -> np.ndarray:
    y, x = np.mgrid[:200, :200]
    sky = np.random.default_rng(4).normal(level, noise, (200, 200))
    for x0, y0 in PLACES:
        sky += FLUX / (2 * np.pi * sigma**2) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / sigma**2)
    return sky


@pytest.fixture(scope="module")
def image() -> SkyImage:
    return subtract_background(make_sky(), 64)


@pytest.fixture(scope="module")
def found(image: SkyImage) -> Detections:
    return find_sources(image, threshold=5, min_pixels=5)


def test_sources_are_found_where_they_are(found: Detections) -> None:
    order = np.lexsort((found.x, found.y))
    expected = PLACES[np.lexsort((PLACES[:, 0], PLACES[:, 1]))]
    np.testing.assert_allclose(np.column_stack([found.x, found.y])[order], expected, atol=0.1)
    np.testing.assert_allclose(found.a, SIGMA, rtol=0.1)
    numbers = found.segments[np.rint(found.y).astype(int), np.rint(found.x).astype(int)]
    assert numbers.tolist() == list(range(1, len(found) + 1))


def test_the_background_and_its_noise_are_those_put_in(image: SkyImage) -> None:
    assert np.median(image.pixels) == pytest.approx(0, abs=0.05)
    assert np.median(image.noise) == pytest.approx(NOISE, rel=0.1)


def test_pixels_without_a_value_are_told_and_are_zero() -> None:
    sky = make_sky()
    sky[:10] = np.nan
    image = subtract_background(sky, 64)
    assert image.bad[:10].all()
    assert not image.bad[10:].any()
    assert (image.pixels[:10] == 0).all()


def test_the_total_flux_and_half_light_radius_of_a_gaussian(image: SkyImage, found: Detections) -> None:
    total = measure_total(image, found)
    np.testing.assert_allclose(total.flux, FLUX, rtol=0.05)
    np.testing.assert_allclose(total.radius, SIGMA * np.sqrt(2 * np.log(2)), rtol=0.05)


@pytest.mark.parametrize("radius", [3.0, 5.0])
def test_the_flux_in_a_circle_is_that_of_a_gaussian_within_it(
    image: SkyImage, found: Detections, radius: float
) -> None:
    flux, error = measure_apertures(image, found, radius)
    np.testing.assert_allclose(flux, FLUX * (1 - np.exp(-(radius**2) / 2 / SIGMA**2)), rtol=0.03)
    np.testing.assert_allclose(error, NOISE * np.sqrt(np.pi) * radius, rtol=0.4)  # white noise adds up by its area


def test_a_circle_that_was_not_observed_has_no_flux(found: Detections) -> None:
    sky = make_sky()
    sky[:, :80] = np.nan
    flux, error = measure_apertures(subtract_background(sky, 64), found, 4.0)
    lost = found.x < 75
    assert lost.any()
    assert np.isnan(flux[lost]).all()
    assert np.isnan(error[lost]).all()
    assert np.isfinite(flux[~lost]).all()


def test_seeing_is_the_full_width_and_blurring_brings_it_to_the_target(image: SkyImage, found: Detections) -> None:
    stars = np.ones(len(found), bool)
    fwhm = 2.3548 * SIGMA
    assert measure_seeing(image, found, stars) == pytest.approx(fwhm, rel=0.05)
    blurred = match_seeing(image, fwhm, 2.3548 * 3)
    assert measure_seeing(blurred, found, stars) == pytest.approx(2.3548 * 3, rel=0.05)
    assert match_seeing(image, fwhm, fwhm - 1).pixels is image.pixels


def test_growth_is_the_ratio_of_a_gaussians_fluxes(image: SkyImage, found: Detections) -> None:
    within = [1 - np.exp(-(radius**2) / 2 / SIGMA**2) for radius in (3.0, 7.5)]
    growth = measure_growth(image, found, np.ones(len(found), bool), (3.0, 7.5))
    assert growth == pytest.approx(within[1] / within[0], rel=0.02)


def test_noise_of_empty_circles_is_the_root_of_their_area_where_noise_is_white(
    image: SkyImage, found: Detections
) -> None:
    assert measure_empty_noise(image, found, 4.0) == pytest.approx(np.sqrt(np.pi) * 4, rel=0.25)


def test_stars_are_those_on_the_ridge_and_saturated_ones_above_it() -> None:
    mag = np.array([16.5, 17.0, 17.5, 18.0, 17.2, 14.0, 14.0])
    radius = np.array([2.0, 2.02, 1.98, 2.01, 3.0, 4.0, 6.0])
    assert find_stellar_radius(mag, radius, 15.0) == pytest.approx(2.0, abs=0.03)
    assert find_stars(mag, radius, 15.0).tolist() == [True, True, True, True, False, True, False]


def test_stellar_radius_without_stars_is_nan() -> None:
    assert np.isnan(find_stellar_radius(np.array([30.0]), np.array([2.0]), 15.0))


def test_mad_sigma_leaves_outliers_out() -> None:
    assert mad_sigma(np.array([1.0, 2.0, 3.0])) == pytest.approx(1.4826)
    assert mad_sigma(np.array([1.0, 2.0, 3.0, 2.0, 1e9])) == pytest.approx(1.4826)
