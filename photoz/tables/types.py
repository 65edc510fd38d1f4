"""Arrow's many types for the same value brought to a few plain ones, and the one that holds the values of two."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from photoz.errors import TableError

_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_ALL_DIGITS = pa.decimal128(20, 0)
"""Of whole numbers of 64 bits with and without a sign, which no integer of Arrow holds."""
_MOST_DIGITS = 38
"""Of a decimal of 128 bits."""


def simplify_type(kind: pa.DataType) -> pa.DataType:
    """Return the plain type that holds the values of a type.

    Examples
    --------
    >>> [str(simplify_type(kind)) for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.float16())]
    ['string', 'string', 'float']
    """
    # As everybody writes them; the 16 bytes beneath are no text.
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        # Once more, since what lies beneath an extension may be a dictionary in turn, and its values long strings.
        return simplify_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return simplify_type(kind.value_type)
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    # Half of a float has no cast to text and few functions; its values fit twice.
    return pa.float32() if types.is_float16(kind) else kind


def decode_values(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return values of which Arrow has no cast to their plain type as some of which it has: UUIDs, and runs.

    >>> decode_values(pa.array([bytes(15) + b"7", None], pa.uuid())).to_pylist()
    ['00000000-0000-0000-0000-000000000037', None]
    """
    if isinstance(values.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    if types.is_run_end_encoded(values.type):
        return pc.run_end_decode(values)
    return values


def is_nested(kind: pa.DataType) -> bool:
    """Tell whether a type has several values a row: lists, structs, maps, and views of lists."""
    # `is_nested` of Arrow counts dictionaries and run ends, too, which have one value a row.
    return bool(types.is_nested(simplify_type(kind)))


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a type is a plain number."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def simplify_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain types; of the metadata only each column's unit is kept."""
    return pa.schema([_simplify_field(each) for each in schema])


def make_column(name: str, kind: pa.DataType, unit: str = "") -> pa.Field:
    """Make a field whose metadata hold the unit that the file states; without any where it states none."""
    return pa.field(name, kind, metadata={"unit": unit} if unit else None)


def read_unit(column: pa.Field) -> str:
    """Return the unit that a column's file states; "" for none."""
    stated = (column.metadata or {}).get(b"unit") or b""
    return stated.decode(errors="replace").strip()


def unify_schemas(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """Return the columns of all files, in the order in which they first appear.

    Parameters
    ----------
    schemas : iterable of (str, pyarrow.Schema)
        Each file's name and its schema, of plain types.

    Raises
    ------
    TableError
        Two files hold a column in types that have nothing in common, or state different units of it.
    """
    columns: dict[str, pa.Field] = {}
    doubles: list[pa.Field] = []
    first: dict[str, str] = {}
    previous = None
    for file, schema in schemas:
        # Most files of a table have one schema, of hundreds of columns.
        if previous is not None and schema.equals(previous, check_metadata=True):
            continue
        previous, seen = schema, set()
        for column in schema:
            if column.name in seen:
                # Kept beside, not unified: `Table` must see that there are two to refuse the name when it is asked for.
                doubles.append(column)
                continue
            seen.add(column.name)
            known = columns.setdefault(column.name, column)
            # For the message of a contradiction, which names both files.
            first.setdefault(column.name, file)
            columns[column.name] = _unify_fields(known, column, (first[column.name], file))
    return pa.schema([*columns.values(), *doubles])


def _unify_fields(left: pa.Field, right: pa.Field, files: tuple[str, str]) -> pa.Field:
    unit, other = read_unit(left), read_unit(right)
    # A file that states no unit contradicts none.
    if unit and other and unit != other:
        raise TableError(
            f"column {left.name} is in {unit!r} in {files[0]} and in {other!r} in {files[1]}: read them one by one"
        )
    kind = unify_types(left.type, right.type)
    if kind is None:
        raise TableError(
            f"column {left.name} is {left.type} in {files[0]} and {right.type} in {files[1]}, which have no type in "
            "common: read them one by one, or write them alike"
        )
    return make_column(left.name, kind, unit or other)


def unify_types(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """Return the plain type that holds the values of two plain types; None where there is none.

    Examples
    --------
    >>> [str(unify_types(pa.int32(), other)) for other in (pa.int64(), pa.uint64(), pa.float32(), pa.string())]
    ['int64', 'decimal128(20, 0)', 'double', 'string']
    """
    if left == right or types.is_null(right):
        return left
    # A column of which one file has no value at all, for which writers know no type.
    if types.is_null(left):
        return right
    if _is_whole(left) and _is_whole(right):
        return _unify_integers(left, right)
    # Of a column that has fractions anywhere nobody needs 64 exact bits: identifiers are whole in every file.
    if is_number(left) and is_number(right):
        return pa.float64()
    # Numbers beside text are identifiers, of which some files have digits alone; their digits are the text.
    if types.is_string(left) or types.is_string(right):
        other = right if types.is_string(left) else left
        return pa.string() if _is_whole(other) else None
    if is_number(left) or is_number(right):
        return None
    try:
        # Dates and times of different units, whose common type Arrow knows.
        merged = pa.unify_schemas([pa.schema([("x", left)]), pa.schema([("x", right)])], promote_options="permissive")
    except pa.ArrowTypeError:
        return None
    return merged.field("x").type


def _is_whole(kind: pa.DataType) -> bool:
    # Decimals without a fraction, too: that is what integers of two kinds may have become, and a third file's come yet.
    return bool(types.is_integer(kind) or (types.is_decimal(kind) and kind.scale == 0))


def _unify_integers(left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if types.is_decimal(left) or types.is_decimal(right):
        digits = max(each.precision for each in (left, right, _ALL_DIGITS) if types.is_decimal(each))
        return pa.decimal128(digits, 0) if digits <= _MOST_DIGITS else pa.decimal256(digits, 0)
    wider = max(left, right, key=lambda kind: kind.bit_width)
    if types.is_signed_integer(left) == types.is_signed_integer(right):
        return wider
    unsigned = left if types.is_unsigned_integer(left) else right
    # One with a sign holds all of one without only in twice the bits.
    return _SIGNED.get(max(wider.bit_width, 2 * unsigned.bit_width), _ALL_DIGITS)


def _simplify_field(column: pa.Field) -> pa.Field:
    unit = read_unit(column)
    return make_column(column.name, simplify_type(column.type), unit)
