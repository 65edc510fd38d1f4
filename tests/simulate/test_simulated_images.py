"""The pixels of the simulated survey."""

from dataclasses import replace
from pathlib import Path

import galsim
import numpy as np
import pytest
from astropy.io import fits
from simulated import BANDS, CENTRE, make_config, make_recipe, make_small_recipe, read_catalogue, simulate_first

from photoz.simulate.apertures import measure_pixels
from photoz.simulate.catalogue import measure_sources
from photoz.simulate.photometry import measure_sizes
from photoz.simulate.render import (
    CORE_BIT,
    HALO_BIT,
    Psf,
    choose_stamp_size,
    compute_halo_radius,
    draw_psf,
    draw_sources,
    make_mask,
    make_psf,
    make_view,
    render_band,
)
from photoz.simulate.sky import Sources, compute_extinction, make_sources, make_wcs


def test_images_hold_the_flux_the_catalogue_says(tmp_path: Path) -> None:
    config = make_config(tmp_path, pixels=1200, galaxies_per_tile=40, faint_per_tile=0, stars_per_tile=6)
    simulate_first(config)
    folder = Path(config.locations.survey)
    table = read_catalogue(folder)
    image = fits.getdata(folder / "KiDS_DR4.0_180.0_-0.5_r_sci.fits").astype(np.float64)
    y, x = np.mgrid[1:1201, 1:1201]
    difference = []
    for row in table:
        distance = np.sort(np.hypot(table["Xpos"] - row["Xpos"], table["Ypos"] - row["Ypos"]))[1]
        edge = min(row["Xpos"], row["Ypos"], 1200 - row["Xpos"], 1200 - row["Ypos"])
        if distance < 70 or edge < 50 or row["MASK"] or row["FLUX_RADIUS"] > 6:
            continue  # the aperture must hold all of the source and nothing else
        flux = image[np.hypot(x - row["Xpos"], y - row["Ypos"]) < 40].sum()
        difference.append(-2.5 * np.log10(flux) - row["MAG_AUTO"])
    assert len(difference) >= 8
    assert np.median(difference) == pytest.approx(0.0, abs=0.04)
    assert np.mean(np.abs(difference) < 0.1) > 0.7  # the rest has a large neighbour's outskirts in the aperture


def test_no_light_is_lost_in_drawing(tmp_path: Path) -> None:
    exact = {"photometry_floor": 0.0, "zero_points": 0.0}
    config = make_config(tmp_path, pixels=1024, galaxies_per_tile=400, stars_per_tile=0, faint_per_tile=0, **exact)
    sources = make_sources(make_recipe(config), (180.0, -0.5))
    x, y = make_wcs((180.0, -0.5), 1024, 0.2).all_world2pix(sources.ra, sources.dec, 1)
    central = np.flatnonzero(np.maximum(np.abs(x - 512), np.abs(y - 512)) < 200)
    assert len(central) > 20
    view = make_view(make_recipe(config), (180.0, -0.5), "r")
    psf = make_psf(Psf(0.7, (0.0, 0.0)))
    for number in central[:20]:
        one = sources.select(np.arange(len(sources)) == number)
        image = galsim.ImageF(1024, 1024, init_value=0.0)
        draw_sources(image, view, one, psf)
        dimmed = one.magnitude[0, 2] + compute_extinction(one.ra, one.dec, ("r",))[0, 0]
        assert -2.5 * np.log10(image.array.sum(dtype=np.float64)) == pytest.approx(dimmed, abs=0.05)


def test_haloes_cover_the_bright_stars(tmp_path: Path) -> None:
    config = make_config(tmp_path, pixels=400, stars_per_tile=60)
    simulate_first(config)
    folder = Path(config.locations.survey)
    sources = make_sources(make_recipe(config), (180.0, -0.5))
    table = read_catalogue(folder)
    mask = fits.getdata(folder / "KiDS_DR4.0_180.0_-0.5_r_msk.fits")
    bright = sources.star & (sources.magnitude[:, 2] < 14.5)
    assert bright.any()
    assert (table["MASK"][bright] & 28668 > 0).all()
    x, y = np.round(table["Xpos"][bright]).astype(int) - 1, np.round(table["Ypos"][bright]).astype(int) - 1
    assert (mask[y.clip(0, 399), x.clip(0, 399)] == 3).all()
    assert 0 < (mask > 0).mean() < 1
    assert (np.diff(compute_halo_radius(np.array([14.0, 12.0, 10.0]))) > 0).all()


def make_star(magnitude: float) -> Sources:
    sources = make_sources(make_small_recipe(stars_per_tile=1, galaxies_per_tile=0, faint_per_tile=0), CENTRE)
    at_centre = {"ra": np.array([180.0]), "dec": np.array([-0.5])}
    whole = np.ones((1, len(BANDS)))
    return replace(sources, magnitude=magnitude * whole, calibration=whole, **at_centre)


