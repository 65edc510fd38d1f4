"""The simulated galaxies: spectra, redshifts, sizes."""

import numpy as np
import pytest

from photoz.simulate.morphology import (
    compute_median_radius,
    compute_radius_scatter,
    compute_size_evolution,
    draw_disc_ratio,
    draw_shapes,
)
from photoz.simulate.population import draw_galaxies
from photoz.simulate.seds import COSMOLOGY, SedLibrary, compute_fluxes, load_library, read_sdss_galaxies
from photoz.simulate.settings import Simulation
from photoz.simulate.stars import BRIGHTEST, FAINTEST, draw_stars
from photoz.survey.settings import Survey

BANDS = Survey().bands
# KiDS-VIKING pivot wavelengths [Angstrom], u to Ks (total response curves of the survey).
PIVOTS = (3570, 4712, 6286, 7555, 8776, 10207, 12530, 16441, 21468)


@pytest.fixture(scope="module")
def library() -> SedLibrary:
    responses = Simulation().responses
    return load_library(BANDS, tuple(responses[band] for band in BANDS))


@pytest.fixture(scope="module")
def bright(library: SedLibrary):
    rng = np.random.default_rng(3)
    return draw_galaxies(library, rng, 4000, magnitudes=(15.5, 20.0), highest_redshift=0.6, mean_redshift=0.23)


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


def test_redshifts_have_the_published_mean_and_magnitudes_keep_the_limit(library: SedLibrary, bright) -> None:
    index, redshift = bright
    magnitude = -2.5 * np.log10(compute_fluxes(library, index, redshift)[:, BANDS.index("r")])
    assert redshift.mean() == pytest.approx(0.23, abs=0.006)
    assert redshift.min() >= 0.01
    assert redshift.max() < 0.6
    assert magnitude.max() < 20.0
    assert magnitude.min() >= 15.5
    # Counts of galaxies rise by about 10^0.5 or less from magnitude to magnitude at r < 20.
    assert 1.5 < np.sum((magnitude > 19) & (magnitude < 20)) / np.sum((magnitude > 18) & (magnitude < 19)) < 3.0


def test_fainter_galaxies_are_farther(library: SedLibrary) -> None:
    rng = np.random.default_rng(5)
    _, redshift = draw_galaxies(library, rng, 1000, magnitudes=(20.0, 23.0), highest_redshift=1.2)
    assert 0.4 < redshift.mean() < 0.8


def test_draws_depend_on_the_generator_alone(library: SedLibrary) -> None:
    draws = [
        draw_galaxies(library, np.random.default_rng(7), 50, magnitudes=(15.5, 20.0), highest_redshift=0.6)
        for _ in range(2)
    ]
    assert (draws[0][0] == draws[1][0]).all()
    assert (draws[0][1] == draws[1][1]).all()


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


def test_sizes_follow_the_relation(library: SedLibrary, bright) -> None:
    index, redshift = bright
    shapes = draw_shapes(library, np.random.default_rng(2), index, redshift)
    absolute = library.absolute_N3[index, 2] - (0.1 - library.redshift_N[index])
    kpc = shapes.radius_N / COSMOLOGY.arcsec_per_kpc_proper(redshift).value
    expected = compute_median_radius(absolute, shapes.early_N) * compute_size_evolution(redshift, shapes.early_N)
    deviation = np.log(kpc / expected) / compute_radius_scatter(absolute)
    for early in (True, False):
        assert np.median(deviation[shapes.early_N == early]) == pytest.approx(0.0, abs=0.08)
        assert deviation[shapes.early_N == early].std() == pytest.approx(1.0, abs=0.08)


def test_size_relation_is_the_published_one() -> None:
    # Shen et al. 2003: late types break at M_r = -20.52 and scatter less above it.
    at_break = np.array([-20.52])
    late = compute_median_radius(at_break, np.array([False]))
    assert np.log10(late) == pytest.approx(0.4 * 0.21 * 20.52 + 0.32 * np.log10(2) - 1.31)
    assert compute_radius_scatter(at_break) == pytest.approx((0.48 + 0.25) / 2)
    assert compute_size_evolution(np.array([0.1]), np.array([True])) == pytest.approx(1.0)


def test_bulges_are_redder_than_their_galaxies_and_never_brighter(library: SedLibrary, bright) -> None:
    index, redshift = bright
    shapes = draw_shapes(library, np.random.default_rng(2), index, redshift)
    late = shapes.bulge_fraction_NB[~shapes.early_N]
    assert (late >= 0).all()
    assert (late <= 1 + 1e-9).all()
    assert (late[:, 0] <= late[:, 3] + 0.02).mean() > 0.95
    assert np.mean(late[:, 2] <= 0.2) == pytest.approx(2 / 3, abs=0.08)


def test_discs_are_no_thinner_than_their_thickness() -> None:
    ratio = draw_disc_ratio(np.random.default_rng(0), 10_000)
    assert ratio.min() >= 0.2
    assert ratio.max() <= 1.0


def test_stars_lie_on_the_locus() -> None:
    magnitude = draw_stars(np.random.default_rng(0), 5000, BANDS)
    r = magnitude[:, 2]
    assert ((r >= BRIGHTEST) & (r <= FAINTEST)).all()
    assert np.sum(r > 20) > np.sum((r > 18) & (r < 20))
    g_r, r_i = magnitude[:, 1] - r, r - magnitude[:, 3]
    blue = g_r < 1.0
    assert np.std(r_i[blue] - np.polyval(np.polyfit(g_r[blue], r_i[blue], 2), g_r[blue])) < 0.08
    # Stars are told from galaxies by J - Ks (AB): below -0.1 but for the reddest.
    assert np.median(magnitude[:, 6] - magnitude[:, 8]) < 0.0
