"""Where the simulated sources are, the same from whichever tile they are seen."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from simulated import BANDS, CENTRE, CENTRES, make_config, make_recipe, make_small_recipe, plan

from photoz.simulate.sky import (
    STREAMS,
    ZERO_POINT_ERRORS,
    compute_extinction,
    compute_received_fluxes,
    compute_reddening,
    draw_zero_points,
    find_owner,
    join_sources,
    make_rng,
    make_sources,
    make_wcs,
)


def test_catalogues_are_excised_where_images_overlap(tmp_path: Path) -> None:
    # Coarse pixels make small images overlap: 300 of 1.25 arcsec span 0.104 deg.
    config = make_config(tmp_path, survey={"pixel_scale": 1.25}, galaxies_per_tile=200, stars_per_tile=0)
    one, other = (make_sources(make_recipe(config), tuple(centre)) for centre in CENTRES)
    assert one.ra.max() < 180.05
    assert other.ra.min() >= 180.05 - 1e-9
    assert (find_owner(one.ra, one.dec, config.simulation.centres) == 0).all()
    assert plan(config)[0].neighbours == ((180.1, -0.5),)
    assert plan(make_config(tmp_path))[0].neighbours == ()


def test_streams_are_independent_of_each_other_and_of_the_order_of_use() -> None:
    first = {(stream, band): make_rng(1, CENTRE, stream, band).random() for stream in STREAMS for band in (0, 1)}
    again = {key: make_rng(1, CENTRE, *key).random() for key in reversed(first)}
    assert first == again
    assert len(set(first.values())) == len(first)
    assert make_rng(2, CENTRE, "bright").random() != first["bright", 0]
    assert make_rng(1, (180.1, -0.5), "bright").random() != first["bright", 0]


@settings(deadline=None)  # astropy takes its time at first
@given(st.floats(0.0, 359.999), st.floats(-80.0, 80.0))
def test_projections_put_north_up_and_east_left(ra: float, dec: float) -> None:
    wcs = make_wcs((ra, dec), 101, 0.2)
    north = wcs.all_world2pix(ra, dec + 10 * 0.2 / 3600, 1)
    east = wcs.all_world2pix(ra + 10 * 0.2 / 3600 / np.cos(np.radians(dec)), dec, 1)
    assert np.array(north) == pytest.approx([51, 61], abs=1e-3)
    assert np.array(east) == pytest.approx([41, 51], abs=1e-3)


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_a_position_belongs_to_the_nearest_centre_across_zero_hours_too(ra: float, dec: float) -> None:
    centres = [(359.5, 0.0), (0.5, 0.0)]
    owner = find_owner(np.array([ra % 360]), np.array([dec]), centres)[0]
    assert owner == (0 if ra <= 0 else 1) or abs(ra) < 1e-9


def test_extinction_is_that_of_the_reddening_and_smooth() -> None:
    ra, dec = np.linspace(179.0, 181.0, 2001), np.full(2001, -0.5)
    reddening = compute_reddening(ra, dec)
    assert reddening.min() >= 0.02
    assert reddening.max() <= 0.04
    assert np.abs(np.diff(reddening)).max() < 1e-4
    # Schlafly & Finkbeiner 2011: A_r = 2.285 E(B-V).
    assert compute_extinction(ra, dec, ("r",))[:, 0] == pytest.approx(2.285 * reddening)
    assert (np.diff(compute_extinction(ra[:1], dec[:1], BANDS)[0]) < 0).all()


def test_sources_are_listed_from_south_to_north_whatever_they_are() -> None:
    sources = make_sources(make_small_recipe(galaxies_per_tile=200, faint_per_tile=200, stars_per_tile=200), CENTRE)
    assert (np.diff(sources.dec) >= 0).all()
    faint = ~sources.star & (sources.magnitude[:, 2] >= 20)
    for kind in (sources.star, faint):  # the mean row of a kind is that of all, within 5 sigma
        assert np.flatnonzero(kind).mean() == pytest.approx(299.5, abs=5 * 600 / np.sqrt(12 * 200))


def test_stars_have_no_profile_and_no_redshift() -> None:
    sources = make_sources(make_small_recipe(stars_per_tile=30), CENTRE)
    stars = sources.select(sources.star)
    assert len(stars) == 30
    for name in ("redshift", "radius", "bulge_radius", "disc_radius"):
        assert (getattr(stars, name) == 0).all()
    assert (sources.select(~sources.star).radius > 0).all()


def test_joined_sources_are_the_parts_one_after_the_other() -> None:
    sources = make_sources(make_small_recipe(), CENTRE)
    rows = np.arange(len(sources))
    joined = join_sources([sources.select(rows < 5), sources.select(rows >= 5)])
    for field in fields(sources):
        assert (getattr(joined, field.name) == getattr(sources, field.name)).all()


def test_zero_points_vary_from_tile_to_tile_by_their_errors() -> None:
    recipe = make_small_recipe()
    drawn = np.stack([draw_zero_points(recipe, (float(ra), 0.0)) for ra in range(300)])
    expected = [ZERO_POINT_ERRORS[band] for band in BANDS]
    assert drawn.std(axis=0) == pytest.approx(expected, rel=0.15)
    assert drawn.mean(axis=0) == pytest.approx(0.0, abs=5 * 0.033 / np.sqrt(300))
    assert (draw_zero_points(recipe, CENTRE) == draw_zero_points(recipe, CENTRE)).all()
    assert (draw_zero_points(make_small_recipe(zero_points=0.0), CENTRE) == 0).all()


def test_what_is_received_has_the_dust_and_the_errors_of_calibration() -> None:
    recipe = make_small_recipe(galaxies_per_tile=2000, zero_points=2.0)
    sources = make_sources(recipe, CENTRE)
    received = -2.5 * np.log10(compute_received_fluxes(recipe, CENTRE, sources))
    change = received - sources.magnitude - compute_extinction(sources.ra, sources.dec, BANDS)
    assert change.mean(axis=0) == pytest.approx(draw_zero_points(recipe, CENTRE), abs=5 * 0.02 / np.sqrt(2000))
    assert change.std(axis=0) == pytest.approx(recipe.simulation.photometry_floor, rel=0.1)


def test_bright_galaxies_are_packed_densely_and_yet_seldom_close() -> None:
    recipe = make_small_recipe(pixels=3700, galaxies_per_tile=1600, faint_per_tile=0, stars_per_tile=0)
    sources = make_sources(recipe, CENTRE)
    place = np.stack([sources.ra - CENTRE[0], sources.dec - CENTRE[1]], axis=1) * 3600
    close = len(cKDTree(place).query_pairs(8.0))
    # At random places 1600 galaxies make 1600^2 / 2 pi 8^2 / 740^2 = 470 such pairs; at 1230 a square degree there were
    # 1600 * 1230 * pi 8^2 / 3600^2 / 2 = 15, and since it is enough that one of two may be close, twice as many.
    assert 10 < close < 60
