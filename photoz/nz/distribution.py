"""The redshift distribution n(z) of a sample: stacked p(z) in tomographic bins, with bootstrap errors.

Pure functions on arrays. Sums over parts of a sample add up to those over the whole exactly, in any order: a share of
p(z) is a multiple of 2^-22, so that float64 sums of up to 2^31 galaxies are without rounding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.special import pdtr

from photoz.pdf.curves import Curves

FINE_STEP = 1e-4
"""[redshift] to which the edges of equally full bins are found: that of the stored quantiles."""
_LOWEST, _HIGHEST = -1.0, 12.0  # of a z_phot that is counted in its own cell
# 22 bits of a share and 31 of a count of galaxies make the 53 of a float64; 2.4e-7 is far below any error of n(z).
_GRAIN = 2.0**22
# At 11 the cumulative probability is 1 to 1e-9, so a galaxy counts at most 12 times.
_POISSON_CDF = pdtr(np.arange(12), 1.0)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def count_redshifts(z_N: npt.ArrayLike) -> Integers:
    """Count redshifts by the nearest multiple of 1e-4 from -1 to 12; NaN is counted nowhere."""
    z_N = np.asarray(z_N, dtype=np.float64)
    cells = round((_HIGHEST - _LOWEST) / FINE_STEP)
    # A histogram, not a sort: its counts add up over partitions, so that memory does not grow with the catalogue.
    # Clipped and not left out: for the edges between bins only the order counts, and a galaxy beyond is still one.
    place_N = np.rint((np.clip(z_N[~np.isnan(z_N)], _LOWEST, _HIGHEST) - _LOWEST) / FINE_STEP).astype(np.int64)
    # Of one length whatever was seen, so that the counts of partitions add up.
    return np.bincount(place_N, minlength=cells + 1)


def choose_equal_edges(counts: Integers, bins: int) -> Floats:
    """Choose edges between which equally many redshifts lie, to 1e-4.

    Parameters
    ----------
    counts : ndarray of int64
        Sum of what `count_redshifts` gave.
    bins : int

    Returns
    -------
    ndarray of float64, shape (bins + 1,)
        Not falling; the outermost hold every redshift up to 12. All 0 where nothing was counted.

    Examples
    --------
    >>> choose_equal_edges(count_redshifts([0.10, 0.15, 0.20, 0.25]), 2).tolist()
    [0.0999, 0.15005, 0.2501]
    """
    below = np.cumsum(counts)
    if below[-1] == 0:
        return np.zeros(bins + 1)
    # Between two cells, where `count_redshifts` rounds apart, so that each bin gets the galaxies it was counted by.
    inner = np.searchsorted(below, below[-1] * np.arange(1, bins) / bins) + 0.5
    filled = np.flatnonzero(counts)
    # A cell beyond the first and the last: a redshift may lie half a cell outside the one that it is counted in.
    cells = np.concatenate([[filled[0] - 1], inner, [filled[-1] + 1]])
    # The edges are multiples of half a step; rounding takes off the last bits of the sum, which files and logs would
    # show.
    return np.asarray(np.round(_LOWEST + cells * FINE_STEP, 6))


def assign_tomographic_bins(z_N: npt.ArrayLike, edges: npt.ArrayLike) -> Integers:
    """Return each galaxy's bin: 1 for the first, 0 for none; a bin holds its lower edge, the last one its upper too."""
    z_N, edges = np.asarray(z_N, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    place_N = np.searchsorted(edges, z_N, side="right")
    # `searchsorted` puts the last edge itself beyond the last bin.
    place_N = np.where(z_N == edges[-1], len(edges) - 1, place_N)
    # numpy sorts NaN after every number, so it needs no mask of its own but this. Below the first edge the place is 0
    # already.
    return np.where((place_N >= len(edges)) | np.isnan(z_N), 0, place_N).astype(np.int64)


def draw_bootstrap_weights(object_ids: Sequence[str], *, seed: int, resamples: int) -> Floats:
    """Draw how often each galaxy is in each bootstrap sample.

    Parameters
    ----------
    object_ids : sequence of str
        N galaxies.
    seed, resamples : int

    Returns
    -------
    ndarray of float64, shape (N, resamples)
        Whole numbers of mean 1, which depend on object, sample and seed alone: not on partitions, nor on who counts.

    References
    ----------
    Hanley & MacGibbon 2006, Computer Methods and Programs in Biomedicine 83, 57: bootstrap samples of a stream by
    Poisson frequencies. Steele, Lea & Flood 2014, OOPSLA: SplitMix64, which makes the numbers from an object's hash.
    """
    # "nz" keeps these numbers apart from others that may be made of the same seed and identifier.
    # Eight bytes are what SplitMix64 begins with.
    digests = [hashlib.blake2b(f"{seed}:nz:{name}".encode(), digest_size=8).digest() for name in object_ids]
    # Little-endian whatever the machine's own order, or another machine would draw other samples.
    start_N1 = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)[:, None]
    # The arithmetic is that of 2^64, where wrapping around is the point.
    with np.errstate(over="ignore"):
        # SplitMix64: a counter times 2^64 over the golden ratio, then mixed. Each number stands alone, so nothing
        # depends on the order of the galaxies.
        x = start_N1 + np.arange(1, resamples + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    # The upper 53 bits, all that a float64 between 0 and 1 can hold.
    # A uniform number lies above as many cumulative probabilities as a Poisson variable of mean 1 counts.
    weights_NR: Floats = np.searchsorted(_POISSON_CDF, (x >> np.uint64(11)) * 2.0**-53, side="right").astype(np.float64)
    return weights_NR


def compute_shares(quantiles_NQ: npt.ArrayLike, z_edges: npt.ArrayLike) -> Floats:
    """Compute the share of each galaxy's p(z) between redshifts.

    Parameters
    ----------
    quantiles_NQ : array_like, shape (N, Q)
        At `photoz.schema.LEVELS`.
    z_edges : array_like, shape (Z + 1,)
        Increasing.

    Returns
    -------
    ndarray of float64, shape (N, Z)
        Multiples of 2^-22; a row adds up to 1 less what lies beyond the edges. NaN where there are no quantiles.
    """
    edges = np.asarray(z_edges, dtype=np.float64)
    curves = Curves.through(quantiles_NQ)
    cdf_NZ = curves.evaluate(np.broadcast_to(edges, (len(curves.z_NQ), len(edges))))[0]
    # The cumulative curve is rounded, not the shares: these then add up to it exactly.
    shares_NZ: Floats = np.diff(np.rint(cdf_NZ * _GRAIN), axis=1) / _GRAIN
    return shares_NZ


def place_redshifts(z_N: npt.ArrayLike, z_edges: npt.ArrayLike) -> Floats:
    """Return 1 in the cell that a redshift lies in, else 0, shape (N, Z): the shares of a p(z) without width."""
    z_edges = np.asarray(z_edges, dtype=np.float64)
    # By the rule of the bins, so that a redshift on an edge lies in one cell and that at the end in the last.
    cell_N1 = assign_tomographic_bins(z_N, z_edges)[:, None]
    shares_NZ: Floats = (cell_N1 == np.arange(1, len(z_edges))).astype(np.float64)
    return shares_NZ


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over galaxies in B tomographic bins: of the sample itself (first) and of R bootstrap samples.

    Parameters
    ----------
    shares_BRZ : ndarray of float64, shape (B, 1 + R, Z)
        Of p(z) in each redshift cell.
    counts_BR : ndarray of float64, shape (B, 1 + R)
        Galaxies.
    """

    shares_BRZ: Floats
    counts_BR: Floats

    @classmethod
    def empty(cls, bins: int, resamples: int, cells: int) -> Self:
        """Return the sums over no galaxies: ``bins`` tomographic ones, ``resamples`` samples, ``cells`` in redshift.

        See the class for the arrays' shapes.
        """
        return cls(np.zeros((bins, 1 + resamples, cells)), np.zeros((bins, 1 + resamples)))

    def add(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(self.shares_BRZ + other.shares_BRZ, self.counts_BR + other.counts_BR)


def stack(bin_N: Integers, shares_NZ: Floats, weights_NR: Floats, *, bins: int) -> Sums:
    """Sum the shares of the galaxies of each bin, plainly and with each bootstrap sample's weights.

    Parameters
    ----------
    bin_N : ndarray of int64, shape (N,)
        From 1 to ``bins``; other galaxies are left out.
    shares_NZ : ndarray of float64, shape (N, Z)
    weights_NR : ndarray of float64, shape (N, R)
    bins : int
    """
    sums = Sums.empty(bins, weights_NR.shape[1], shares_NZ.shape[1])
    for number in range(bins):
        rows = np.flatnonzero(bin_N == number + 1)
        # The sample itself is the first row, so that sums and samples take one multiplication and are merged alike.
        weights = np.concatenate([np.ones((1, len(rows))), weights_NR[rows].T])
        # Exact in whatever order BLAS adds, since weights are whole numbers and shares multiples of 2^-22.
        sums.shares_BRZ[number] = weights @ shares_NZ[rows]
        sums.counts_BR[number] = weights.sum(axis=1)
    return sums


@dataclass(frozen=True, eq=False)
class Distribution:
    """n(z) of B bins on Z cells.

    Parameters
    ----------
    z_Z : ndarray of float64, shape (Z,)
        Middle of each cell.
    nz_BZ, error_BZ : ndarray of float64, shape (B, Z)
        Mean density in the cell, normalised to 1 over all cells, and its standard deviation between bootstrap samples;
        NaN in a bin without galaxies (the error also without bootstrap samples).
    count_B, mean_B, mean_error_B, outside_B : ndarray of float64, shape (B,)
        Galaxies; mean redshift and its error; share of the stacked p(z) beyond the cells.
    """

    z_Z: Floats
    nz_BZ: Floats
    error_BZ: Floats
    count_B: Floats
    mean_B: Floats
    mean_error_B: Floats
    outside_B: Floats


def make_distribution(sums: Sums, z_edges: npt.ArrayLike) -> Distribution:
    """Turn sums into densities and their errors."""
    edges = np.asarray(z_edges, dtype=np.float64)
    widths, middle = np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        # An empty bin, or a sample that drew none of it, is 0 / 0: the NaN that `Distribution` promises.
        share_BRZ = sums.shares_BRZ / sums.shares_BRZ.sum(axis=2, keepdims=True)
        outside_B = 1 - sums.shares_BRZ[:, 0].sum(axis=1) / sums.counts_BR[:, 0]
    # Of the normalised shares, so that what lies beyond the cells draws the mean nowhere; `outside_B` tells how much
    # that is.
    mean_BR = share_BRZ @ middle
    return Distribution(
        z_Z=middle,
        nz_BZ=share_BRZ[:, 0] / widths,
        # Without row 0, the sample itself, which is no draw.
        error_BZ=_spread(share_BRZ[:, 1:]) / widths,
        count_B=sums.counts_BR[:, 0],
        mean_B=mean_BR[:, 0],
        mean_error_B=_spread(mean_BR[:, 1:]),
        outside_B=outside_B,
    )


def _spread(values_BRX: npt.NDArray[Any]) -> Floats:
    """Standard deviation over the bootstrap samples; one that drew no galaxy of the bin is left out."""
    # Not nanstd, which warns of every bin in which no sample drew a galaxy.
    drawn = np.isfinite(values_BRX)
    count = drawn.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(drawn, values_BRX, 0).sum(axis=1) / count
        square = np.where(drawn, (values_BRX - mean[:, None]) ** 2, 0).sum(axis=1) / (count - 1)
    return np.asarray(np.where(count > 1, np.sqrt(np.maximum(square, 0)), np.nan))
