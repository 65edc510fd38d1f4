"""Reading a partition's rows whatever their state, and comparing rows of two tables by object_id."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from photoz.catalogue.hats import Partition
from photoz.errors import CatalogueError
from photoz.sources import read_sources


def read_rows(location: str, partition: Partition, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a partition and verify that its values are what their types say (offsets, UTF-8).

    Parameters
    ----------
    location, partition, columns
        As in `photoz.catalogue.hats.read_partition`.

    Raises
    ------
    CatalogueError
        The file is missing or damaged in whichever way.
    """
    try:
        table = read_sources(location, partition, columns=columns)
        # Parquet pages need not have checksums: a changed byte may give offsets or text that crash whoever reads them,
        # far from here.
        table.validate(full=True)
    except (pa.ArrowException, UnicodeDecodeError) as error:  # a damaged footer may name columns in no UTF-8
        raise CatalogueError(f"{partition.name} of {location} is damaged: {error}") from error
    return table


def find_duplicates(ids: pa.ChunkedArray) -> list[str]:
    """Find the ids that come more than once; sorted.

    >>> find_duplicates(pa.chunked_array([["b", "a", "b"]]))
    ['b']
    """
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    return sorted(repeated.to_pylist())


def find_unequal_rows(found: pa.Table, expected: pa.Table, names: Sequence[str]) -> list[str]:
    """Find the ids whose row differs between two tables in any of the columns.

    Parameters
    ----------
    found, expected : pyarrow.Table
        Rows with ``object_id``, in any order.
    names : sequence of str
        Columns to compare; NaN equals NaN.

    Returns
    -------
    list of str
        Of ids that both tables hold exactly once.
    """
    # A repeated id has no one row to be compared with; the checks of ids report it.
    found, expected = _drop_repeated(found), _drop_repeated(expected)
    # By id and not by place, since one row lost would make all after it differ.
    place = pc.index_in(found["object_id"], value_set=expected["object_id"].combine_chunks())
    found, expected = found.filter(pc.is_valid(place)), expected.take(pc.drop_null(place))
    unequal = np.zeros(len(found), dtype=bool)
    for name in names:
        unequal |= ~_equal(found[name], expected[name])
    return list(found["object_id"].filter(pa.array(unequal)).to_pylist())


def _drop_repeated(table: pa.Table) -> pa.Table:
    repeated = find_duplicates(table["object_id"])
    # The type is given for a list without ids, which would be of the type null.
    return table.filter(pc.invert(pc.is_in(table["object_id"], value_set=pa.array(repeated, pa.string()))))


def _equal(first: pa.ChunkedArray, second: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if pa.types.is_nested(first.type):  # which pyarrow's comparison does not take
        return _equal_lists(first, second)
    # Arrow's comparison of a null is a null; two nulls are made equal below.
    same: npt.NDArray[Any] = pc.fill_null(pc.equal(first, second), False).to_numpy()
    if pa.types.is_floating(first.type):
        same = same | (np.isnan(first.to_numpy()) & np.isnan(second.to_numpy()))
    both_null = pc.and_(pc.is_null(first), pc.is_null(second)).to_numpy()
    return np.asarray(same | both_null, dtype=np.bool_)


def _equal_lists(first: pa.ChunkedArray, second: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Tell which lists are equal; those of damaged rows may have any length."""
    length_N, other_N = (pc.fill_null(pc.list_value_length(column), -1).to_numpy() for column in (first, second))
    same_N: npt.NDArray[np.bool_] = length_N == other_N
    # Of lists that are equally long, each value has its like at the same place of the other column.
    values, others = (pc.list_flatten(column.filter(pa.array(same_N))) for column in (first, second))
    row_of = np.repeat(np.flatnonzero(same_N), np.maximum(length_N[same_N], 0))
    same_N[row_of[~_equal(values, others)]] = False
    return same_N
