"""Magnitudes and colours of a sample: closed-form counts, parts that add up, and what is read back from a record."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.knn import KnnEstimator
from photoz.photometry import compute_fluxes_from_magnitudes, derive_magnitudes
from photoz.ranges import (
    COLOUR_EDGES,
    MAGNITUDE_EDGES,
    RangeCounts,
    Ranges,
    count_ranges,
    find_outside,
    list_quantities,
    summarize_photometry,
)

BANDS = ("g", "r", "i")


def read(magnitudes_NF, bands=BANDS):
    # Through JSON, as a manifest is.
    ranges = Ranges.read(json.loads(json.dumps(summarize_photometry(magnitudes_NF, bands))), bands)
    assert ranges is not None
    return ranges


def make_ladder() -> np.ndarray:
    """1,001 galaxies from 18 to 23 in g, of g - r = 0.65 and r - i = 0.35."""
    g_N = np.linspace(18, 23, 1001)
    return np.stack([g_N, g_N - 0.65, g_N - 1.0], axis=1)


def test_a_summary_holds_what_can_be_counted_by_hand() -> None:
    summary = summarize_photometry(make_ladder(), BANDS)
    assert summary["rows"] == 1001
    assert list(summary["quantities"]) == ["g", "r", "i", "g - r", "r - i"]
    g = summary["quantities"]["g"]
    assert g["quantiles"] == {"0.01": 18.05, "0.5": 20.5, "0.99": 22.95}
    counts = np.array(g["counts"].split(), dtype=int)
    # 50 a bin of 0.25 mag from 18 on; the last galaxy lies on the edge of the next.
    assert counts[MAGNITUDE_EDGES[:-1] == 18.0] == 50
    assert counts[MAGNITUDE_EDGES[:-1] == 23.0] == 1
    assert counts.sum() == 1001
    colour = np.array(summary["quantities"]["g - r"]["counts"].split(), dtype=int)
    assert colour[np.searchsorted(COLOUR_EDGES, 0.65) - 1] == 1001


def test_missing_magnitudes_are_in_no_count() -> None:
    magnitudes_NF = make_ladder()
    magnitudes_NF[::2, 1] = np.nan
    magnitudes_NF[0, 0] = np.inf
    quantities = summarize_photometry(magnitudes_NF, BANDS)["quantities"]
    assert [each["measured"] for each in quantities.values()] == [1000, 500, 1001, 500, 500]
    nothing = summarize_photometry(np.full((3, 3), np.nan), BANDS)["quantities"]["r"]
    assert (nothing["measured"], nothing["quantiles"]["0.5"]) == (0, None)


def test_a_band_that_was_never_measured_has_no_limits_and_excludes_nothing() -> None:
    magnitudes_NF = make_ladder()
    magnitudes_NF[:, 2] = np.nan
    ranges = read(magnitudes_NF)
    assert np.isnan(ranges.low_K).tolist() == [False, False, True, False, True]
    counted = count_ranges(make_ladder(), ranges)
    assert (counted.measured_K[2], counted.below_K[2], counted.above_K[2]) == (1001, 0, 0)


def test_the_shares_beyond_the_limits_are_those_of_a_shifted_target() -> None:
    ranges = read(make_ladder())
    same = count_ranges(make_ladder(), ranges)
    # Ten of 1,001 lie below the 1 % quantile 18.05.
    assert (same.below_K[0], same.above_K[0]) == (10, 10)
    brighter = count_ranges(make_ladder() - 1.0, ranges)
    assert (brighter.below_K[0], brighter.above_K[0]) == (210, 0)
    redder = count_ranges(make_ladder() + np.array([0.3, 0.0, 0.0]), ranges)
    assert redder.above_K.tolist()[3:] == [1001, 0]


@settings(max_examples=40, deadline=None)
@given(
    arrays(
        np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(5, 40, width=32) | st.just(np.nan)
    ),
    st.integers(0, 30),
)
def test_parts_add_up_to_the_whole(magnitudes_NF: np.ndarray, cut: int) -> None:
    ranges = read(make_ladder())
    whole = count_ranges(magnitudes_NF, ranges)
    parts = RangeCounts.empty(BANDS)
    for part in (magnitudes_NF[cut:], magnitudes_NF[:cut]):
        parts = parts.add(count_ranges(part, ranges))
    assert parts.rows == whole.rows == len(magnitudes_NF)
    for name in ("measured_K", "below_K", "above_K"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    for mine, theirs in zip(parts.counts, whole.counts, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_band_has_no_colour() -> None:
    assert [quantity.name for quantity in list_quantities(("r",))] == ["r"]
    assert count_ranges(np.full((4, 1), 20.0), read(np.full((4, 1), 20.0), ("r",))).measured_K.tolist() == [4]


@pytest.mark.parametrize(
    "damage",
    [
        lambda summary: summary.update(bins={"magnitudes": [0, 1, 2]}),
        lambda summary: summary.pop("rows"),
        lambda summary: summary["quantities"].pop("r"),
        lambda summary: summary["quantities"]["r"].update(counts="1 2"),
        lambda summary: summary["quantities"]["r"].update(counts="a b"),
        lambda summary: summary["quantities"]["r"].update(counts=None),
    ],
)
def test_a_summary_of_another_version_is_none(damage) -> None:
    summary = summarize_photometry(make_ladder(), BANDS)
    damage(summary)
    assert Ranges.read(summary, BANDS) is None


def test_a_fitted_estimator_keeps_the_summary_of_its_training_sample(tmp_path) -> None:
    magnitudes_NF = make_ladder()
    magnitudes_NF[0] = np.nan  # left out of the fit
    fluxes = compute_fluxes_from_magnitudes(magnitudes_NF, np.full_like(magnitudes_NF, 0.05))
    sample = Sample(BANDS, *fluxes, np.linspace(0.1, 0.6, 1001))
    KnnEstimator.fit(sample).save(str(tmp_path))
    manifest = (tmp_path / "manifest.json").read_text()
    record = json.loads(manifest)["record"]
    derived = derive_magnitudes(*(values[1:] for values in fluxes)).magnitudes_NF
    assert record["photometry"] == summarize_photometry(derived, BANDS)
    assert record["training_rows"] == record["photometry"]["rows"] == 1000
    # Read by people, so a histogram is a line.
    assert len(manifest.splitlines()) < 200


def test_far_is_half_the_width_beyond_the_limits_and_at_least_a_magnitude() -> None:
    """Magnitudes of the ladder reach 4.9 mag from 1 to 99 %, so 2.45 beyond; its colours do not vary, so 1."""
    ranges = read(make_ladder())
    galaxies = {
        (20.5, 19.85, 19.5): False,
        (25.39, 24.74, 24.39): False,
        (25.41, 24.76, 24.41): True,
        (15.59, 14.94, 14.59): True,
        (20.5, 18.86, 18.5): False,
        (20.5, 18.84, 18.5): True,
        (20.5, 20.86, 20.5): True,
        (20.5, np.nan, 12.0): True,
        (20.5, np.nan, 16.0): False,  # of no neighbouring band is there a colour
        (np.nan, np.nan, np.nan): False,
        (np.inf, 19.85, 19.5): False,
    }
    assert find_outside(np.array(list(galaxies)), ranges).tolist() == list(galaxies.values())


def test_a_band_that_no_training_galaxy_had_makes_nothing_far() -> None:
    ladder_NF = make_ladder()
    ladder_NF[:, 1] = np.nan
    assert not find_outside(np.array([[20.5, 40.0, 19.5]]), read(ladder_NF)).any()