def test_a_star_has_the_profile_of_the_seeing_asked_for() -> None:
    view, star = make_view(make_small_recipe(zero_points=0.0), CENTRE, "r"), make_star(18.0)
    image = galsim.ImageF(300, 300, init_value=0.0)
    draw_sources(image, view, star, make_psf(Psf(0.9, (0.0, 0.0))))
    flux = 10.0 ** (-0.4 * (18.0 + compute_extinction(star.ra, star.dec, ("r",))[0, 0]))
    scale = 0.9 / 2 / np.sqrt(2 ** (1 / 3.5) - 1)  # of a Moffat profile of index 3.5 with a FWHM of 0.9 arcsec
    y, x = np.mgrid[140:160, 140:160]
    distance = 0.2 * np.hypot(x - 149.5, y - 149.5)  # the centre of 300 pixels lies between two
    expected = flux * 0.2**2 * 2.5 / (np.pi * scale**2) * (1 + (distance / scale) ** 2) ** -3.5
    assert image.array[140:160, 140:160] == pytest.approx(expected, rel=0.02, abs=1e-4 * expected.max())


def test_empty_sky_has_the_noise_of_the_depth_and_a_star_its_photons() -> None:
    recipe = make_small_recipe(seed=4)
    nothing = make_star(18.0).select(np.zeros(1, dtype=bool))
    empty = render_band(recipe, CENTRE, "r", nothing)
    assert empty.image.std() == pytest.approx(empty.sky_noise, rel=0.01)
    assert abs(empty.image.mean()) < 5 * empty.sky_noise / 300
    # 5 sigma in a circle of 1 arcsec is the depth.
    area = np.pi / 0.2**2
    assert -2.5 * np.log10(5 * empty.sky_noise * np.sqrt(area)) == pytest.approx(recipe.simulation.depth["r"])
    star = render_band(recipe, CENTRE, "r", make_star(15.0))
    pure = galsim.ImageF(300, 300, init_value=0.0)
    draw_sources(pure, make_view(recipe, CENTRE, "r"), make_star(15.0), make_psf(star.psf))
    bright = pure.array > 100 * star.sky_noise
    expected = np.sqrt(star.sky_noise**2 + pure.array / star.gain)
    deviation = ((star.image - pure.array) / expected)[bright]
    assert bright.sum() > 50
    assert deviation.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * bright.sum()))


def test_seeing_differs_by_tile_and_band_within_its_limits() -> None:
    recipe = make_small_recipe()
    seen = {(ra, band): draw_psf(recipe, (ra, -0.5), band).seeing for ra in (180.0, 181.0) for band in "ugri"}
    assert len(set(seen.values())) == 8
    for (_, band), seeing in seen.items():
        assert abs(np.log(seeing / recipe.simulation.seeing[band])) <= 0.12


def test_stamps_grow_with_brightness() -> None:
    sources = make_sources(make_small_recipe(galaxies_per_tile=50), CENTRE)
    faint, bright = (choose_stamp_size(sources, 2, np.full(len(sources), level), 0.2) for level in (10.0, 1e4))
    assert (bright >= faint).all()
    assert bright.min() >= 24
    assert bright.max() <= 768


def test_masks_are_discs_around_bright_stars_alone() -> None:
    view = make_view(make_small_recipe(), CENTRE, "r")
    assert not make_mask(view, make_star(15.0), 300).any()
    mask = make_mask(view, make_star(12.0), 300)
    radius = compute_halo_radius(np.array([12.0]))[0] / 0.2
    y, x = np.mgrid[:300, :300]
    distance = np.hypot(x - 149.5, y - 149.5)
    assert ((mask & HALO_BIT > 0) == (distance <= radius)).mean() > 0.999
    assert ((mask & CORE_BIT > 0) == (distance <= radius / 4)).mean() > 0.999


def test_magnitudes_have_the_noise_of_the_pixels() -> None:
    """A second measurement, with a noise of its own, would take the noise off the first."""
    recipe = make_small_recipe(pixels=600, galaxies_per_tile=150, zero_points=3.0)
    sources, view = make_sources(recipe, CENTRE), make_view(recipe, CENTRE, "u")
    image = render_band(recipe, CENTRE, "u", sources)
    pure = galsim.ImageF(600, 600, init_value=0.0)
    draw_sources(pure, view, sources, make_psf(image.psf))
    aperture = measure_sizes(recipe, CENTRE, sources).aperture_N
    pixels = {"u": measure_pixels(view, image, sources, aperture)}
    columns = measure_sources(recipe, CENTRE, sources, sources, pixels)
    clean = measure_pixels(view, replace(image, image=pure.array), sources, aperture).flux_N
    noise = columns["FLUX_GAAP_u"] - clean
    x, y = view.wcs.all_world2pix(sources.ra, sources.dec, 0)
    inside = np.flatnonzero((np.minimum(x, y) > 20) & (np.maximum(x, y) < 580))
    row, column = np.mgrid[:600, :600]
    around = [
        (image.image - pure.array)[np.hypot(column - x[n], row - y[n]) < 1.3 * aperture[n] / 0.2].sum() for n in inside
    ]
    assert np.corrcoef(noise[inside], around)[0, 1] > 0.8
    error = columns["MAGERR_GAAP_u"] * columns["FLUX_GAAP_u"] * np.log(10) / 2.5
    seen = inside[np.abs(columns["MAG_GAAP_u"][inside]) < 90]
    # All but the floor, which is in the source as drawn.
    rest = np.sqrt(error**2 - (recipe.simulation.photometry_floor * np.log(10) / 2.5 * columns["FLUX_GAAP_u"]) ** 2)
    assert np.std(noise[seen] / rest[seen]) == pytest.approx(1.0, abs=0.2)
