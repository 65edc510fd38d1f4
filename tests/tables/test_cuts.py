"""Quality cuts: Python's grammar on Arrow's columns, missing values, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import ConfigError
from photoz.tables.cuts import apply_cut, parse_cut

COLUMNS = {
    "flags": pa.array([0, 4, 5, None], pa.int16()),
    "x": pa.array([0.5, np.nan, -2.0, None]),
    "id": pa.array([2**53, 2**53 + 1, -1, 0]),
    "kind": pa.array(["GALAXY", "STAR", None, "GALAXY"]),
    "ok": pa.array([True, False, True, None]),
    "odd name": pa.array([1, 2, 3, 4]),
    "u": pa.array([2**64 - 1, 0, 1, 2], pa.uint64()),
}


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("flags == 0", [1, 0, 0, 0]),
        ("(flags & 4) == 0", [1, 0, 0, 0]),
        ("flags & 4 == 4", [0, 1, 1, 0]),  # & binds more tightly than ==, unlike in C
        ("flags | 1 == 1", [1, 0, 0, 0]),
        ("x < 1 and x > -1", [1, 0, 0, 0]),
        ("-1 < x < 1", [1, 0, 0, 0]),
        ("x < 0 or flags == 0", [1, 0, 1, 0]),
        ("not x < 0", [1, 1, 0, 0]),  # NaN is not below 0; null is neither
        ("x != 0.5", [0, 1, 1, 0]),
        ("isfinite(x)", [1, 0, 1, 0]),
        ("isnan(x) or isnull(x)", [0, 1, 0, 1]),
        ("id == 9007199254740993", [0, 1, 0, 0]),  # exact in 64 bits
        ("kind == 'GALAXY'", [1, 0, 0, 1]),
        ("kind != 'STAR'", [1, 0, 0, 1]),
        ("kind in ['GALAXY', 'QSO']", [1, 0, 0, 1]),
        ("flags not in [4, 5]", [1, 0, 0, 0]),
        ("x in [0.5, -2]", [1, 0, 1, 0]),
        ("ok", [1, 0, 1, 0]),
        ("~ok", [0, 1, 0, 0]),
        ("ok & (x > 0)", [1, 0, 0, 0]),
        ("`odd name` / 2 > 1", [0, 0, 1, 1]),
        ("abs(x) * 2 ** 2 == 8", [0, 0, 1, 0]),
        ("u > 5", [1, 0, 0, 0]),
        ("(flags + 32767) > 32770", [0, 1, 1, 0]),  # 16 bits would run over
        ("flags >> 2 == 1", [0, 1, 1, 0]),
    ],
)
def test_cuts(cut: str, expected: list[int]) -> None:
    found = apply_cut(cut, {name: COLUMNS[name] for name in parse_cut(cut).columns})
    assert found.to_pylist() == [bool(value) for value in expected]


@pytest.mark.parametrize(
    "cut",
    [
        "__import__('os').system('x')",
        "x.__class__",
        "(lambda: x)()",
        "[y for y in x]",
        "x[0] == 1",
        "open('f') == x",
        "abs(x, x)",
        "f'{x}' == 'a'",
        "x if ok else x",
        "x := 1",
        "@x",
        "x == ",
        "",
        "b'a' == kind",
    ],
)
def test_what_is_no_cut_is_refused(cut: str) -> None:
    with pytest.raises(ConfigError, match="the cut"):
        parse_cut(cut)


@pytest.mark.parametrize("cut", ["x", "x and flags", "kind > 5", "x & 1 == 1", "flags in x", "-kind == 1"])
def test_cuts_that_do_not_fit_their_columns_are_refused(cut: str) -> None:
    with pytest.raises(ConfigError, match="the cut"):
        apply_cut(cut, {name: COLUMNS[name] for name in parse_cut(cut).columns})


def test_a_cut_without_columns_is_refused() -> None:
    with pytest.raises(ConfigError, match="asks for no column"):
        parse_cut("1 == 1")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20), st.integers(0, 2**62))
def test_bits_as_python_has_them(values: list[int], mask: int) -> None:
    found = apply_cut(f"(m & {mask}) == 0", {"m": pa.array(values, pa.int64())})
    assert found.to_pylist() == [value & mask == 0 for value in values]


def test_numbers_of_more_than_64_bits_and_columns_that_are_not_there_are_refused() -> None:
    columns = {"f": pa.array([2**64 - 1], pa.uint64())}
    assert apply_cut(f"f == {2**64 - 1}", columns).to_pylist() == [True]
    with pytest.raises(ConfigError, match=rf"holds '{2**64}', which is not allowed"):
        apply_cut(f"f < {2**64}", columns)
    with pytest.raises(ConfigError, match="asks for the column 'g', which is not there"):
        apply_cut("g > 1", columns)


def test_a_list_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has \[1, 2\] alone|has '\[1, 2\]' alone: write column in \[1, 2\]"):
        apply_cut("x > 0 and [1, 2]", COLUMNS)
