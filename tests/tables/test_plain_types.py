"""Arrow's types for one value brought to a plain one, and the type that holds the values of two files."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photoz.errors import TableError
from photoz.tables.types import (
    is_nested,
    is_number,
    make_column,
    read_unit,
    simplify_schema,
    simplify_type,
    unify_schemas,
    unify_types,
)

INTEGERS = [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]
FLOATS = [pa.float32(), pa.float64()]
DAY, SECOND, MICRO = pa.date32(), pa.timestamp("s"), pa.timestamp("us")
integers = st.sampled_from(INTEGERS)


def find_limits(kind: pa.DataType) -> tuple[int, int]:
    """Return the least and the largest whole number of a type."""
    if pa.types.is_signed_integer(kind):
        return -(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1
    return 0, 2**kind.bit_width - 1


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.large_binary(), pa.binary()),
        (pa.binary(12), pa.binary()),
        (pa.dictionary(pa.int16(), pa.large_string()), pa.string()),
        (pa.run_end_encoded(pa.int32(), pa.float64()), pa.float64()),
        (pa.float16(), pa.float32()),
        (pa.bool_(), pa.bool_()),
        (pa.uuid(), pa.string()),
        (pa.decimal128(20, 0), pa.decimal128(20, 0)),
    ],
)
def test_every_type_has_a_plain_one_which_stays_as_it_is(kind: pa.DataType, plain: pa.DataType) -> None:
    assert simplify_type(kind) == plain
    assert simplify_type(plain) == plain


def test_an_extension_over_a_dictionary_comes_down_to_its_values() -> None:
    class Label(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.dictionary(pa.int8(), pa.large_string()), "made.label")

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

    assert simplify_type(Label()) == pa.string()
    assert not is_nested(Label())


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int8()), pa.list_(pa.int8(), 3), pa.struct([("a", pa.int8())]), pa.map_(pa.string(), DAY)]
)
def test_several_values_a_row_are_nested(kind: pa.DataType) -> None:
    assert is_nested(kind)
    assert not is_number(kind)


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.run_end_encoded(pa.int16(), pa.int8())])
def test_an_encoding_is_not_nested(kind: pa.DataType) -> None:
    assert not is_nested(kind)


@pytest.mark.parametrize("kind", [pa.bool_(), pa.string(), DAY, SECOND, pa.null()])
def test_what_is_no_number(kind: pa.DataType) -> None:
    assert not is_number(kind)


@given(integers, integers, st.data())
def test_no_whole_number_is_lost_between_two_files(left: pa.DataType, right: pa.DataType, data: st.DataObject) -> None:
    """The type of both holds every value of either, exactly, whichever file comes first."""
    both = unify_types(left, right)
    assert both == unify_types(right, left)
    for kind in (left, right):
        least, most = find_limits(kind)
        for value in (least, most, data.draw(st.integers(least, most))):
            assert int(pa.array([value], kind).cast(both)[0].as_py()) == value


@given(st.lists(integers, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_change_the_type(kinds: list[pa.DataType], random: Any) -> None:
    """A table has one type of a column however its files are listed, or runs would differ between stores."""

    def unify(listed: list[pa.DataType]) -> pa.DataType:
        schemas = [(str(place), pa.schema([("x", kind)])) for place, kind in enumerate(listed)]
        return unify_schemas(schemas).field("x").type

    shuffled = kinds[:]
    random.shuffle(shuffled)
    found = unify(kinds)
    assert unify(shuffled) == found
    for kind in kinds:
        least, most = find_limits(kind)
        assert pa.array([least, most], kind).cast(found).cast(pa.decimal128(20, 0)).to_pylist() == [least, most]
    if len({pa.types.is_signed_integer(kind) for kind in kinds}) == 1:
        assert found == max(kinds, key=lambda kind: kind.bit_width)


@pytest.mark.parametrize("kind", [*INTEGERS, *FLOATS, pa.string(), pa.bool_(), DAY, pa.binary()])
def test_a_file_without_any_value_takes_the_type_of_the_others(kind: pa.DataType) -> None:
    assert unify_types(pa.null(), kind) == unify_types(kind, pa.null()) == unify_types(kind, kind) == kind


@pytest.mark.parametrize("whole", INTEGERS)
def test_digits_beside_text_are_text_and_fractions_beside_text_are_refused(whole: pa.DataType) -> None:
    assert unify_types(whole, pa.string()) == unify_types(pa.string(), whole) == pa.string()
    assert unify_types(pa.float64(), pa.string()) is None
    assert unify_types(whole, pa.float32()) == pa.float64()


def test_a_third_file_leaves_identifiers_exact_that_two_made_decimals() -> None:
    both = unify_types(pa.int64(), pa.uint64())
    assert both is not None
    for third in (pa.int64(), pa.uint64(), pa.int8(), both):
        assert unify_types(both, third) == unify_types(third, both) == both
    assert unify_types(both, pa.string()) == unify_types(pa.string(), both) == pa.string()
    assert unify_types(pa.decimal128(38, 0), pa.int64()) == pa.decimal128(38, 0)
    assert unify_types(pa.decimal256(50, 0), pa.uint64()) == pa.decimal256(50, 0)
    # With a fraction it is a measurement.
    assert unify_types(pa.decimal128(10, 2), pa.int64()) == pa.float64()
    assert unify_types(pa.decimal128(10, 2), pa.string()) is None


@pytest.mark.parametrize(
    ("left", "right"), [(pa.bool_(), pa.int8()), (pa.float64(), SECOND), (pa.string(), DAY), (pa.bool_(), DAY)]
)
def test_types_of_different_things_have_none_in_common(left: pa.DataType, right: pa.DataType) -> None:
    assert unify_types(left, right) is None
    assert unify_types(right, left) is None


def test_times_of_two_units_are_of_the_finer() -> None:
    assert unify_types(SECOND, MICRO) == unify_types(MICRO, SECOND) == MICRO


def test_columns_come_in_the_order_of_their_first_file() -> None:
    schemas = [
        ("1", pa.schema([("b", pa.int8()), ("a", pa.int8())])),
        ("2", pa.schema([("c", DAY), ("b", pa.int16())])),
    ]
    found = unify_schemas(schemas)
    assert found.names == ["b", "a", "c"]
    assert found.field("b").type == pa.int16()
    assert unify_schemas([]) == pa.schema([])


def test_a_unit_that_one_file_leaves_out_is_that_of_the_other_in_either_order() -> None:
    bare, stated = (pa.schema([make_column("f", pa.float32(), unit)]) for unit in ("", "nJy"))
    for order in ([bare, stated], [stated, bare], [bare, stated, bare]):
        assert read_unit(unify_schemas(enumerate(order)).field("f")) == "nJy"  # type: ignore[arg-type]


def test_a_contradiction_names_the_column_both_files_and_the_remedy() -> None:
    first = pa.schema([make_column("f", pa.float32(), "nJy")])
    last = pa.schema([make_column("f", pa.float32(), "uJy")])
    between = pa.schema([("g", pa.int8())])
    with pytest.raises(TableError, match=r"f is in 'nJy' in a\.fits and in 'uJy' in c\.fits: read them one by one"):
        unify_schemas([("a.fits", first), ("b.fits", between), ("c.fits", last)])
    with pytest.raises(TableError, match=r"f is float in a\.fits and timestamp\[s\] in c\.fits.*write them alike"):
        unify_schemas([("a.fits", first), ("c.fits", pa.schema([("f", SECOND)]))])


def test_a_name_that_comes_twice_in_a_file_is_not_made_one() -> None:
    twice = pa.schema([("a", pa.int8()), ("b", pa.int8()), ("a", pa.string())])
    assert len(unify_schemas([("1", twice), ("2", twice)]).get_all_field_indices("a")) > 1


@pytest.mark.parametrize(
    ("metadata", "unit"),
    [
        (None, ""),
        ({}, ""),
        ({"unit": " mag "}, "mag"),
        ({"unit": b"\xe5ngstr\xf6m"}, "\ufffdngstr\ufffdm"),
        ({"UCD": "x"}, ""),
    ],
)
def test_units_whatever_a_file_holds_for_one(metadata: dict[Any, Any] | None, unit: str) -> None:
    assert read_unit(pa.field("x", pa.int8(), metadata=metadata)) == unit


def test_a_simple_schema_keeps_units_and_nothing_else() -> None:
    wild = pa.field("x", pa.large_string(), nullable=False, metadata={"unit": "deg", "description": "of a file"})
    found = simplify_schema(pa.schema([wild, ("y", pa.float16())], metadata={"pandas": "{}"}))
    assert found.metadata is None
    assert found.field("x").metadata == {b"unit": b"deg"}
    assert [each.type for each in found] == [pa.string(), pa.float32()]
