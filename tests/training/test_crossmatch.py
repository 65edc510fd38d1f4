"""Matching on the sky and the split of a training set."""

import numpy as np
import pytest
from astropy_healpix import HEALPix
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.errors import TrainingError
from photoz.training.crossmatch import SPLITS, assign_splits, match_sky, select_around_pixel

ARCSEC = 1 / 3600


def scatter(rng, count, *, side_arcsec=20.0, dec=60.0):
    ra_N = 359.999 + rng.uniform(0, side_arcsec * ARCSEC, count) / np.cos(np.radians(dec))
    return ra_N % 360, dec + rng.uniform(0, side_arcsec * ARCSEC, count)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 30), st.floats(0.1, 5))
def test_pairs_are_one_to_one_within_the_radius_and_stable(seed, sources, spectra, radius):
    rng = np.random.default_rng(seed)
    left, right = scatter(rng, sources), scatter(rng, spectra)
    source_K, spectrum_K, separation_K = match_sky(left, right, radius_arcsec=radius)
    assert len(set(source_K)) == len(source_K) == len(set(spectrum_K))
    assert (separation_K <= radius).all()
    # Stable: no pair left out is nearer than what both its members got instead.
    got_source = dict(zip(source_K.tolist(), separation_K, strict=True))
    got_spectrum = dict(zip(spectrum_K.tolist(), separation_K, strict=True))
    for i in range(sources):
        for j in range(spectra):
            alone = match_sky((left[0][[i]], left[1][[i]]), (right[0][[j]], right[1][[j]]), radius_arcsec=radius)[2]
            if len(alone):
                assert min(got_source.get(i, np.inf), got_spectrum.get(j, np.inf)) <= alone[0] * (1 + 1e-9)


def test_match_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    left, right = scatter(rng, 40), scatter(rng, 30)
    order = rng.permutation(40)
    first = match_sky(left, right, radius_arcsec=2.0)
    turned = match_sky((left[0][order], left[1][order]), right, radius_arcsec=2.0)
    assert set(zip(*map(tuple, first[:2]), strict=True)) == set(
        zip(order[turned[0]].tolist(), turned[1].tolist(), strict=True)
    )


def test_match_works_across_ra_0():
    pair = match_sky((np.array([359.99999]), np.zeros(1)), (np.array([0.00001]), np.zeros(1)), radius_arcsec=1.0)
    assert pair[0].tolist() == [0]
    assert pair[2][0] == pytest.approx(0.072, rel=1e-3)


def test_bad_radius_and_positions_are_refused():
    one = (np.zeros(1), np.zeros(1))
    with pytest.raises(TrainingError, match="0 arcsec"):
        match_sky(one, one, radius_arcsec=0)
    with pytest.raises(TrainingError, match="not finite"):
        match_sky(one, (np.array([np.nan]), np.zeros(1)), radius_arcsec=1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5))
def test_all_positions_of_a_pixel_are_selected(seed, order):
    rng = np.random.default_rng(seed)
    ra_M, dec_M = rng.uniform(0, 360, 3000), np.degrees(np.arcsin(rng.uniform(-1, 1, 3000)))
    grid = HEALPix(nside=2**order, order="nested")
    pixel = int(rng.integers(grid.npix))
    from astropy import units as u

    inside = np.flatnonzero(grid.lonlat_to_healpix(ra_M * u.deg, dec_M * u.deg) == pixel)
    assert set(inside) <= set(select_around_pixel(ra_M, dec_M, order=order, pixel=pixel, margin_arcsec=0.0))


def test_splits_have_the_fractions_and_depend_on_id_and_seed_alone():
    names = [f"KiDSDR4 J{i:06d}" for i in range(20_000)]
    fractions = (0.7, 0.075, 0.075, 0.15)
    splits = assign_splits(names, seed=1, fractions=fractions)
    shares = [splits.count(split) / len(names) for split in SPLITS]
    np.testing.assert_allclose(shares, fractions, atol=0.01)
    assert assign_splits(names[::-1], seed=1, fractions=fractions) == splits[::-1]
    other = assign_splits(names, seed=2, fractions=fractions)
    same = np.mean([a == b for a, b in zip(splits, other, strict=True)])
    assert same == pytest.approx(0.7**2 + 2 * 0.075**2 + 0.15**2, abs=0.02)
