"""Identifiers as text, exactly as the table has them: 64 bits, leading zeros and all."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from photoz.errors import TableError

_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""By the bits of a float: beyond it whole numbers are skipped, and identifiers that differ were rounded to the same."""


def join_identifiers(columns: Sequence[tuple[str, pa.Array]]) -> pa.Array:
    """Return identifiers as text, several columns joined by "-".

    Parameters
    ----------
    columns : sequence of (str, pyarrow.Array)
        Name and values; whole numbers, text, or doubles that hold whole numbers.

    Returns
    -------
    pyarrow.StringArray
        Null where one of the columns is null, NaN or empty.

    Raises
    ------
    TableError
        Doubles are no whole numbers or beyond 2^53, or a column has another type.

    Examples
    --------
    >>> columns = [("RELEASE", pa.array([10000, 10000])), ("OBJID", pa.array([2**63 - 1, None]))]
    >>> join_identifiers(columns).to_pylist()
    ['10000-9223372036854775807', None]
    """
    texts = [make_exact(name, values).cast(pa.string()) for name, values in columns]
    # With a mark between them, or 1 and 23 would be the same source as 12 and 3.
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "-")


def count_duplicates(identifiers: pa.Array) -> int:
    """Count the rows whose identifier another row before them has."""
    return len(identifiers) - int(pc.count_distinct(identifiers).as_py())


def make_exact(name: str, values: pa.Array) -> pa.Array:
    """Return identifiers as exact whole numbers or as text, null where there is none.

    Parameters
    ----------
    name : str
        Of the column, for messages.
    values : pyarrow.Array
        As `join_identifiers` takes them.

    Raises
    ------
    TableError
        As `join_identifiers`.

    Examples
    --------
    >>> make_exact("id", pa.array([7.0, float("nan")])).to_pylist(), make_exact("id", pa.array(["007", ""])).to_pylist()
    ([7, None], ['007', None])
    """
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_floating(values.type):
        return _round_doubles(name, values)
    if types.is_binary(values.type) or types.is_large_binary(values.type):
        values = values.cast(pa.string())
    if types.is_string(values.type) or types.is_large_string(values.type) or types.is_string_view(values.type):
        text = values.cast(pa.string())
        # An empty text is no identifier: all rows without one would count as duplicates of each other.
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    # Without a fraction they are whole numbers, as `unify_types` makes them of 64 bits with and without a sign.
    if types.is_decimal(values.type) and values.type.scale != 0:
        raise TableError(f"column {name} is {values.type}, which is no identifier: name another")
    if not (types.is_integer(values.type) or types.is_decimal(values.type) or types.is_null(values.type)):
        raise TableError(f"column {name} is {values.type}, which is no identifier: name one of whole numbers or text")
    return values


def _round_doubles(name: str, values: pa.Array) -> pa.Array:
    # Before it is made a double, which would hold exactly what the float has rounded.
    exact, kind = _EXACT[values.type.bit_width], "doubles" if values.type.bit_width == 64 else "floats"
    values = values.cast(pa.float64())
    # pandas makes doubles of whole numbers as soon as one is missing, and NaN of the missing one.
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    # The limit itself, too: 2^53 + 1 is rounded to 2^53.
    beyond = values.filter(pc.fill_null(pc.greater_equal(pc.abs(values), exact), False))
    if len(beyond):
        raise TableError(
            f"column {name} holds identifiers as {kind}, {beyond[0].as_py():.0f} among them, which are rounded beyond "
            f"2^{exact.bit_length() - 1}: write them as whole numbers of 64 bits or as text"
        )
    odd = values.filter(pc.fill_null(pc.not_equal(pc.floor(values), values), False))
    if len(odd):
        raise TableError(f"column {name} holds {odd[0].as_py()}, which is no identifier: name another column")
    # As whole numbers, or their text would end in ".0".
    return values.cast(pa.int64())
