"""Identifiers as text: exact whatever their type, none where there is none, refused where digits were lost."""

import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import TableError
from photoz.tables.identifiers import count_duplicates, join_identifiers, make_exact

KINDS = [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=20))
def test_whole_numbers_of_64_bits_are_their_digits(values: list[int | None]) -> None:
    expected = [None if value is None else str(value) for value in values]
    assert join_identifiers([("id", pa.array(values, pa.int64()))]).to_pylist() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_of_every_whole_type(kind: pa.DataType) -> None:
    largest = 2 ** (kind.bit_width - pa.types.is_signed_integer(kind)) - 1
    assert join_identifiers([("id", pa.array([largest], kind))]).to_pylist() == [str(largest)]


@given(st.lists(st.text(), max_size=10))
def test_text_stays_as_it_is_and_an_empty_one_is_none(values: list[str]) -> None:
    """Blanks around it, zeros before digits, any script: only "", and blanks alone, are no identifier."""
    expected = [value if value.strip(" ") else None for value in values]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert make_exact("id", pa.array(values, kind)).to_pylist() == expected
    assert make_exact("id", pa.array(values, pa.string()).dictionary_encode()).to_pylist() == expected


def test_bytes_are_text_in_utf8() -> None:
    array = pa.array(["Größe 007".encode(), b"", None], pa.binary())
    assert make_exact("id", array).to_pylist() == ["Größe 007", None, None]


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_double_below_its_limit_is_exact(value: int) -> None:
    assert join_identifiers([("id", pa.array([float(value)]))]).to_pylist() == [str(value)]


@pytest.mark.parametrize(
    ("kind", "limit", "told"),
    [
        (np.float64, 2**53, r"doubles.*2\^53"),
        (np.float32, 2**24, r"floats.*2\^24"),
        (np.float16, 2**11, r"floats.*2\^11"),
    ],
)
def test_a_float_at_its_limit_is_refused_and_one_below_is_not(kind: type, limit: int, told: str) -> None:
    """The limit itself may have been the number after it, which no such float holds."""
    assert kind(limit) == kind(limit + 1)
    assert make_exact("id", pa.array(np.array([limit - 1, -limit + 1], kind))).to_pylist() == [limit - 1, 1 - limit]
    for value in (limit, -limit):
        with pytest.raises(TableError, match=f"column id holds identifiers as {told}: write them as whole numbers"):
            make_exact("id", pa.array(np.array([1, value], kind)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pa.array([1.0, 2.5]), "column id holds 2.5, which is no identifier"),
        (pa.array([float("inf")]), "inf among them"),
        (pa.array([decimal.Decimal("1.50")]), r"decimal128\(3, 2\), which is no identifier"),
        (pa.array([True]), "is bool, which is no identifier: name one of whole numbers or text"),
        (pa.array([0], pa.timestamp("s")), r"is timestamp\[s\], which is no identifier"),
    ],
)
def test_what_is_no_identifier_is_refused_by_its_column(values: pa.Array, told: str) -> None:
    with pytest.raises(TableError, match=told):
        make_exact("id", values)


def test_a_column_without_any_value_names_no_row() -> None:
    assert join_identifiers([("id", pa.nulls(3))]).to_pylist() == [None, None, None]
    assert len(join_identifiers([("id", pa.array([], pa.int64()))])) == 0


def test_a_row_that_lacks_one_part_has_no_identifier() -> None:
    parts = [
        ("a", pa.array([1, 2, None, 4])),
        ("b", pa.array([1.0, float("nan"), 3.0, 4.0])),
        ("c", pa.array(["x", "y", "z", ""])),
    ]
    assert join_identifiers(parts).to_pylist() == ["1-1-x", None, None, None]


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), max_size=30))
def test_parts_that_differ_never_become_one(pairs: list[tuple[int, int]]) -> None:
    """1 and 23 are not 12 and 3: as many identifiers as pairs of numbers."""
    first, second = ([pair[place] for pair in pairs] for place in (0, 1))
    joined = join_identifiers([("a", pa.array(first, pa.int32())), ("b", pa.array(second, pa.int32()))])
    assert len(set(joined.to_pylist())) == len(set(pairs))
    assert count_duplicates(joined) == len(pairs) - len(set(pairs))


def test_a_slice_of_a_column_counts_for_itself() -> None:
    whole = pa.array(["a", "a", "b", "c", "b"])
    assert count_duplicates(whole) == 2
    assert count_duplicates(whole.slice(1, 3)) == 0
    assert count_duplicates(whole.slice(0, 0)) == 0


@pytest.mark.parametrize("rounded", ["1.2e+18", "1.2E+18", "1e+20", "1.234567e18", "9007199254740993.0", "-1.5E+16"])
def test_text_that_was_a_double_is_refused(rounded: str) -> None:
    """A spreadsheet or pandas has written it: many identifiers may have become one."""
    with pytest.raises(TableError, match=r"column id holds identifiers such as .*numbers that have been rounded"):
        make_exact("id", pa.array(["7", None, rounded]))


@pytest.mark.parametrize("name", ["12e4", "4E10", "1e5a", "1.2", "1000.0", "e+18", "J1.2e+18", "90071992547409931"])
def test_names_with_an_e_or_a_point_stay(name: str) -> None:
    assert make_exact("id", pa.array([name])).to_pylist() == [name]
