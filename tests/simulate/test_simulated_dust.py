"""Dust: directions are random over all discs, and a redder one is more likely seen edge-on."""

import numpy as np
import pytest
from simulated import draw_bright, get_library

from photoz.simulate.dust import (
    compute_bulge_dimming,
    compute_disc_ratio,
    compute_reddening,
    draw_cosines,
)
from photoz.simulate.morphology import _find_early_types, draw_shapes
from photoz.simulate.seds import SedLibrary


@pytest.fixture(scope="module")
def library() -> SedLibrary:
    return get_library()


def test_discs_are_no_thinner_than_their_thickness() -> None:
    assert compute_disc_ratio(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.2, np.sqrt(0.28), 1.0])


def test_directions_stay_random_over_all_late_types(library: SedLibrary) -> None:
    late = ~_find_early_types(library)
    cosine = draw_cosines(library, np.random.default_rng(0), np.flatnonzero(late).repeat(4), late)
    assert np.quantile(cosine, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.04)
    others = draw_cosines(library, np.random.default_rng(0), np.flatnonzero(~late).repeat(4), late)
    assert np.quantile(others, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)


def test_inclined_discs_are_as_red_as_published(library: SedLibrary) -> None:
    late = ~_find_early_types(library)
    luminous = np.flatnonzero(late & (library.absolute_N3[:, 2] < -19)).repeat(8)
    cosine = draw_cosines(library, np.random.default_rng(0), luminous, late)
    colour = library.absolute_N3[luminous, 0] - library.absolute_N3[luminous, 2]
    line = np.polyfit(library.absolute_N3[luminous, 2], colour, 1)
    excess = colour - np.polyval(line, library.absolute_N3[luminous, 2])
    edge_on, face_on = cosine < 0.2, cosine > 0.8
    found = excess[edge_on].mean() - excess[face_on].mean()
    expected = compute_reddening(cosine[edge_on]).mean() - compute_reddening(cosine[face_on]).mean()
    assert expected == pytest.approx(0.2, abs=0.05)
    assert found == pytest.approx(expected, rel=0.25)


def test_inclined_discs_hide_more_of_their_bulges_and_most_in_the_blue(library: SedLibrary) -> None:
    # Driver et al. 2007: the bulge loses 2.16 - 0.95 mag in B more than the disc, from face-on to edge-on.
    face_on, edge_on = compute_bulge_dimming(np.array([1.0, 0.0]), np.array([[4400.0, 8800.0]] * 2))
    assert edge_on - face_on == pytest.approx([1.21, 1.21 * 2**-0.7])
    index, redshift = draw_bright()
    shapes = draw_shapes(library, np.random.default_rng(2), index, redshift)
    late, r_band = ~shapes.early_N, library.bands.index("r")
    thin, round_ = late & (shapes.disc_ratio_N < 0.35), late & (shapes.disc_ratio_N > 0.85)
    share = shapes.bulge_fraction_NB[:, r_band]
    assert np.median(share[thin]) < 0.75 * np.median(share[round_])
