"""Columns of stored quantiles: a list a row, viewed as an array, whatever kind of list a catalogue has."""

import numpy as np
import pyarrow as pa
import pytest

from photoz.catalogue.quantiles import filter_rows, find_odd_lists, pack_codes, unpack_codes
from photoz.errors import CatalogueError
from photoz.schema import LEVELS, QUANTILES_TYPE

CODES = np.arange(5 * len(LEVELS), dtype=np.uint16).reshape(5, -1)


def make_lists(rows: list[object]) -> pa.Array:
    return pa.array(rows, QUANTILES_TYPE)


def test_codes_come_back_and_lie_in_arrows_own_memory() -> None:
    column = pack_codes(CODES)
    column.validate(full=True)
    found = unpack_codes(column)
    np.testing.assert_array_equal(found, CODES)
    assert found.ctypes.data == column.values.buffers()[1].address


@pytest.mark.parametrize("size", [-1, len(LEVELS)])
def test_lists_of_either_kind_are_read(size: int) -> None:
    column = pa.array(CODES.tolist(), pa.list_(pa.uint16(), size))
    np.testing.assert_array_equal(unpack_codes(column), CODES)
    np.testing.assert_array_equal(unpack_codes(column.slice(1, 3)), CODES[1:4])
    np.testing.assert_array_equal(unpack_codes(pa.chunked_array([column, column.slice(2)])), np.r_[CODES, CODES[2:]])
    assert unpack_codes(pa.chunked_array([], column.type)).shape == (0, len(LEVELS))


@pytest.mark.parametrize(
    "odd",
    [
        [1] * (len(LEVELS) - 1),
        [1] * (len(LEVELS) + 1),
        [],
        None,
        [None] * len(LEVELS),
        [1] * (len(LEVELS) - 1) + [None],
    ],
)
def test_lists_of_another_length_are_found_by_row(odd: list[int] | None) -> None:
    whole = CODES[0].tolist()
    # What is lacking in one row stands in another: the number of values alone would tell nothing.
    column = pa.chunked_array([make_lists([whole, odd]), make_lists([whole, whole])])
    assert find_odd_lists(column).tolist() == [False, True, False, False]
    with pytest.raises(CatalogueError, match=r"1 rows have other than 27 quantiles of p\(z\), row 1 first"):
        unpack_codes(column)


def test_two_odd_lengths_that_make_up_for_each_other_are_both_found() -> None:
    column = make_lists([[1] * (len(LEVELS) - 1), [1] * (len(LEVELS) + 1)])
    assert find_odd_lists(column).tolist() == [True, True]


@pytest.mark.parametrize("size", [-1, len(LEVELS)])
def test_rows_are_filtered_as_arrow_does(size: int) -> None:
    lists = pa.array(CODES.tolist(), pa.list_(pa.uint16(), size))
    schema = pa.schema(
        [pa.field("x", pa.int64(), metadata={"unit": "m"}), pa.field("q", lists.type)], metadata={"a": "b"}
    )
    table = pa.table([pa.array(range(5)), lists], schema=schema)
    kept = np.array([True, False, True, True, False])
    found = filter_rows(table, kept)
    assert found.to_pylist() == table.filter(pa.array(kept)).to_pylist()
    assert found.schema.metadata == schema.metadata
    assert found.schema.field("x").equals(schema.field("x"), check_metadata=True)
    assert found.schema.field("q").type == QUANTILES_TYPE
