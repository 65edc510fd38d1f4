"""The simulated catalogue, row by row."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import BANDS, CENTRE, make_config, make_recipe, make_small_recipe, read_catalogue, simulate_first

from photoz.simulate.catalogue import _flag_haloes, find_unobserved, format_id, measure_sources, select_bright
from photoz.simulate.photometry import Fluxes, Sizes, gather_light, measure_fluxes, share_of_profile
from photoz.simulate.render import compute_gain, compute_sky_noise, draw_psf
from photoz.simulate.sky import Sources, compute_extinction, make_sources


def test_sentinels_are_distinct_and_stand_in_both_columns(tmp_path: Path) -> None:
    config = make_config(tmp_path, faint_per_tile=150, missing_band_fraction=0.2, failed_fraction=0.02)
    simulate_first(config)
    table = read_catalogue(Path(config.locations.survey))
    magnitude = np.stack([table[f"MAG_GAAP_{band}"] for band in BANDS], axis=1)
    error = np.stack([table[f"MAGERR_GAAP_{band}"] for band in BANDS], axis=1)
    for sentinel in (99.0, -99.0):
        assert ((magnitude == sentinel) == (error == sentinel)).all()
        assert (magnitude == sentinel).any()
    missing = find_unobserved(make_recipe(config), (180.0, -0.5), table["Xpos"].astype(np.float64))
    assert ((magnitude == -99) == missing).all()
    assert missing.any(0).sum() == 1
    measured = np.abs(magnitude) < 90
    assert ((magnitude[measured] > 10) & (magnitude[measured] < 30)).all()
    assert (error[measured] >= config.simulation.photometry_floor * 0.5).all()


@given(st.floats(0.0, 359.9999), st.floats(-89.9, 89.9))
def test_identifiers_hold_the_position(ra: float, dec: float) -> None:
    text = format_id(ra, dec).removeprefix("KiDSDR4 J")
    hours, degrees = text[:10], text[10:]
    read_ra = 15 * (int(hours[:2]) + int(hours[2:4]) / 60 + float(hours[4:]) / 3600)
    read_dec = int(degrees[1:3]) + int(degrees[3:5]) / 60 + float(degrees[5:]) / 3600
    assert (read_ra - ra + 180) % 360 - 180 == pytest.approx(0, abs=0.0151 / 3600)
    assert read_dec * (-1 if degrees[0] == "-" else 1) == pytest.approx(dec, abs=0.0101 / 3600)


@pytest.fixture(scope="module")
def tile():
    whole = {"missing_band_fraction": 0.0, "failed_fraction": 0.0}
    recipe = make_small_recipe(galaxies_per_tile=400, faint_per_tile=400, stars_per_tile=100, pixels=3000, **whole)
    sources = make_sources(recipe, CENTRE)
    return recipe, sources, measure_sources(recipe, CENTRE, sources, sources)


def get_magnitudes(columns: dict, kind: str) -> np.ndarray:
    return np.stack([columns[f"{kind}_{band}"] for band in BANDS], axis=1).astype(np.float64)


def test_errors_follow_from_what_was_measured(tile) -> None:
    recipe, _, columns = tile
    measured = np.abs(get_magnitudes(columns, "MAG_GAAP")) < 90
    flux = get_magnitudes(columns, "FLUX_GAAP")
    sky = 10.0 ** (-0.4 * (get_magnitudes(columns, "MAG_LIM") + get_magnitudes(columns, "EXTINCTION")))
    depth = np.array([recipe.simulation.depth[band] for band in BANDS])
    gain = np.array(
        [compute_gain(band, 0.2, compute_sky_noise(limit, 0.2)) for band, limit in zip(BANDS, depth, strict=True)]
    )
    # Of VISTA's bands without images only the sky makes noise.
    gain[4:] = np.inf
    photons = np.sqrt(0.7 * np.maximum(flux, 0) / gain)
    floor = recipe.simulation.photometry_floor
    expected = np.hypot(2.5 / np.log(10) * np.hypot(sky, photons) / flux, floor)
    assert get_magnitudes(columns, "MAGERR_GAAP")[measured] == pytest.approx(expected[measured], rel=1e-4)
    # The limit is that of the aperture, which the measured size gives.
    size = columns["FLUX_RADIUS"].astype(np.float64) * recipe.survey.pixel_scale
    seeing = np.sort(columns["FWHM_IMAGE"])[0] * recipe.survey.pixel_scale
    aperture = Sizes(float(seeing), size).aperture_N[:, None]
    limit = depth + 2.5 * np.log10(5 / aperture) - get_magnitudes(columns, "EXTINCTION")
    brighter = limit - get_magnitudes(columns, "MAG_LIM")
    assert brighter[:, 4:] == pytest.approx(0.0, abs=1e-3)
    # Where the seeing is known it is divided out, which raises the noise: of a Gaussian, by the ratio of the widths.
    width = np.array([draw_psf(recipe, CENTRE, band).seeing / 2.355 for band in BANDS[:4]])
    gaussian = 2.5 * np.log10(aperture / np.sqrt(aperture**2 - width**2))
    assert ((brighter[:, :4] > gaussian) & (brighter[:, :4] < 2.5 * gaussian)).all()


def test_magnitudes_are_the_fluxes_without_the_dimming_of_the_galaxy(tile) -> None:
    _, _, columns = tile
    magnitude, flux = get_magnitudes(columns, "MAG_GAAP"), get_magnitudes(columns, "FLUX_GAAP")
    measured = np.abs(magnitude) < 90
    bare = -2.5 * np.log10(np.where(measured, flux, 1.0)) - get_magnitudes(columns, "EXTINCTION")
    assert magnitude[measured] == pytest.approx(bare[measured], abs=1e-4)


def test_what_has_no_flux_beyond_its_noise_is_not_detected(tile) -> None:
    _, _, columns = tile
    limit = get_magnitudes(columns, "MAG_LIM") + get_magnitudes(columns, "EXTINCTION")
    faint = get_magnitudes(columns, "FLUX_GAAP") <= 10.0 ** (-0.4 * limit)
    assert faint.any()
    assert ((get_magnitudes(columns, "MAG_GAAP") == 99) == faint).all()


def test_errors_are_as_large_as_the_deviations() -> None:
    recipe = make_small_recipe(galaxies_per_tile=3000, faint_per_tile=0, stars_per_tile=0, pixels=3700)
    sources = make_sources(recipe, CENTRE)
    exact = Sizes(0.7, np.hypot(sources.radius, 0.35))
    rng = np.random.default_rng(0)

    def measure_anew() -> Fluxes:
        floor = recipe.simulation.photometry_floor / (2.5 / np.log(10))
        anew = replace(sources, calibration=1 + floor * rng.standard_normal(sources.magnitude.shape))
        return measure_fluxes(recipe, rng, gather_light(recipe, CENTRE, anew, anew, exact), exact)

    fluxes, other = measure_anew(), measure_anew()
    # Two measurements of the same sky differ by sqrt(2) of their errors.
    deviation = (fluxes.gaap_NB - other.gaap_NB) / np.hypot(fluxes.gaap_error_NB, other.gaap_error_NB)
    assert deviation.std(axis=0) == pytest.approx(1.0, abs=0.05)
    total = (fluxes.auto_N - other.auto_N) / np.hypot(fluxes.auto_error_N, other.auto_error_N)
    assert total.std() == pytest.approx(1.0, abs=0.05)
    # And the total holds the noise of the aperture: it is no second measurement.
    assert np.corrcoef(deviation[:, BANDS.index("r")], total)[0, 1] > 0.9


def test_bright_galaxies_are_chosen_by_class_and_magnitude(tile) -> None:
    _, sources, columns = tile
    chosen = select_bright(columns, 20.0)
    assert (columns["MAG_AUTO"][chosen] - columns["EXTINCTION_r"][chosen] < 20.0).all()
    assert sources.star[chosen].mean() < 0.02
    assert 300 < chosen.sum() < 450
    assert select_bright(columns, 18.0).sum() < chosen.sum()


@settings(deadline=None)  # the first of an index tabulates it
@given(st.floats(0.5, 6.0), st.floats(0.05, 20.0), st.floats(1.01, 3.0), st.floats(0.2, 1.0))
def test_wider_apertures_hold_more_of_a_profile(index: float, aperture: float, wider: float, ratio: float) -> None:
    less, more = share_of_profile(round(2 * index) / 2, np.array([aperture, aperture * wider]), np.full(2, ratio))
    assert 0 < less <= more <= 1 + 1e-6


def test_the_galaxy_dims_what_is_measured(tile) -> None:
    _, _, columns = tile
    expected = compute_extinction(columns["RAJ2000"], columns["DECJ2000"], BANDS)
    assert get_magnitudes(columns, "EXTINCTION") == pytest.approx(expected, abs=1e-6)


def make_points(ra: np.ndarray, *, star: bool, magnitude: float = 20.0) -> Sources:
    """Make sources on the equator of which nothing else matters."""
    values: dict = {field.name: np.zeros(len(ra)) for field in fields(Sources)}
    magnitudes = np.full((len(ra), len(BANDS)), magnitude)
    return Sources(**{**values, "ra": ra, "star": np.full(len(ra), star), "magnitude": magnitudes})


def test_a_star_at_right_ascension_0_flags_both_sides() -> None:
    # One star of magnitude 9 at 0 deg, and sources 3 arcsec to either side of it, and of another tile 180 deg away.
    near = np.array([3.0, 360.0 * 3600 - 3.0, 180.0 * 3600]) / 3600
    flags = []
    for start in (0.0, 180.0):
        ra = np.mod(near + start, 360.0)
        stars, sources = make_points(np.array([start]), star=True, magnitude=9.0), make_points(ra, star=False)
        flags.append(_flag_haloes(BANDS, (start, 0.0), sources, stars)["IMAFLAGS_ISO"].tolist())
    assert flags == [[1, 1, 0], [1, 1, 0]]


def test_a_flattened_profile_fills_less_of_a_round_aperture() -> None:
    # A Gaussian of axis ratio q and circularised width s under a round one of width A holds
    # A^2 / sqrt((A^2 + s^2 / q) (A^2 + s^2 q)) of its light.
    width, ratio = 1 / np.sqrt(2 * np.log(2)), np.array([0.2, 0.5, 1.0])
    aperture = np.full(3, 1.3)
    expected = aperture**2 / np.sqrt((aperture**2 + width**2 / ratio) * (aperture**2 + width**2 * ratio))
    assert share_of_profile(0.5, aperture, ratio) == pytest.approx(expected, rel=2e-3)


def test_neighbours_shed_light_into_an_aperture() -> None:
    recipe = make_small_recipe(zero_points=0.0)
    stars = make_points(180.0 + np.array([0.0, 1.5, 60.0]) / 3600, star=True)
    stars = replace(stars, dec=np.full(3, -0.5), calibration=np.ones((3, len(BANDS))))
    stars = replace(stars, bulge_fraction=np.zeros((3, len(BANDS))))
    light = gather_light(recipe, CENTRE, stars, stars, Sizes(0.7, np.full(3, 0.35)))
    share = np.exp(-0.5 * (1.5 / 0.7) ** 2)  # of a point under a Gaussian of 0.7 arcsec that is 1.5 arcsec away
    assert light.aperture_NB == pytest.approx(light.total_NB)
    assert light.neighbours_NB[:2] == pytest.approx(share * light.total_NB[1::-1], rel=1e-3)
    assert (light.neighbours_NB[2] == 0).all()
