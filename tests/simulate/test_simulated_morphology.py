"""Sizes and profiles of the simulated galaxies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import draw_bright, get_library

from photoz.simulate.morphology import (
    compute_median_radius,
    compute_radius_of_sum,
    compute_radius_scatter,
    compute_size_evolution,
    draw_early_ratio,
    draw_sersic_index,
    draw_shapes,
    is_early_type,
)
from photoz.simulate.seds import COSMOLOGY, SedLibrary


@pytest.fixture(scope="module")
def library() -> SedLibrary:
    return get_library()


@pytest.fixture(scope="module")
def bright():
    return draw_bright()


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


def test_early_types_are_rounder_than_discs_and_never_needles() -> None:
    ratio = draw_early_ratio(np.random.default_rng(0), 10_000)
    assert ratio.min() >= 0.3
    assert ratio.max() <= 1.0
    assert np.median(ratio) == pytest.approx(0.75, abs=0.01)


def test_types_part_at_the_published_colour() -> None:
    # Baldry et al. 2004, eq. 11: at M_r = -20.07 the divider is u - r = 2.06.
    assert is_early_type(np.array([2.07, 2.05]), np.array([-20.07, -20.07])).tolist() == [True, False]


def test_luminous_galaxies_have_higher_sersic_indices_in_few_steps() -> None:
    rng = np.random.default_rng(0)
    faint, luminous = (draw_sersic_index(rng, np.full(1000, magnitude)) for magnitude in (-17.0, -21.5))
    assert np.median(luminous) > np.median(faint)
    assert set(np.unique([faint, luminous])) <= set(np.arange(2.0, 6.5, 0.5))


def test_half_of_the_light_of_bulge_and_disc_lies_within_the_radius() -> None:
    # A disc alone holds half of its light within 1.678 scale lengths; with a bulge of share b, all of it inside, the
    # disc must bring the rest: b + (1 - b) (1 - (1 + x) exp(-x)) = 1/2.
    share = np.array([0.0, 0.1, 0.3])
    x = 1.678 * compute_radius_of_sum(share)
    assert share + (1 - share) * (1 - (1 + x) * np.exp(-x)) == pytest.approx(0.5, abs=2e-3)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_more_bulge_never_makes_a_galaxy_larger(one: float, other: float) -> None:
    less, more = compute_radius_of_sum(np.sort([one, other]))
    assert 0.35 <= more <= less <= 1.001
