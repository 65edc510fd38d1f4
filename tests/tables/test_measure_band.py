"""One band's columns as fluxes: closed forms, and what every kind of photometry keeps to whatever stands in a table."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.photometry import MAGGY, POGSON
from photoz.tables.fluxes import NJY_PER_UNIT, Fluxes, compute_errors, convert_luptitudes, make_fluxes
from photoz.tables.measure import find_flux_unit, measure_band
from photoz.tables.settings import Extinction, Photometry

NAN = math.nan
NONE = Extinction()
B = 1e-10
LUPTITUDE = {"kind": "luptitude", "softening": {"g": B}}
FLUX = {"kind": "flux", "unit": "nJy"}

anything = st.floats(width=32) | st.sampled_from([99.0, -99.0, 0.0, -1.0, 22.5, 1e20, 2.0**-140])


def make(**values: Any) -> Photometry:
    return msgspec.convert({"column": "f", "error": "e", "kind": "mag"} | values, Photometry)


def measure(photometry: Photometry, extinction: Extinction = NONE, **columns: Any) -> Fluxes:
    return measure_band(lambda name: np.array(columns[name], dtype=np.float64), photometry, "g", extinction)


@pytest.mark.parametrize(("unit", "factor"), NJY_PER_UNIT.items())
def test_a_flux_is_one_of_its_unit_whatever_the_unit(unit: str, factor: float) -> None:
    photometry = make(kind="flux", unit=unit)
    assert find_flux_unit(photometry, "g") == factor
    found = measure(photometry, f=[2e3 / factor, -2e3 / factor], e=[5e2 / factor] * 2)
    np.testing.assert_allclose([found.flux_N, found.error_N], [[2e3, -2e3], [5e2, 5e2]])


def test_a_zero_point_is_of_its_band() -> None:
    by_band = make(kind="flux", unit="counts", zeropoint={"g": 31.4, "r": 25.0})
    assert find_flux_unit(by_band, "g") == pytest.approx(1.0, rel=1e-4)
    assert find_flux_unit(by_band, "r") == pytest.approx(363.1, rel=1e-3)


@given(st.floats(-25, 25), st.floats(0.5, 5))
def test_luptitudes_are_the_inverse_of_their_definition(exponent: float, sigma: float) -> None:
    """m = -2.5 / ln 10 (asinh(f / 2b) + ln b), of any flux, 0 and below as well."""
    maggies = math.sinh(exponent) * 1e-12
    magnitude = -POGSON * (math.asinh(maggies / (2 * B)) + math.log(B))
    flux, error = convert_luptitudes(np.array([magnitude]), np.array([0.01]), B)
    np.testing.assert_allclose(flux, [MAGGY * maggies], rtol=1e-9, atol=1e-9)
    # The slope, from a step either side.
    step = 1e-5
    beside = convert_luptitudes(np.array([magnitude - step, magnitude + step]), np.zeros(2), B)[0]
    np.testing.assert_allclose(error, [0.01 * (beside[0] - beside[1]) / (2 * step)], rtol=1e-6)


def test_a_bright_luptitude_is_a_magnitude_and_the_luptitude_of_nothing_no_flux() -> None:
    found = measure(make(**LUPTITUDE), f=[18.0, 25.0], e=[0.1, 0.1])
    plain = measure(make(), f=[18.0], e=[0.1])
    assert found.flux_N[0] == pytest.approx(plain.flux_N[0], rel=1e-5)
    assert found.error_N[0] == pytest.approx(plain.error_N[0], rel=1e-5)
    assert found.flux_N[1] == pytest.approx(0, abs=1e-6)
    assert found.error_N[1] == pytest.approx(MAGGY * 2 * B * 0.1 / POGSON)


@pytest.mark.parametrize(
    ("kind", "stated", "errors", "bad", "blank"),
    [
        ("error", [2.0, 0.0, -1.0, NAN, np.inf], [2.0, NAN, NAN, NAN, NAN], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]),
        ("ivar", [4.0, 0.0, -1.0, NAN, np.inf], [0.5, NAN, NAN, NAN, NAN], [0, 0, 1, 0, 1], [0, 1, 0, 0, 0]),
        ("snr", [4.0, 0.0, -1.0, NAN, np.inf], [2.0, NAN, NAN, NAN, NAN], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]),
    ],
)
def test_errors_of_each_kind(kind: str, stated: list[float], errors: list[float], bad: Any, blank: Any) -> None:
    found = compute_errors(np.full(5, 8.0), np.array(stated), kind)
    for values, expected in zip(found, (errors, bad, blank), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_a_negative_signal_to_noise_is_that_of_a_negative_flux() -> None:
    found = measure(make(**FLUX, error_kind="snr"), f=[-8.0, 8.0], e=[-2.0, -2.0])
    np.testing.assert_array_equal(found.error_N, [4.0, NAN])
    assert found.counts["bad_error"] == 1


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=20))
def test_what_is_kept_of_fluxes_is_finite_and_errors_are_above_0(pairs: list[tuple[float, float]]) -> None:
    fluxes, errors = np.array(pairs).T
    flux_N, error_N = make_fluxes(fluxes, errors)
    np.testing.assert_array_equal(flux_N[np.isfinite(fluxes)], fluxes[np.isfinite(fluxes)])
    assert not np.isinf(flux_N).any()
    known_N = ~np.isnan(error_N)
    assert (error_N[known_N] > 0).all()
    assert np.isfinite(flux_N[known_N]).all()


PHOTOMETRIES = [
    FLUX | {"not_detected": [99.0], "not_observed": [-99.0]},
    FLUX | {"error_kind": "ivar"},
    FLUX | {"error_kind": "snr"},
    {"kind": "flux", "unit": "counts", "zeropoint": 25.0},
    {"not_detected": [99.0], "not_observed": [-99.0]},
    {"not_detected": [99.0], "limit_in_error": True},
    {"error_kind": "snr"},
    {"unit": "Vega", "ab_offsets": {"g": 0.9}, "limit": "l"},
    LUPTITUDE,
    LUPTITUDE | {"error_kind": "ivar"},
]
EXTINCTIONS = [
    NONE,
    Extinction(kind="A_b", column="x"),
    Extinction(kind="ebv", column="x", coefficients={"g": 3.2}),
    Extinction(kind="transmission", column="x"),
]


@pytest.mark.filterwarnings("error")
@given(
    st.sampled_from(PHOTOMETRIES),
    st.sampled_from(EXTINCTIONS),
    st.lists(st.tuples(anything, anything, anything, anything), max_size=8),
)
def test_whatever_stands_in_a_table_fluxes_keep_their_contract(
    photometry: dict[str, Any], extinction: Extinction, rows: list[tuple[float, ...]]
) -> None:
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    with np.errstate(over="ignore"):
        columns = dict(zip("felx", values.T, strict=True))
        found = measure(make(**photometry), extinction, **columns)
    assert len(found.flux_N) == len(found.error_N) == len(rows)
    assert not np.isinf([found.flux_N, found.error_N]).any()
    known_N = ~np.isnan(found.error_N)
    assert (found.error_N[known_N] > 0).all()
    assert not np.isnan(found.flux_N[known_N]).any()
    # Each row is without a flux for one reason, and each reason is counted.
    reasons = [found.counts.get(name, 0) for name in ("not_observed", "implausible", "bad_extinction")]
    assert np.isnan(found.flux_N).sum() == sum(reasons)
    assert (found.flux_N == 0).sum() >= found.counts["not_detected"] - found.counts.get("bad_extinction", 0)


@given(st.lists(anything, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_the_others(values: list[float], random: Any) -> None:
    photometry = make(not_detected=[99.0], not_observed=[-99.0], limit_in_error=True)
    errors = [random.choice([0.1, 26.0, NAN, -1.0]) for _ in values]
    whole = measure(photometry, f=values, e=errors)
    for row, (value, error) in enumerate(zip(values, errors, strict=True)):
        alone = measure(photometry, f=[value], e=[error])
        np.testing.assert_array_equal([whole.flux_N[row], whole.error_N[row]], [alone.flux_N[0], alone.error_N[0]])


def test_an_offset_moves_magnitudes_and_limits_and_no_sentinel() -> None:
    vega = make(unit="Vega", ab_offsets={"g": 0.5}, not_detected=[99.0], limit="l")
    found = measure(vega, f=[20.0, 99.0, 99.5], e=[0.1] * 3, l=[24.0, 24.0, 24.0])
    ab = measure(make(not_detected=[99.0], limit="l"), f=[20.5, 99.0, 99.5], e=[0.1] * 3, l=[24.5] * 3)
    np.testing.assert_allclose([found.flux_N, found.error_N], [ab.flux_N, ab.error_N])
    assert found.flux_N[1] == 0


def test_a_limit_of_five_sigma_is_five_errors() -> None:
    five, one = (make(not_detected=[99.0], limit="l", limit_sigma=sigma) for sigma in (5.0, 1.0))
    columns = {"f": [99.0], "e": [99.0], "l": [25.0]}
    assert 5 * measure(five, **columns).error_N[0] == pytest.approx(measure(one, **columns).error_N[0])


def test_what_is_corrected_already_needs_no_column_of_extinction() -> None:
    dust = Extinction(kind="A_b", column="nowhere")
    assert measure(make(dereddened=True), dust, f=[20.0], e=[0.1]).flux_N[0] == pytest.approx(36310, rel=1e-4)


def test_a_band_may_have_columns_of_its_own_names() -> None:
    photometry = make(columns={"g": "gmag"}, errors={"g": "e_gmag"})
    dust = Extinction(kind="A_b", column="A_{band}", columns={"g": "Ag"})
    found = measure(photometry, dust, gmag=[20.0], e_gmag=[0.1], Ag=[1.0])
    assert found.flux_N[0] == pytest.approx(36310 * 10**0.4, rel=1e-4)


def test_the_transmission_of_a_float32_may_be_a_grain_above_1() -> None:
    dust = Extinction(kind="transmission", column="x")
    photometry = make(**FLUX)
    found = measure(photometry, dust, f=[10.0] * 4, e=[1.0] * 4, x=[1 + 5e-7, 0.5, 1.01, 0.0])
    np.testing.assert_array_equal(found.flux_N, [10.0, 20.0, NAN, NAN])
    np.testing.assert_array_equal(found.error_N, [1.0, 2.0, NAN, NAN])
    assert found.counts["bad_extinction"] == 2
