"""The spectra of the simulated galaxies."""

import numpy as np
import pytest
from simulated import BANDS, draw_bright, get_library

from photoz.simulate.morphology import draw_shapes
from photoz.simulate.seds import (
    LUMINOSITY_EVOLUTION,
    SedLibrary,
    compute_distance_modulus,
    compute_fluxes,
    load_library,
    read_sdss_galaxies,
)
from photoz.simulate.settings import Simulation

# KiDS-VIKING pivot wavelengths [Angstrom], u to Ks (total response curves of the survey).
PIVOTS = (3570, 4712, 6286, 7555, 8776, 10207, 12530, 16441, 21468)


@pytest.fixture(scope="module")
def library() -> SedLibrary:
    return get_library()


@pytest.fixture(scope="module")
def bright():
    return draw_bright()


def test_galaxies_at_their_own_redshift_have_their_own_magnitudes() -> None:
    own = load_library(("u", "g", "r", "i", "z"), tuple(f"sdss_{band}0" for band in "ugriz"))
    galaxies = read_sdss_galaxies()
    maggies, ivar = galaxies.maggies_NF, galaxies.ivar_NF
    model = compute_fluxes(own, np.arange(len(own)), own.redshift_N)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = -2.5 * np.log10(maggies[own.row_N, :5] / model)
    usable = np.isfinite(difference).all(1) & (ivar[own.row_N, :5] > 0).all(1)
    spread = 1.4826 * np.median(np.abs(difference[usable]), axis=0)
    assert (np.abs(np.median(difference[usable], axis=0)) < [0.06, 0.02, 0.02, 0.02, 0.03]).all()
    assert (spread < [0.10, 0.03, 0.03, 0.03, 0.05]).all()


def test_responses_lie_near_the_surveys_wavelengths() -> None:
    from kcorrect.response import ResponseDict

    curves = ResponseDict()
    for band, wanted in zip(BANDS, PIVOTS, strict=True):
        name = Simulation().responses[band]
        curves.load_response(name)
        wave, passed = np.float64(curves[name].wave), np.float64(curves[name].response)
        pivot = np.sqrt(np.trapezoid(passed * wave, wave) / np.trapezoid(passed / wave, wave))
        assert pivot == pytest.approx(wanted, rel=0.02), band


def test_colours_redden_with_redshift_as_the_break_moves_through_g(library: SedLibrary, bright) -> None:
    index, redshift = bright
    shapes = draw_shapes(library, np.random.default_rng(1), index, redshift)
    magnitude = -2.5 * np.log10(compute_fluxes(library, index, redshift))
    colour = magnitude[:, 1] - magnitude[:, 2]
    near, far = shapes.early_N & (redshift < 0.1), shapes.early_N & (redshift > 0.3) & (redshift < 0.35)
    assert 0.7 < np.median(colour[near]) < 1.1
    assert 1.4 < np.median(colour[far]) < 1.9
    assert np.median(colour[shapes.early_N]) > np.median(colour[~shapes.early_N]) + 0.2
    assert 0.3 < shapes.early_N.mean() < 0.7


def test_sdss_fluxes_are_whole_and_near_infrared_ones_may_lack() -> None:
    galaxies = read_sdss_galaxies()
    assert galaxies.maggies_NF.shape == galaxies.ivar_NF.shape == (len(galaxies.redshift_N), 8)
    assert (galaxies.ivar_NF >= 0).all()
    lacking = galaxies.ivar_NF[:, 5:] == 0
    assert lacking.any()
    assert (galaxies.maggies_NF[:, 5:][lacking] == 0).all()
    # The error floor of 2 % in g r i: no signal-to-noise ratio above 50.
    assert (galaxies.maggies_NF * np.sqrt(galaxies.ivar_NF))[:, 1:4].max() <= 50.0001


def test_old_stars_give_a_part_of_the_light(library: SedLibrary, bright) -> None:
    old, whole = (compute_fluxes(library, *bright, old_only=only) for only in (True, False))
    assert (old >= 0).all()
    assert (old <= whole * (1 + 1e-9)).all()


def test_fluxes_between_steps_of_the_grid_lie_between_theirs(library: SedLibrary) -> None:
    index, redshift = np.zeros(3, dtype=np.intp), library.grid_Z[40] + np.array([0.0, 0.0025, 0.005])
    fluxes = compute_fluxes(library, index, redshift)
    lower, middle, upper = fluxes / compute_distance_factor(library, index, redshift)
    assert middle == pytest.approx((lower + upper) / 2, rel=1e-9)


def compute_distance_factor(library: SedLibrary, index: np.ndarray, redshift: np.ndarray) -> np.ndarray:
    own = library.redshift_N[index]
    modulus = compute_distance_modulus(redshift) - compute_distance_modulus(own)
    return 10.0 ** (-0.4 * (modulus - LUMINOSITY_EVOLUTION * (redshift - own)))[:, None]


def test_distance_modulus_is_that_of_the_cosmology() -> None:
    # Flat, H0 = 70, Omega_m = 0.3: luminosity distance 460.3 Mpc at z = 0.1 (Wright's cosmology calculator).
    assert compute_distance_modulus(np.array([0.1]))[0] == pytest.approx(5 * np.log10(460.3e5), abs=0.002)
