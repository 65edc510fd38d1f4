"""Bins of a quantity: edges that a reader likes, and which bin a value lies in."""

import math

import numpy as np
import numpy.typing as npt

from photoz.errors import EvaluationError


def assign_bins(values: npt.ArrayLike, edges: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Find the bin each value lies in.

    Parameters
    ----------
    values : array_like, shape (N,)
    edges : array_like, shape (M + 1,)
        Increasing.

    Returns
    -------
    ndarray of int64, shape (N,)
        0 to M - 1; -1 for NaN and for values outside. The last edge belongs to the last bin.

    Raises
    ------
    EvaluationError
        The edges do not increase.

    Examples
    --------
    >>> assign_bins([0.0, 1.0, 2.0, 2.1, float("nan")], [0.0, 1.0, 2.0]).tolist()
    [0, 1, 1, -1, -1]
    """
    array, limits = np.asarray(values, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if limits.size < 2 or not (np.diff(limits) > 0).all():
        raise EvaluationError(f"bin edges {limits.tolist()} must be at least two and increase")
    # side="right" puts a value on an edge into the bin that begins there.
    index = np.searchsorted(limits, array, side="right").astype(np.int64) - 1
    index[array == limits[-1]] = limits.size - 2
    # Negated rather than written with < and >, which would let NaN pass as inside.
    index[~((array >= limits[0]) & (array <= limits[-1]))] = -1
    return index


def choose_round_edges(values: npt.ArrayLike, bins: int, *, least: int = 15) -> npt.NDArray[np.float64]:
    """Choose round, equally spaced bin edges whose outer bins reach to the extremes.

    The spacing follows the central 98 %, so that a few extreme values do not stretch it; yet every value lies in a bin.

    Parameters
    ----------
    values : array_like, shape (N,)
        NaN is ignored.
    bins : int
        About how many bins; fewer when there would be fewer than ``least`` values a bin on average.
    least : int
        Values a bin on average, at least.

    Returns
    -------
    ndarray of float64, shape (M + 1,)
        Empty when no value is finite or all are the same within 1e-9.

    Examples
    --------
    >>> choose_round_edges([float(x) for x in range(101)], 4, least=1).tolist()
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if array.size == 0 or np.ptp(array) < 1e-9:
        return np.empty(0)
    low, high = np.percentile(array, [1.0, 99.0])
    # Where the central 98 % are one value, the whole range gives the step: a step of 0 has no logarithm.
    step = _round_step((high - low if high - low >= 1e-9 else np.ptp(array)) / max(1, min(bins, array.size // least)))
    inner = step * np.arange(math.floor(low / step) + 1, math.ceil(high / step))
    # An edge just within an extreme would make a bin of next to no width, whose figures rest on a galaxy or two.
    inner = inner[(inner > array.min() + 0.25 * step) & (inner < array.max() - 0.25 * step)]
    # Rounded, or 3 x 0.1 would label an axis 0.30000000000000004.
    edges: npt.NDArray[np.float64] = np.concatenate([[array.min()], inner.round(12), [array.max()]])
    return edges


def _round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least nearly ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    # A round step somewhat below the one asked for will do, at the price of a few bins more.
    return float(next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= 0.8 * step))
