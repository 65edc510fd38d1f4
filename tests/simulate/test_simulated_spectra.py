"""The simulated redshift survey."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import CENTRE, make_small_recipe

from photoz.simulate.catalogue import measure_sources
from photoz.simulate.sky import make_sources
from photoz.simulate.spectra import SPECTROSCOPIC_LIMIT, observe_spectra


def test_good_spectra_are_right_and_bad_ones_often_wrong() -> None:
    recipe = make_small_recipe(galaxies_per_tile=3000, stars_per_tile=300)
    sources = make_sources(recipe, CENTRE)
    table = observe_spectra(recipe, CENTRE, sources, measure_sources(recipe, CENTRE, sources, sources))
    nearest = np.hypot(table["RAcen"][:, None] - sources.ra, table["Deccen"][:, None] - sources.dec).argmin(1)
    error = np.abs(table["Z"] - sources.redshift[nearest])
    good = table["NQ"] >= 3
    assert np.quantile(error[good], 0.9) < 0.001
    assert 0.01 < (~good).mean() < 0.1
    assert (error[~good] > 0.01).mean() == pytest.approx(0.5, abs=0.2)
    assert 0 < table["duplicate"].sum() < 100
    assert (table["uberclass"] == 2).any()


def test_what_is_observed_is_chosen_by_what_was_measured() -> None:
    recipe = make_small_recipe(galaxies_per_tile=400, faint_per_tile=400, spectroscopic_fraction=1.0)
    sources = make_sources(recipe, CENTRE)
    catalogue = measure_sources(recipe, CENTRE, sources, sources)
    table = observe_spectra(recipe, CENTRE, sources, catalogue)
    assert table["mag"].max() < SPECTROSCOPIC_LIMIT
    assert ((table["SC"] == 7) == (table["mag"] < 19.8)).all()
    # Another truth behind the same measurements: the same galaxies are observed.
    other = replace(sources, magnitude=sources.magnitude + 1.0, radius=2 * sources.radius)
    again = observe_spectra(recipe, CENTRE, other, catalogue)
    for name in table:
        assert (table[name] == again[name]).all(), name


def test_second_observations_repeat_a_row_with_an_error_of_its_own() -> None:
    recipe = make_small_recipe(galaxies_per_tile=3000, spectroscopic_fraction=1.0)
    sources = make_sources(recipe, CENTRE)
    table = observe_spectra(recipe, CENTRE, sources, measure_sources(recipe, CENTRE, sources, sources))
    again = np.flatnonzero(table["duplicate"])
    assert len(again) > 5
    for row in again:
        nearest = np.hypot(table["RAcen"][:row] - table["RAcen"][row], table["Deccen"][:row] - table["Deccen"][row])
        assert nearest.min() < 1 / 3600  # positions are good to 0.1 arcsec
    assert len(set(table["uberID"])) == len(table["uberID"])
