"""Fluxes on pixels: before seeing, the same in all bands, with errors as large as the deviations."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from simulated import BANDS, CENTRE, make_small_recipe

from photoz.simulate.apertures import measure_pixels
from photoz.simulate.photometry import Sizes, compute_aperture_share, gather_light
from photoz.simulate.render import BandImage, Psf, draw_psf, draw_sources, make_psf, make_view
from photoz.simulate.sky import Recipe, Sources, make_sources, make_wcs

PIXELS = 600


def make_recipe(**settings) -> Recipe:
    exact = {"photometry_floor": 0.0, "zero_points": 0.0, "pixels": PIXELS, "faint_per_tile": 0, "stars_per_tile": 0}
    return make_small_recipe(**(exact | settings))


def spread_out(sources: Sources, apart: float = 100.0) -> Sources:
    """Put sources on a grid [pixel], each at another place within its pixel."""
    number = np.arange(len(sources))
    across = int((PIXELS - 60) // apart) + 1
    x, y = 30 + apart * (number % across) + 0.137 * number, 30 + apart * (number // across) + 0.391 * number
    ra, dec = make_wcs(CENTRE, PIXELS, 0.2).all_pix2world(x, y, 0)
    return replace(sources, ra=ra, dec=dec)


def draw_image(recipe: Recipe, sources: Sources, seeing: float, *, noise_seed: int | None = None) -> BandImage:
    view, psf = make_view(recipe, CENTRE, "r"), Psf(seeing, (0.01, -0.005))
    image = galsim.ImageF(PIXELS, PIXELS, init_value=0.0)
    draw_sources(image, view, sources, make_psf(psf))
    pixels, gain = image.array, 1e15
    if noise_seed is not None:
        pixels += view.sky_noise * np.random.default_rng(noise_seed).standard_normal(pixels.shape).astype(np.float32)
    return BandImage("r", pixels, np.ones(1), np.zeros(1, np.uint8), psf, gain, view.sky_noise)


def get_expected(sources: Sources, aperture: np.ndarray, recipe: Recipe) -> np.ndarray:
    from photoz.simulate.sky import compute_received_fluxes

    r_band = BANDS.index("r")
    total = compute_received_fluxes(recipe, CENTRE, sources)[:, r_band]
    return total * compute_aperture_share(sources, aperture)[:, r_band]


@pytest.mark.parametrize("seeing", [0.6, 1.0])
def test_an_aperture_holds_what_it_held_before_seeing(seeing: float) -> None:
    recipe = make_recipe(galaxies_per_tile=25)
    sources = spread_out(make_sources(recipe, CENTRE))
    aperture = np.linspace(0.75, 2.0, len(sources))
    image = draw_image(recipe, sources, seeing)
    measured = measure_pixels(make_view(recipe, CENTRE, "r"), image, sources, aperture)
    ratio = measured.flux_N / get_expected(sources, aperture, recipe)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.002)
    # The widest ones reach their neighbours.
    assert np.quantile(np.abs(ratio - 1), 0.6) < 0.005
    assert np.abs(ratio - 1).max() < 0.06


def test_a_star_has_all_of_its_flux_in_any_aperture() -> None:
    recipe = make_recipe(galaxies_per_tile=0, stars_per_tile=25)
    sources = spread_out(make_sources(recipe, CENTRE))
    sources = replace(sources, magnitude=np.full(sources.magnitude.shape, 18.0))
    image = draw_image(recipe, sources, 0.8)
    measured = measure_pixels(make_view(recipe, CENTRE, "r"), image, sources, np.linspace(0.7, 2.0, len(sources)))
    assert measured.flux_N == pytest.approx(get_expected(sources, np.ones(len(sources)), recipe), rel=0.01)


def test_errors_are_as_large_as_the_deviations() -> None:
    recipe = make_recipe(galaxies_per_tile=100, stars_per_tile=0)
    sources = spread_out(make_sources(recipe, CENTRE), apart=58.0)
    aperture, view = np.linspace(0.7, 2.0, len(sources)), make_view(recipe, CENTRE, "r")
    empty = sources.select(np.zeros(len(sources), bool))
    units = []
    for seed in range(6):
        found = measure_pixels(view, draw_image(recipe, empty, 0.7, noise_seed=seed), sources, aperture)
        units.append(found.flux_N / found.sky_N)
    assert np.std(units) == pytest.approx(1.0, abs=0.1)
    assert np.mean(units) == pytest.approx(0.0, abs=0.15)


def test_fluxes_that_are_drawn_have_the_noise_of_the_pixels() -> None:
    recipe = make_recipe(galaxies_per_tile=25)
    sources = make_sources(recipe, CENTRE)
    sizes = Sizes(0.7, np.linspace(0.4, 3.0, len(sources)))
    light = gather_light(recipe, CENTRE, sources, sources, sizes)
    for band in ("u", "r"):
        image = replace(draw_image(recipe, sources, 0.7), psf=draw_psf(recipe, CENTRE, band))
        image = replace(image, sky_noise=make_view(recipe, CENTRE, band).sky_noise)
        measured = measure_pixels(make_view(recipe, CENTRE, band), image, sources, sizes.aperture_N)
        assert light.sky_NB[:, BANDS.index(band)] == pytest.approx(measured.sky_N, rel=0.03)


def test_photons_add_to_the_error_and_the_edge_is_made_up_for() -> None:
    recipe = make_recipe(galaxies_per_tile=0, stars_per_tile=2)
    stars = make_sources(recipe, CENTRE)
    ra, dec = make_wcs(CENTRE, PIXELS, 0.2).all_pix2world([0.0, 300.0], [300.0, 300.0], 0)
    stars = replace(stars, ra=ra, dec=dec, magnitude=np.full(stars.magnitude.shape, 18.0))
    image = draw_image(recipe, stars, 0.7)
    at_edge, inside = measure_pixels(make_view(recipe, CENTRE, "r"), image, stars, np.full(2, 1.0)).flux_N
    assert at_edge == pytest.approx(inside, rel=0.2)
    photons = measure_pixels(make_view(recipe, CENTRE, "r"), image, stars, np.full(2, 1.0)).photons_N[1]
    # All of a point's photons, as the weights are about 1 where it is; dividing by the seeing raises them.
    assert photons == pytest.approx(np.sqrt(inside / image.gain), rel=0.3)
