"""Which galaxies a flux-limited survey sees, and where."""

import numpy as np
import pytest
from simulated import BANDS, draw_bright, get_library

from photoz.simulate.population import draw_galaxies
from photoz.simulate.seds import SedLibrary, compute_fluxes


@pytest.fixture(scope="module")
def library() -> SedLibrary:
    return get_library()


@pytest.fixture(scope="module")
def bright():
    return draw_bright()


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
