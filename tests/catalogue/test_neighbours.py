"""Which partitions lie beside which pixels."""

import numpy as np
import pytest
from cdshealpix import vertices
from hats.pixel_math.healpix_shim import margin2order
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.audit.checks import compute_healpix
from photoz.catalogue.hats import Partition
from photoz.catalogue.neighbours import Owners, compute_ring, find_margin_order, find_within
from photoz.errors import ConfigError
from photoz.schema import HEALPIX_ORDER


@given(
    finer=st.integers(1, 7),
    where=st.floats(0, 1, exclude_max=True),
    threshold=st.floats(1.0, 600.0),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_the_ring_covers_all_within_the_threshold(finer: int, where: float, threshold: float, seed: int) -> None:
    """Positions at most the threshold [arcsec] away from a pixel's border lie in the pixel or in the ring around it."""
    margin_order = int(margin2order(threshold / 60.0))
    order = max(0, margin_order - finer)
    partition = Partition(order=order, pixel=int(where * 12 * 4**order))
    rng = np.random.default_rng(seed)
    lon, lat = vertices(partition.pixel, order, step=int(rng.integers(1, 40)))
    ra, dec = offset(lon.deg.ravel(), lat.deg.ravel(), threshold / 3600, rng)
    healpix = compute_healpix(ra, dec)
    inside = (healpix >> 2 * (HEALPIX_ORDER - order)) == partition.pixel
    near = np.isin(healpix >> 2 * (HEALPIX_ORDER - margin_order), compute_ring(partition, margin_order))
    assert (inside | near).all()


def offset(ra, dec, most: float, rng: np.random.Generator):
    """Move positions [deg] by less than ``most`` [deg] in a random direction."""
    angle, distance = rng.uniform(0, 2 * np.pi, len(ra)), np.radians(most * rng.uniform(0, 0.999, len(ra)))
    lat = np.radians(dec)
    moved = np.arcsin(np.sin(lat) * np.cos(distance) + np.cos(lat) * np.sin(distance) * np.cos(angle))
    turned = np.arctan2(np.sin(angle) * np.sin(distance) * np.cos(lat), np.cos(distance) - np.sin(lat) * np.sin(moved))
    return (ra + np.degrees(turned)) % 360, np.degrees(moved)


def test_neighbours_are_the_partitions_around() -> None:
    base = Partition(order=3, pixel=271)
    siblings = [Partition(order=4, pixel=4 * 271 + child) for child in range(4)]
    far = Partition(order=3, pixel=0)
    owners = Owners([*siblings, far])
    assert set(owners.find_neighbours(siblings[0], 8)) == set(siblings[1:])
    assert set(owners.find_neighbours(base, 8)) == set()
    assert far not in set(owners.list_edge_pixels())
    assert Owners([]).find_neighbours(base, 8) == ()


@given(st.floats(1.0, 3600.0))
def test_the_margin_is_of_pixels_wider_than_the_threshold_one_order_for_each_factor_of_two(threshold: float) -> None:
    order = find_margin_order(threshold)
    side = 3600 * np.degrees(np.sqrt(4 * np.pi / (12 * 4**order)))  # [arcsec] of a square as large
    assert threshold < side < 8 * threshold
    assert find_margin_order(threshold / 4) == order + 2


def test_rings_of_a_pixel_are_the_smaller_pixels_around_it() -> None:
    # Four sides of 2^k pixels and four corners, away from the corners of the base pixels.
    for finer in (1, 2, 3):
        ring = compute_ring(Partition(order=3, pixel=271), 3 + finer)
        assert len(ring) == 4 * 2**finer + 4
        assert not (ring >> 2 * finer == 271).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12 * 4**2 - 1), min_size=1, max_size=20, unique=True))
def test_partitions_and_empty_pixels_cover_the_sky_once(pixels: list[int]) -> None:
    owners = Owners([Partition(order=2, pixel=pixel) for pixel in pixels])
    parts = [*owners.partitions, *owners.list_empty_pixels()]
    assert sum(4.0**-part.order for part in parts) == pytest.approx(12)
    edge = set(owners.list_edge_pixels())
    assert edge <= set(owners.list_empty_pixels())
    assert all(set(owners.find_neighbours(pixel)) & set(owners.partitions) for pixel in edge)


def test_neighbours_are_mutual_whatever_the_orders() -> None:
    coarse, fine = Partition(order=1, pixel=17), [Partition(order=3, pixel=16 * 18 + number) for number in range(16)]
    owners = Owners([coarse, *fine])
    beside = set(owners.find_neighbours(coarse))
    assert 0 < len(beside) < 16
    assert all((coarse in owners.find_neighbours(part)) == (part in beside) for part in fine)


def test_a_margin_wider_than_its_pixel_is_refused_with_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"order 5 does not fit around Norder=6_Npix=7.*lower sources\.margin_arcsec"):
        compute_ring(Partition(order=6, pixel=7), 5)
    # Of its own order the ring is the pixels around it: seven where three base pixels meet, else eight.
    assert {len(compute_ring(Partition(order=3, pixel=pixel), 3)) for pixel in range(12 * 4**3)} <= {7, 8}


@given(st.lists(st.integers(0, 2 * 4**4 - 1), max_size=40), st.integers(0, 12 * 4**2 - 1))
def test_rows_are_found_within_the_ring(pixels: list[int], number: int) -> None:
    ring = compute_ring(Partition(2, number), 4)
    healpix = (np.array(pixels, dtype=np.int64) << 2 * (HEALPIX_ORDER - 4)) + 5
    assert find_within(healpix, ring, 4).tolist() == [place for place, pixel in enumerate(pixels) if pixel in ring]
