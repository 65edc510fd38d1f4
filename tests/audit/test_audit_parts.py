"""Parts of the audit that need no catalogue: comparing ids and rows, the margin's ring, the hashes' buckets."""

import numpy as np
import pyarrow as pa
from cdshealpix import vertices
from hats.pixel_math.healpix_shim import margin2order
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.audit.checks import compute_healpix
from photoz.audit.columns import find_unequal_rows
from photoz.audit.ids import BucketTask, _read_bucket, compare_ids, hash_ids, locate_spill, spill_ids
from photoz.catalogue.hats import Partition
from photoz.catalogue.neighbours import Owners, compute_ring
from photoz.schema import HEALPIX_ORDER

IDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@given(found=IDS, expected=IDS)
def test_comparing_ids_counts_each(found: list[str], expected: list[str]) -> None:
    missing, extra = compare_ids(found, expected)
    assert sorted(found + missing) == sorted(expected + extra)
    assert not set(missing) & set(extra)


@given(ids=st.lists(st.text(max_size=3), max_size=30), buckets=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_buckets_hold_every_hash_once(tmp_path_factory, ids: list[str], buckets: int) -> None:
    folder = str(tmp_path_factory.mktemp("spill"))
    partition = Partition(order=3, pixel=271)
    spill_ids(locate_spill(folder, partition), ids, ids[:5], buckets=buckets)
    read = [_read_bucket(BucketTask(folder, bucket, buckets)) for bucket in range(buckets)]
    for side, expected in (("found", ids), ("expected", ids[:5])):
        hashes = np.concatenate([bucket.hashes[side] for bucket in read])
        np.testing.assert_array_equal(hashes, np.sort(hash_ids(expected)))
    assert all(bucket.partitions == [partition] for bucket in read)


def test_rows_are_compared_by_id_with_nan_equal_to_nan() -> None:
    found = pa.table({"object_id": ["a", "b", "c", "d", "d"], "mag": [1.0, np.nan, 3.0, 4.0, 4.0]})
    expected = pa.table({"object_id": ["d", "c", "b", "a"], "mag": [0.0, np.nan, np.nan, 1.0]})
    assert find_unequal_rows(found, expected, ["mag"]) == ["c"]  # d comes twice: which row is it?


def test_lists_are_compared_by_id() -> None:
    kind = pa.list_(pa.field("element", pa.uint16(), nullable=False), 2)
    found = pa.table({"object_id": ["a", "b", "c"], "q": pa.array([[1, 2], [3, 4], [65535, 65535]], kind)})
    expected = pa.table({"object_id": ["c", "b", "a"], "q": pa.array([[65535, 65535], [3, 5], [1, 2]], kind)})
    assert find_unequal_rows(found.slice(1), expected, ["q"]) == ["b"]
    assert find_unequal_rows(found.slice(0, 0), expected, ["q"]) == []


def test_what_is_no_position_has_no_pixel() -> None:
    ra, dec = np.array([10.0, np.nan, 10.0, 10.0]), np.array([0.0, 0.0, 90.1, np.nan])
    np.testing.assert_array_equal(compute_healpix(ra, dec) >= 0, [True, False, False, False])


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
