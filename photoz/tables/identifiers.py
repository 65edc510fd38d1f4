"""Identifiers as text, exactly as the table has them: 64 bits, leading zeros and all."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from photoz.errors import TableError

_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""By the bits of a float: beyond it whole numbers are skipped, and identifiers that differ were rounded to the same."""
_ROUNDED = r"^[+-]?[0-9]([.][0-9]*)?[eE][+][0-9]{1,3}$|^[+-]?[0-9][.][0-9]+[eE][0-9]{1,3}$|^[+-]?[0-9]{16,}[.]0*$"
"""As spreadsheets and programs write doubles; digits about an e, 12e4, may be a hexadecimal name."""
REPEATED_REMEDY = (
    "correct survey.identifier, to several columns if need be; or keep such rows with survey.duplicates = 'keep' or "
    "--set table.duplicates=keep"
)
"""What to do where several rows have one identifier."""
_MOST_REMEMBERED = 20_000_000
"""Identifiers that are remembered, at 8 bytes each, to find those that come again."""
_MOST_RUNS = 16
"""Sorted lists of them that are looked through before they are made one."""


def join_identifiers(columns: Sequence[tuple[str, pa.Array]]) -> pa.Array:
    """Return identifiers as text, several columns joined by "-".

    Parameters
    ----------
    columns : sequence of (str, pyarrow.Array)
        Name and values; whole numbers, text, or doubles that hold whole numbers.

    Returns
    -------
    pyarrow.StringArray
        Null where one of the columns is null, NaN, empty or blank.

    Raises
    ------
    TableError
        Doubles are no whole numbers or beyond 2^53, in text too ("1.2e+18"), or a column has another type.

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
    """Count the rows whose identifier another row before them has; rows without one have none of another's."""
    named = len(identifiers) - int(identifiers.null_count)
    return named - int(pc.count_distinct(identifiers).as_py())


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
        try:
            values = values.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise TableError(f"column {name} holds bytes that are no text ({error}): name another column") from error
    if types.is_string(values.type) or types.is_large_string(values.type) or types.is_string_view(values.type):
        text = values.cast(pa.string())
        _refuse_rounded(name, text)
        # An empty text, or one of blanks, is no identifier: all rows without one would count as duplicates of each
        # other.
        return pc.if_else(pc.equal(pc.utf8_trim(text, " "), ""), pa.scalar(None, pa.string()), text)
    # Without a fraction they are whole numbers, as `unify_types` makes them of 64 bits with and without a sign.
    if types.is_decimal(values.type) and values.type.scale != 0:
        raise TableError(f"column {name} is {values.type}, which is no identifier: name another")
    if not (types.is_integer(values.type) or types.is_decimal(values.type) or types.is_null(values.type)):
        raise TableError(f"column {name} is {values.type}, which is no identifier: name one of whole numbers or text")
    return values


def _refuse_rounded(name: str, text: pa.Array) -> None:
    """Refuse text that a program has made of doubles: 1.2e+18, and 9007199254740993.0."""
    rounded = text.filter(pc.fill_null(pc.match_substring_regex(text, _ROUNDED), False))
    if len(rounded):
        raise TableError(
            f"column {name} holds identifiers such as {rounded[0].as_py()!r}, numbers that have been rounded: "
            "write them as whole numbers or as text before a program makes doubles of them"
        )


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


class SeenIdentifiers:
    """Finds the identifiers that came before, by their hashes: 8 bytes each instead of text, and 20 million at most.

    Examples
    --------
    >>> seen = SeenIdentifiers()
    >>> seen.find(pa.array(["a", "b", "a"])), seen.find(pa.array(["c", "b"]))
    (['a'], ['b'])
    """

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []

    def find(self, identifiers: pa.Array | pa.ChunkedArray) -> list[str]:
        """Return the identifiers of the rows that have one of a row before them, here or in an earlier call."""
        texts = identifiers.to_pylist()
        # Python's own hash, which differs between processes, will do: one process asks. Sorted, for `searchsorted`.
        hashes, first = np.unique(np.fromiter(map(hash, texts), np.int64, len(texts)), return_index=True)
        new_N = np.ones(len(hashes), bool)
        for run in self._runs:
            # What is larger than all of a run is placed behind its end.
            new_N &= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] != hashes
        self._remember(hashes[new_N])
        again_N = np.ones(len(texts), bool)
        again_N[first[new_N]] = False
        return [texts[row] for row in np.flatnonzero(again_N)]

    def _remember(self, hashes: npt.NDArray[np.int64]) -> None:
        # Beyond that it is a table of hundreds of millions of rows, of which the first are remembered.
        if len(hashes) and sum(map(len, self._runs)) < _MOST_REMEMBERED:
            self._runs.append(hashes)
        if len(self._runs) > _MOST_RUNS:
            self._runs[:] = [np.sort(np.concatenate(self._runs))]
