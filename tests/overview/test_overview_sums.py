"""Sums over a catalogue's rows: closed forms, and parts in any order that come to the whole."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_overview import assert_same, make_rows, take
from scipy.stats import norm

from photoz.nz.distribution import compute_shares
from photoz.overview.sums import DISTANCE_EDGES, Z_EDGES, CatalogueSums, Kind, Rows, stack_shares, sum_rows
from photoz.ranges import MAGNITUDE_EDGES
from photoz.report.overview_tables import describe_outside
from photoz.schema import LEVELS, Flag


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 300), st.integers(1, 6), st.integers(0, 1000), st.booleans())
def test_parts_in_any_order_come_to_the_whole(count: int, parts: int, seed: int, with_pdf: bool) -> None:
    rows = make_rows(count, seed=seed, with_pdf=with_pdf)
    number_N = np.random.default_rng(seed + 1).integers(0, parts, count)
    sums = CatalogueSums()
    for part in range(parts):
        sums = sums.add(sum_rows(take(rows, np.flatnonzero(number_N == part))))
    assert_same(sums, sum_rows(rows))


def make_known(**changes: object) -> Rows:
    """Four galaxies: inside, outside, without a redshift, with nothing known of its distance."""
    values = {
        "healpix_N": np.arange(4) << 32,
        "object_id_N": np.array(["a", "b", "c", "d"], dtype=object),
        "ra_N": np.zeros(4),
        "dec_N": np.zeros(4),
        "mag_auto_N": np.array([20.1, 20.2, 21.0, np.nan]),
        "z_phot_N": np.array([0.105, 0.205, np.nan, 0.305]),
        "flags_N": np.array([0, int(Flag.OUTSIDE_TRAINING), int(Flag.ESTIMATE_FAILED), 0]),
        "distance_N": np.array([0.5, 2.0, np.nan, np.nan]),
        "codes_NQ": None,
    }
    return Rows(**(values | changes))


def test_counts_are_those_counted_by_hand() -> None:
    sums = sum_rows(make_known())
    assert sums.counts_L.tolist() == [4, 3, 2, 1]
    assert (sums.rows, sums.estimated, sums.measured, sums.outside) == (4, 3, 2, 1)
    assert dict(zip(Flag, sums.flags_F.tolist(), strict=True))[Flag.OUTSIDE_TRAINING] == 1
    assert sums.by_magnitude_LM[:, np.searchsorted(MAGNITUDE_EDGES, 20.15) - 1].tolist() == [2, 2, 2, 1]
    assert sums.by_redshift_LZ[:, [10, 20, 30]].tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0]]
    assert (sums.with_magnitude, sums.with_pdf, sums.shares_Z.sum(), len(sums.examples)) == (3, 0, 0.0, 0)
    assert sums.distances_D.sum() == 2
    assert (sums.sky.counts.sum(), sums.sky_measured.counts.sum(), sums.sky_outside.counts.sum()) == (4, 2, 1)


def test_a_flag_without_a_distance_counts_and_makes_no_share() -> None:
    sums = sum_rows(make_known(distance_N=np.full(4, np.nan)))
    assert (sums.measured, sums.outside, sums.distances_D.sum()) == (0, 1, 0)
    assert describe_outside(sums).startswith("1 galaxies are far from its magnitudes or colours")


def test_distances_beyond_the_axis_count_at_its_ends() -> None:
    sums = sum_rows(make_known(distance_N=np.array([0.0, 1e9, np.nan, 1.0])))
    assert (sums.distances_D[0], sums.distances_D[-1]) == (1, 1)
    assert sums.distances_D[np.searchsorted(DISTANCE_EDGES, 1.0)] == 1


def test_redshifts_beyond_the_cells_are_estimated_and_in_no_cell() -> None:
    sums = sum_rows(make_known(z_phot_N=np.array([-0.02, 7.0, np.nan, 6.5])))
    assert (sums.estimated, sums.by_redshift_LZ[Kind.ROWS].sum()) == (3, 1)


def test_stacked_shares_are_those_of_every_galaxy_added() -> None:
    rng = np.random.default_rng(3)
    centre_N, spread_N = rng.gamma(3.0, 0.4, 200), np.exp(rng.normal(-3, 1, 200))
    quantiles_NQ = np.clip(norm.ppf(np.array(LEVELS)[None], centre_N[:, None], spread_N[:, None]), 0, 6.55)
    quantiles_NQ[::10] = np.nan
    expected_Z = compute_shares(quantiles_NQ[np.isfinite(quantiles_NQ[:, 0])], Z_EDGES).sum(axis=0)
    np.testing.assert_array_equal(stack_shares(quantiles_NQ), expected_Z)
    assert stack_shares(np.full((3, len(LEVELS)), np.nan)).sum() == 0
    assert stack_shares(np.empty((0, len(LEVELS)))).sum() == 0


def test_all_without_a_redshift_and_no_rows_at_all() -> None:
    lost = make_known(z_phot_N=np.full(4, np.nan), codes_NQ=np.full((4, len(LEVELS)), 65535, dtype=np.uint16))
    sums = sum_rows(lost)
    assert (sums.rows, sums.estimated, sums.with_pdf, len(sums.examples)) == (4, 0, 0, 0)
    assert sums.shares_Z.sum() == sums.by_redshift_LZ.sum() == 0
    assert_same(sum_rows(take(make_rows(5), np.arange(0))), CatalogueSums())


def test_of_many_rows_a_part_is_stacked_whatever_partition_they_are_in() -> None:
    rows = make_rows(2000)
    whole = sum_rows(rows, every=4)
    assert 350 < whole.stacked < 650
    assert whole.with_pdf == sum_rows(rows).with_pdf
    parts = [sum_rows(take(rows, np.arange(start, start + 500)), every=4) for start in range(0, 2000, 500)]
    total = parts[0]
    for part in parts[1:]:
        total = total.add(part)
    assert total.stacked == whole.stacked
    np.testing.assert_array_equal(total.shares_Z, whole.shares_Z)
