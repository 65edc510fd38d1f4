"""The ranges of a sample's magnitudes and colours: those that a model remembers of its training sample, and a target's.

Pure functions on arrays. Everything is counted, in bins that are the same for every survey, so that counts of parts of
a sample add up to those of the whole, and memory does not grow with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

MAGNITUDE_EDGES = np.linspace(10.0, 32.0, 89)
"""[mag(AB)] bins of magnitudes: 0.25 mag wide, from a bright galaxy nearby to beyond the deepest field."""
COLOUR_EDGES = np.linspace(-2.0, 6.0, 81)
"""[mag] bins of colours, 0.1 mag wide."""
LIMITS = (0.01, 0.99)
"""Shares of the training sample below the limits that a target is compared with."""

_LEAST_MARGIN = 1.0  # [mag] beyond any zero point's error: training samples may be of few galaxies, and all alike
_GRAIN = 1e-4  # [mag] to which quantiles are kept, below any zero point's error

Floats = npt.NDArray[np.floating[Any]]
Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Quantity(NamedTuple):
    """A magnitude or a colour: its name, and the edges [mag] of the bins that it is counted in."""

    name: str
    edges: Array


def list_quantities(bands: Sequence[str]) -> list[Quantity]:
    """List the magnitudes in the bands, and the colours between each and the next.

    >>> [quantity.name for quantity in list_quantities(("g", "r", "i"))]
    ['g', 'r', 'i', 'g - r', 'r - i']
    """
    magnitudes = [Quantity(band, MAGNITUDE_EDGES) for band in bands]
    return magnitudes + [Quantity(f"{blue} - {red}", COLOUR_EDGES) for blue, red in pairwise(bands)]


def compute_quantities(magnitudes_NF: Floats) -> Array:
    """Compute the values of `list_quantities`.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)]; what is not finite is missing.

    Returns
    -------
    ndarray of float64, shape (N, 2 F - 1)
        [mag], NaN where a magnitude is missing.
    """
    values_NF = np.where(np.isfinite(magnitudes_NF), magnitudes_NF, np.nan).astype(np.float64)
    return np.concatenate([values_NF, values_NF[:, :-1] - values_NF[:, 1:]], axis=1)


def summarize_photometry(magnitudes_NF: Floats, bands: Sequence[str]) -> dict[str, Any]:
    """Summarise the magnitudes of a sample and the colours between neighbouring bands.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)]; what is not finite is missing.
    bands : sequence of str
        F names, in order of wavelength.

    Returns
    -------
    dict
        As JSON: the ``rows``, the ``bins`` [mag] (first edge, last edge, width) of magnitudes and colours, and by
        quantity how many were ``measured``, their 1, 50 and 99 % ``quantiles`` [mag] (None where nothing was), and the
        ``counts`` in the bins, as text. Values beyond the bins are measured and in none of them.

    Examples
    --------
    >>> summary = summarize_photometry(np.array([[20.1, 19.5], [np.nan, 19.6]]), ("g", "r"))
    >>> summary["quantities"]["g - r"]["measured"], summary["quantities"]["r"]["quantiles"]["0.5"]
    (1, 19.55)
    """
    values_NK = compute_quantities(magnitudes_NF)
    quantities = list_quantities(bands)
    return {
        "rows": len(values_NK),
        "bins": _describe_bins(),
        "quantities": {
            each.name: _summarize(values_N, each) for each, values_N in zip(quantities, values_NK.T, strict=True)
        },
    }


def _summarize(values_N: Array, quantity: Quantity) -> dict[str, Any]:
    known_N = values_N[np.isfinite(values_N)]
    levels = (LIMITS[0], 0.5, LIMITS[1])
    found = [round(float(value), 4) for value in np.quantile(known_N, levels)] if known_N.size else [None] * len(levels)
    return {
        "measured": int(known_N.size),
        "quantiles": {f"{level:g}": value for level, value in zip(levels, found, strict=True)},
        # As text: a manifest is indented, and a list would make a line of each of 1,500 numbers.
        "counts": " ".join(str(count) for count in np.histogram(known_N, quantity.edges)[0]),
    }


def _describe_bins() -> dict[str, list[float]]:
    edges = {"magnitudes": MAGNITUDE_EDGES, "colours": COLOUR_EDGES}
    return {name: [float(e[0]), float(e[-1]), round(float(e[1] - e[0]), 9)] for name, e in edges.items()}


@dataclass(frozen=True, eq=False)
class Ranges:
    """What a model remembers of its training sample: K magnitudes and colours, as `list_quantities` has them.

    Parameters
    ----------
    bands : tuple of str
    rows : int
        Training galaxies.
    measured_K : ndarray of int64
        Those with a value.
    low_K, high_K : ndarray of float64
        [mag] 1 and 99 % quantile; NaN where nothing was measured.
    counts : tuple of ndarray of int64
        By quantity, in its bins.
    """

    bands: tuple[str, ...]
    rows: int
    measured_K: Counts
    low_K: Array
    high_K: Array
    counts: tuple[Counts, ...]

    @classmethod
    def read(cls, summary: Mapping[str, Any], bands: Sequence[str]) -> Self | None:
        """Take what `summarize_photometry` made; None where it is no such summary, or one in other bins."""
        quantities = list_quantities(bands)
        try:
            if summary["bins"] != _describe_bins():
                return None
            found = [summary["quantities"][quantity.name] for quantity in quantities]
            counts = tuple(np.array(each["counts"].split(), dtype=np.int64) for each in found)
            limits_2K = [[each["quantiles"][f"{level:g}"] for each in found] for level in LIMITS]
            # None, nothing measured, becomes NaN.
            low_K, high_K = np.array(limits_2K, dtype=np.float64)
            measured_K = np.array([each["measured"] for each in found], dtype=np.int64)
            rows = int(summary["rows"])
        # A manifest that was edited or written by another version costs this section, not the page.
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        if any(len(each) != len(quantity.edges) - 1 for each, quantity in zip(counts, quantities, strict=True)):
            return None
        return cls(tuple(bands), rows, measured_K, low_K, high_K, counts)


@dataclass(frozen=True, eq=False)
class RangeCounts:
    """Magnitudes and colours of a target, counted as its model's training sample was.

    Parameters
    ----------
    rows : int
        Galaxies.
    measured_K : ndarray of int64
        Those with a value.
    below_K, above_K : ndarray of int64
        Those below the training sample's 1 % and above its 99 % quantile; 0 where it has none.
    counts : tuple of ndarray of int64
        By quantity, in its bins.
    """

    rows: int
    measured_K: Counts
    below_K: Counts
    above_K: Counts
    counts: tuple[Counts, ...]

    @classmethod
    def empty(cls, bands: Sequence[str]) -> Self:
        """Return the counts of no galaxies."""
        quantities = list_quantities(bands)
        nothing_K = np.zeros(len(quantities), dtype=np.int64)
        bins = tuple(np.zeros(len(quantity.edges) - 1, dtype=np.int64) for quantity in quantities)
        return cls(0, nothing_K, nothing_K, nothing_K, bins)

    def add(self, other: "RangeCounts") -> "RangeCounts":
        """Return the counts of both."""
        return RangeCounts(
            self.rows + other.rows,
            self.measured_K + other.measured_K,
            self.below_K + other.below_K,
            self.above_K + other.above_K,
            tuple(mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)),
        )


def count_ranges(magnitudes_NF: Floats, ranges: Ranges) -> RangeCounts:
    """Count the magnitudes and colours of galaxies in the bins and against the limits of a training sample.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)] in the order of ``ranges.bands``; what is not finite is missing, and neither below nor above.
    ranges : Ranges
    """
    values_NK = compute_quantities(magnitudes_NF)
    quantities = list_quantities(ranges.bands)
    return RangeCounts(
        rows=len(values_NK),
        measured_K=np.isfinite(values_NK).sum(axis=0),
        # A comparison with NaN is false: what is missing lies nowhere, and no limit excludes nothing.
        # A grain to either side: what equals a limit must not lie beyond it for the limit's rounding.
        below_K=(values_NK < ranges.low_K - _GRAIN).sum(axis=0),
        above_K=(values_NK > ranges.high_K + _GRAIN).sum(axis=0),
        counts=tuple(
            np.histogram(values_N[np.isfinite(values_N)], quantity.edges)[0].astype(np.int64)
            for values_N, quantity in zip(values_NK.T, quantities, strict=True)
        ),
    )


def find_outside(magnitudes_NF: Floats, ranges: Ranges) -> npt.NDArray[np.bool_]:
    """Find galaxies with a magnitude or a colour far from all but few of the training sample's.

    Far is beyond the 1 or the 99 % quantile by more than half of what lies between them (of a normal distribution
    beyond 4.7 standard deviations), and by more than 1 mag. Fluxes of a band that are in another unit are.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)] in the order of ``ranges.bands``; what is not finite is missing, and far from nothing.
    ranges : Ranges

    Returns
    -------
    ndarray of bool, shape (N,)

    Examples
    --------
    >>> sample = np.array([[20.0, 19.0], [22.0, 20.5]])
    >>> ranges = Ranges.read(summarize_photometry(sample, ("g", "r")), ("g", "r"))
    >>> find_outside(np.array([[21.0, 20.0], [21.0, 15.0], [21.0, np.nan]]), ranges).tolist()
    [False, True, False]
    """
    values_NK = compute_quantities(magnitudes_NF)
    margin_K = np.maximum((ranges.high_K - ranges.low_K) / 2, _LEAST_MARGIN)
    # A comparison with NaN is false, of what is missing as of a quantity that no training galaxy had.
    outside_NK = (values_NK < ranges.low_K - margin_K) | (values_NK > ranges.high_K + margin_K)
    return np.asarray(outside_NK.any(axis=1))
