"""Galaxies whose p(z) is shown: chosen by the rule, and the same in any partitioning."""

import numpy as np
import pytest

from photoz.overview.examples import MOST, Choice, Examples, choose_shown, draw_ranks, find_candidates
from photoz.overview.sums import Rows, sum_rows
from photoz.pdf import encode_quantiles
from photoz.schema import LEVELS, Flag

SHAPE = np.linspace(-1, 1, len(LEVELS))


def make_rows(z_N: np.ndarray, width_N: np.ndarray, outside_N: np.ndarray) -> Rows:
    count = len(z_N)
    return Rows(
        healpix_N=np.arange(count, dtype=np.int64) * 10**12,
        object_id_N=np.array([f"g{number:03d}" for number in range(count)], dtype=object),
        ra_N=np.arange(count, dtype=float),
        dec_N=np.zeros(count),
        mag_auto_N=np.full(count, np.nan),
        z_phot_N=z_N,
        flags_N=np.where(outside_N, int(Flag.OUTSIDE_TRAINING), 0),
        distance_N=np.where(outside_N, 2.0, 0.5),
        codes_NQ=encode_quantiles(z_N[:, None] + width_N[:, None] * SHAPE),
    )


@pytest.fixture
def examples() -> Examples:
    """In each of three cells ten galaxies, the first the narrowest and the last the broadest; one of them outside."""
    z_N = np.repeat([0.11, 0.31, 0.51], 10)
    width_N = np.tile(np.linspace(0.01, 0.05, 10), 3)
    outside_N = np.arange(30) == 29
    return sum_rows(make_rows(z_N, width_N, outside_N)).examples


def test_the_narrowest_and_the_broadest_of_each_cell_are_kept_and_none_outside(examples: Examples) -> None:
    kept = {choice: examples.object_id_K[examples.choice_K == choice].tolist() for choice in Choice}
    assert kept[Choice.NARROWEST] == ["g000", "g010", "g020"]
    assert kept[Choice.BROADEST] == ["g009", "g019", "g028"]
    assert len(kept[Choice.RANDOM]) == 3
    assert kept[Choice.OUTSIDE] == ["g029"]


def test_nine_are_shown_and_the_last_is_outside(examples: Examples) -> None:
    shown = choose_shown(examples, [0.1, 0.3, 0.5])
    assert len(shown) <= MOST
    assert shown.object_id_K[:3].tolist() == ["g000", "g010", "g020"]
    assert shown.object_id_K[-1] == "g029"
    assert len(set(shown.object_id_K.tolist())) == len(shown)


def test_without_any_outside_all_nine_are_inside(examples: Examples) -> None:
    inside = examples.take(np.flatnonzero(examples.choice_K != Choice.OUTSIDE))
    shown = choose_shown(inside, [0.1, 0.3, 0.5])
    assert shown.object_id_K[-1] == "g028"
    assert set(shown.choice_K.tolist()) <= {Choice.NARROWEST, Choice.RANDOM, Choice.BROADEST}


def test_the_nearest_cell_stands_in_for_an_empty_one(examples: Examples) -> None:
    shown = choose_shown(examples, [0.0, 0.33, 3.0])
    assert shown.object_id_K[:3].tolist() == ["g000", "g010", "g020"]


def test_one_galaxy_is_shown_once_and_none_not_at_all() -> None:
    one = sum_rows(make_rows(np.array([0.2]), np.array([0.02]), np.array([False]))).examples
    assert choose_shown(one, [0.2, 0.2, 0.2]).object_id_K.tolist() == ["g000"]
    assert len(choose_shown(Examples.empty(), [np.nan] * 3)) == 0
    alone = sum_rows(make_rows(np.array([0.2]), np.array([0.02]), np.array([True]))).examples
    assert choose_shown(alone, [0.2, 0.2, 0.2]).choice_K.tolist() == [Choice.OUTSIDE]


def test_equal_widths_are_decided_by_position_in_any_partitioning() -> None:
    rows = make_rows(np.full(40, 0.2), np.full(40, 0.02), np.zeros(40, dtype=bool))
    whole = sum_rows(rows).examples
    assert whole.object_id_K[whole.choice_K == Choice.NARROWEST].tolist() == ["g000"]


def test_rows_without_pdf_are_not_candidates() -> None:
    nothing_NQ = np.full((2, len(LEVELS)), np.nan)
    found = find_candidates(np.array([0.1, np.nan]), nothing_NQ, np.zeros(2, dtype=int), np.arange(2))
    assert [len(rows) for _, rows, _, _ in found] == [0, 0, 0, 0]


def test_ranks_are_uniform_and_belong_to_the_position() -> None:
    ranks_N = draw_ranks(np.arange(10_000, dtype=np.int64))
    assert ranks_N.min() >= 0
    assert ranks_N.max() < 1
    # The mean of 10,000 uniform numbers is 0.5 to 0.003.
    assert abs(ranks_N.mean() - 0.5) < 0.015
    np.testing.assert_array_equal(ranks_N[::-1], draw_ranks(np.arange(10_000, dtype=np.int64)[::-1]))
