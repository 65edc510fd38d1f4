"""Spectral variety: what is drawn is what was asked for, and what comes with photoz is what real galaxies have."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import BANDS, CENTRE, get_library, make_small_recipe

from photoz.simulate.residuals import KNOTS, TYPE_EDGES, Residuals, compute_residuals, measure_variety
from photoz.simulate.sdss import split_galaxies
from photoz.simulate.seds import fit_galaxies, read_sdss_galaxies
from photoz.simulate.sky import make_sources
from photoz.simulate.variety import (
    Variety,
    deviate_magnitudes,
    draw_deviations,
    find_types,
    interpolate_knots,
    load_variety,
)


def make_variety(spread: float = 0.05, freedom: float = 1e6) -> Variety:
    """Make a variety of 0.08 dex, whose types differ by their means."""
    distance_KK = np.log10(KNOTS[:, None] / KNOTS)
    covariance_KK = spread**2 * (np.exp(-0.5 * (distance_KK / 0.08) ** 2) + 1e-6 * np.eye(len(KNOTS)))
    mean_YK = np.array([[-0.02], [0.0], [0.02]]) * np.ones(len(KNOTS))
    return Variety(KNOTS, TYPE_EDGES, mean_YK, np.stack([covariance_KK] * 3), np.full(3, freedom))


@given(st.floats(1000.0, 40_000.0))
def test_knots_are_joined_by_straight_lines(wavelength: float) -> None:
    weights = interpolate_knots(KNOTS, np.array([[wavelength]]))[0, 0]
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
    inside = np.clip(wavelength, KNOTS[0], KNOTS[-1])
    assert weights @ np.log(KNOTS) == pytest.approx(np.log(inside), rel=1e-9)


def test_draws_have_the_mean_and_covariance_of_their_type() -> None:
    library, variety = get_library(), make_variety()
    index = np.arange(len(library)).repeat(4)
    drawn = draw_deviations(variety, np.random.default_rng(0), library, index)
    types = find_types(library, index, TYPE_EDGES)
    for kind in range(3):
        own = drawn[types == kind]
        assert len(own) > 500
        assert own.mean(0) == pytest.approx(variety.mean_YK[kind], abs=5 * 0.05 / np.sqrt(len(own)))
        assert np.cov(own.T) == pytest.approx(variety.covariance_YKK[kind], abs=0.2 * 0.05**2)


def test_only_colours_deviate_and_a_generator_gives_the_same_again() -> None:
    library, variety = get_library(), make_variety()
    index, redshift = np.arange(200), np.linspace(0.02, 0.6, 200)
    first, again = (draw_deviations(variety, np.random.default_rng(3), library, index) for _ in range(2))
    assert (first == again).all()
    change = deviate_magnitudes(variety, first, library, redshift)
    assert (change[:, BANDS.index("r")] == 0).all()
    # Two bands 0.5 dex apart have nothing to do with each other: sqrt(2) times the spread.
    assert change[:, BANDS.index("Ks")].std() == pytest.approx(np.sqrt(2) * 0.05, rel=0.2)
    assert change[:, BANDS.index("i")].std() < 0.06


def test_variety_is_off_at_0_and_keeps_the_magnitude_limit() -> None:
    plain, varied = (
        make_sources(make_small_recipe(galaxies_per_tile=400, spectral_variety=amount), CENTRE) for amount in (0.0, 1.0)
    )
    r_band = BANDS.index("r")
    assert (plain.redshift == varied.redshift).all()
    assert plain.magnitude[:, r_band] == pytest.approx(varied.magnitude[:, r_band], abs=1e-12)
    change = (varied.magnitude - plain.magnitude)[~plain.star]
    assert 0.01 < change[:, BANDS.index("g")].std() < 0.2
    assert (varied.magnitude == plain.magnitude)[plain.star].all()


def test_a_known_variety_is_found_again_under_errors() -> None:
    rng = np.random.default_rng(1)
    variety, count = make_variety(), 3000
    kind = rng.integers(0, 3, count)
    wavelength = (
        np.array([3550, 4690, 6170, 7480, 8930, 12400, 16500, 21600]) / (1 + rng.uniform(0.02, 0.5, count))[:, None]
    )
    weight = interpolate_knots(KNOTS, wavelength)
    normal = rng.standard_normal((count, len(KNOTS)))
    deviation = variety.mean_YK[kind] + normal @ np.linalg.cholesky(variety.covariance_YKK[0]).T
    error = np.full(8, 0.04)
    value = np.einsum("nfk,nk->nf", weight, deviation) + error * rng.standard_normal((count, 8))
    residuals = Residuals(
        value,
        np.tile(np.diag(error**2), (count, 1, 1)),
        weight,
        np.ones((count, 8), bool),
        np.array([1.0, 2.0, 2.6])[kind],
    )
    found = measure_variety(residuals)
    seen = (KNOTS > 3000) & (KNOTS < 9000)
    tails = found.freedom_Y / (found.freedom_Y - 2)
    spread = np.sqrt(tails[:, None] * np.einsum("ykk->yk", found.covariance_YKK))
    assert spread[:, seen] == pytest.approx(0.05, rel=0.25)
    assert found.mean_YK[:, seen] == pytest.approx(variety.mean_YK[:, seen], abs=0.008)
    with pytest.raises(ValueError, match="too few"):
        measure_variety(replace(residuals, colour_N=np.full(count, 1.0)))


def test_what_comes_with_photoz_is_what_other_real_galaxies_have() -> None:
    galaxies, variety = read_sdss_galaxies(), load_variety()
    residuals, kept = compute_residuals(galaxies, fit_galaxies(galaxies))
    other = residuals.select(~split_galaxies(np.flatnonzero(kept)))
    kind = np.searchsorted(variety.edges, other.colour_N, side="right")
    off = other.value_NF - np.einsum("nfk,nk->nf", other.weight_NFK, variety.mean_YK[kind])
    for band in range(8):
        own = off[other.seen_NF[:, band], band]
        spread = 1.4826 * np.median(np.abs(own - np.median(own)))
        assert np.median(own) == pytest.approx(0.0, abs=0.4 * spread), band
    # Not of the optical bands alone, whose residuals are about as large as the errors.
    tails = variety.freedom_Y / (variety.freedom_Y - 2)
    assert np.linalg.eigvalsh(variety.covariance_YKK).min() > 0
    spread_YK = np.sqrt(tails[:, None] * np.einsum("ykk->yk", variety.covariance_YKK))
    assert spread_YK.max() < 0.15
    # Red galaxies differ most in the ultraviolet, where their fits have next to no light to go by.
    assert spread_YK[2, 2] > 2 * spread_YK[2, 6]
