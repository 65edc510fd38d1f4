"""Galaxies whose p(z) is shown, chosen by a rule that does not depend on how a catalogue is partitioned. Pure."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.schema import LEVELS, Flag

Z_STEP = 0.02
"""In z_phot, width of the cells from each of which candidates are kept."""
QUANTILES = (0.1, 0.5, 0.9)
"""Of z_phot, where galaxies are shown."""
MOST = 9
"""Galaxies that are shown."""
_CELLS = 330  # up to the highest redshift that a stored quantile can have, 6.55
_LOW, _HIGH = LEVELS.index(0.16), LEVELS.index(0.84)


class Choice(IntEnum):
    """Why a galaxy is shown; no galaxy outside the training sample is among the first three."""

    NARROWEST = 0
    """The least width of the central 68 % of p(z), over 1 + z_phot, in its cell of z_phot."""
    RANDOM = 1
    """Drawn at random in its cell."""
    BROADEST = 2
    """The greatest width in its cell."""
    OUTSIDE = 3
    """Drawn at random of all that are flagged OUTSIDE_TRAINING."""


@dataclass(frozen=True, eq=False)
class Examples:
    """K galaxies with p(z), at most one a choice and cell of z_phot.

    Parameters
    ----------
    choice_K, cell_K : ndarray of int64
        Of `Choice`; the cell of z_phot, 0 for `Choice.OUTSIDE`.
    rank_K : ndarray of float64
        The least is kept.
    healpix_K : ndarray of int64
        Pixels of order 29, which decide between equal ranks.
    object_id_K : ndarray of str
    ra_K, dec_K, z_phot_K, distance_K : ndarray of float64
        [deg] position; redshift; distance from the training sample, NaN where it was not measured.
    flags_K : ndarray of int64
    quantiles_KQ : ndarray of float64
        Redshifts at `photoz.schema.LEVELS`.
    """

    choice_K: npt.NDArray[np.int64]
    cell_K: npt.NDArray[np.int64]
    rank_K: npt.NDArray[np.float64]
    healpix_K: npt.NDArray[np.int64]
    object_id_K: npt.NDArray[np.str_]
    ra_K: npt.NDArray[np.float64]
    dec_K: npt.NDArray[np.float64]
    z_phot_K: npt.NDArray[np.float64]
    distance_K: npt.NDArray[np.float64]
    flags_K: npt.NDArray[np.int64]
    quantiles_KQ: npt.NDArray[np.float64]

    @classmethod
    def empty(cls) -> Self:
        """Return no galaxies."""
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        names = np.empty(0, dtype=np.str_)
        return cls(whole, whole, real, whole, names, real, real, real, real, whole, np.empty((0, len(LEVELS))))

    def __len__(self) -> int:
        return len(self.rank_K)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the galaxies, by index."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))

    def merge(self, other: "Examples") -> Self:
        """Return the better of both, for each choice and cell."""
        names = [each.name for each in fields(self)]
        both = type(self)(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))
        return both.keep_best()

    def keep_best(self) -> Self:
        """Return the galaxy of the least rank for each choice and cell."""
        slot_K = self.choice_K * _CELLS + self.cell_K
        # Widths are multiples of what a quantile is stored in, so that many are equal; position and identifier decide,
        # which are the same in any partitioning.
        order = np.lexsort((self.object_id_K, self.healpix_K, self.rank_K, slot_K))
        # `unique` gives the first of each slot, which the sort has put there.
        _, first = np.unique(slot_K[order], return_index=True)
        return self.take(order[first])


def find_candidates(
    z_phot_N: npt.NDArray[np.float64],
    quantiles_NQ: npt.NDArray[np.float64],
    flags_N: npt.NDArray[np.int64],
    healpix_N: npt.NDArray[np.int64],
) -> list[tuple[Choice, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Find the galaxies of a part of a catalogue that may be shown.

    Parameters
    ----------
    z_phot_N : ndarray of float64, shape (N,)
        NaN rows are not taken.
    quantiles_NQ : ndarray of float64, shape (N, Q)
        At `photoz.schema.LEVELS`; NaN rows are not taken.
    flags_N : ndarray of int64, shape (N,)
    healpix_N : ndarray of int64, shape (N,)
        Pixels of order 29, from which the random ranks are made.

    Returns
    -------
    list of (Choice, rows, cells, ranks)
        Of each choice the rows, at most one a cell, their cells and ranks.
    """
    width_N = (quantiles_NQ[:, _HIGH] - quantiles_NQ[:, _LOW]) / (1 + z_phot_N)
    usable_N = np.isfinite(width_N)
    outside_N = (flags_N & Flag.OUTSIDE_TRAINING) != 0
    cell_N = np.clip(np.nan_to_num(z_phot_N) / Z_STEP, 0, _CELLS - 1).astype(np.int64)
    random_N = draw_ranks(healpix_N)
    ranks = {Choice.NARROWEST: width_N, Choice.RANDOM: random_N, Choice.BROADEST: -width_N}
    found = []
    inside = np.flatnonzero(usable_N & ~outside_N)
    for choice, rank_N in ranks.items():
        # Equal positions stay in the order of the rows, which files sort by identifier.
        order = inside[np.lexsort((healpix_N[inside], rank_N[inside], cell_N[inside]))]
        _, first = np.unique(cell_N[order], return_index=True)
        rows = order[first]
        found.append((choice, rows, cell_N[rows], rank_N[rows]))
    beyond = np.flatnonzero(usable_N & outside_N)
    rows = beyond[np.argsort(random_N[beyond], kind="stable")[:1]]
    return [*found, (Choice.OUTSIDE, rows, np.zeros(len(rows), dtype=np.int64), random_N[rows])]


def draw_ranks(healpix_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Draw a number from 0 to 1 for each galaxy, by its position alone: the same in any partitioning.

    References
    ----------
    Steele, Lea & Flood 2014, OOPSLA: SplitMix64, whose mixing function this is.
    """
    with np.errstate(over="ignore"):
        # The arithmetic is that of 2^64, where wrapping around is the point.
        x = healpix_N.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    ranks_N: npt.NDArray[np.float64] = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ranks_N


def choose_shown(examples: Examples, z_targets: npt.ArrayLike) -> Examples:
    """Choose the galaxies that are shown, at most nine.

    Parameters
    ----------
    examples : Examples
        Of the whole catalogue.
    z_targets : array_like of float
        Redshifts to show galaxies at, such as the `QUANTILES` of z_phot.

    Returns
    -------
    Examples
        The narrowest at all redshifts, then those drawn at random, then the broadest, each galaxy once; where some
        galaxy is outside the training sample, it stands in place of the last.
    """
    rows: list[int] = []
    for choice in (Choice.NARROWEST, Choice.RANDOM, Choice.BROADEST):
        own = np.flatnonzero(examples.choice_K == choice)
        for target in np.asarray(z_targets, dtype=np.float64):
            if own.size and np.isfinite(target):
                rows.append(int(own[np.argmin(np.abs((examples.cell_K[own] + 0.5) * Z_STEP - target))]))
    outside = np.flatnonzero(examples.choice_K == Choice.OUTSIDE)
    if outside.size:
        rows = [*rows[: MOST - 1], int(outside[0])]
    shown = np.array(rows, dtype=np.int64)
    # A cell of one galaxy has it as narrowest, random and broadest.
    _, first = np.unique(examples.object_id_K[shown], return_index=True)
    return examples.take(shown[np.sort(first)])
