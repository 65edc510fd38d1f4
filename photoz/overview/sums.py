"""What a photo-z catalogue comes to, as sums over its rows: parts add up to the whole. Pure functions on arrays."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.estimators.base import split_rows
from photoz.evaluate.skymap import SkyMap
from photoz.nz.distribution import compute_shares
from photoz.overview.examples import Examples, find_candidates
from photoz.pdf import decode_quantiles
from photoz.ranges import MAGNITUDE_EDGES
from photoz.schema import Flag

Z_EDGES = np.round(np.arange(651) * 0.01, 9)
"""Cells of n(z): steps of 0.01 up to the highest redshift that a stored quantile can have."""
DISTANCE_EDGES = np.round(np.logspace(-2, 3, 101), 9)
"""Bins of the distance from the training sample, 20 a decade; what lies beyond counts in the outermost."""
_ROWS = 4096  # galaxies at a time: their curves on some 50 cells take 50 MB
_COARSE = 13  # cells that are looked at together, to find out where p(z) is

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Kind(IntEnum):
    """Galaxies that are counted, each in a row of a table of counts."""

    ROWS = 0
    """All."""
    ESTIMATED = 1
    """With a finite z_phot."""
    MEASURED = 2
    """Whose distance from the training sample was measured."""
    OUTSIDE = 3
    """Of these, the ones flagged OUTSIDE_TRAINING."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a photo-z catalogue as arrays.

    Parameters
    ----------
    healpix_N : ndarray of int64
        Pixels of order 29 (NESTED).
    object_id_N : ndarray of str
    ra_N, dec_N : ndarray of float64
        [deg]
    mag_auto_N : ndarray of float64
        [mag(AB)] NaN where there is none.
    z_phot_N : ndarray of float64
        NaN where there is none.
    flags_N : ndarray of int64
    distance_N : ndarray of float64
        Distance from the training sample; NaN where it was not measured.
    codes_NQ : ndarray of uint16, or None
        Stored quantiles of p(z); None in a catalogue without.
    """

    healpix_N: Counts
    object_id_N: npt.NDArray[Any]
    ra_N: Floats
    dec_N: Floats
    mag_auto_N: Floats
    z_phot_N: Floats
    flags_N: Counts
    distance_N: Floats
    codes_NQ: npt.NDArray[np.uint16] | None

    def __len__(self) -> int:
        return len(self.z_phot_N)

    @property
    def kinds_LN(self) -> Bools:
        """Which galaxies are of each `Kind`, shape (4, N)."""
        measured_N = np.isfinite(self.distance_N)
        outside_N = (self.flags_N & Flag.OUTSIDE_TRAINING) != 0
        return np.stack([np.ones(len(self), dtype=np.bool_), np.isfinite(self.z_phot_N), measured_N, outside_N])


@dataclass(frozen=True, eq=False)
class CatalogueSums:
    """Sums over the rows of a catalogue; L kinds of galaxies (`Kind`) are counted in each bin.

    Parameters
    ----------
    counts_L : ndarray of int64, shape (4,)
    flags_F : ndarray of int64
        Rows with each bit, in the order of `photoz.schema.Flag`.
    by_magnitude_LM : ndarray of int64
        In the bins of mag_auto, `photoz.ranges.MAGNITUDE_EDGES`; rows without one, or beyond, in none.
    by_redshift_LZ : ndarray of int64
        In the cells of z_phot, `Z_EDGES`.
    with_magnitude : int
        Rows with a finite mag_auto.
    with_pdf : int
        Rows with p(z).
    stacked : int
        Rows whose p(z) is in ``shares_Z``.
    shares_Z : ndarray of float64
        p(z) of those rows, stacked; exact in any order (`photoz.nz.distribution`). What lies beyond the cells is
        missing from ``stacked``.
    distances_D : ndarray of int64
        Rows by distance from the training sample, in the bins of `DISTANCE_EDGES`.
    sky, sky_measured, sky_outside : SkyMap
        All rows, those whose distance was measured, and those outside.
    examples : Examples
    """

    counts_L: Counts = field(default_factory=lambda: np.zeros(len(Kind), dtype=np.int64))
    flags_F: Counts = field(default_factory=lambda: np.zeros(len(Flag), dtype=np.int64))
    by_magnitude_LM: Counts = field(
        default_factory=lambda: np.zeros((len(Kind), len(MAGNITUDE_EDGES) - 1), dtype=np.int64)
    )
    by_redshift_LZ: Counts = field(default_factory=lambda: np.zeros((len(Kind), len(Z_EDGES) - 1), dtype=np.int64))
    with_magnitude: int = 0
    with_pdf: int = 0
    stacked: int = 0
    shares_Z: Floats = field(default_factory=lambda: np.zeros(len(Z_EDGES) - 1))
    distances_D: Counts = field(default_factory=lambda: np.zeros(len(DISTANCE_EDGES) - 1, dtype=np.int64))
    sky: SkyMap = field(default_factory=SkyMap)
    sky_measured: SkyMap = field(default_factory=SkyMap)
    sky_outside: SkyMap = field(default_factory=SkyMap)
    examples: Examples = field(default_factory=Examples.empty)

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.counts_L[Kind.ROWS])

    @property
    def estimated(self) -> int:
        """Rows with a finite z_phot."""
        return int(self.counts_L[Kind.ESTIMATED])

    @property
    def measured(self) -> int:
        """Rows whose distance from the training sample was measured."""
        return int(self.counts_L[Kind.MEASURED])

    @property
    def outside(self) -> int:
        """Rows flagged OUTSIDE_TRAINING."""
        return int(self.counts_L[Kind.OUTSIDE])

    def add(self, other: "CatalogueSums") -> Self:
        """Return the sums over both."""
        return type(self)(*(_add(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)))


def _add(mine: Any, theirs: Any) -> Any:
    return mine.merge(theirs) if isinstance(mine, (SkyMap, Examples)) else mine + theirs


def _choose(healpix_N: npt.NDArray[np.int64], every: int) -> npt.NDArray[np.bool_]:
    """Choose one of so many rows by their place on the sky alone, so that any partitioning chooses the same."""
    with np.errstate(over="ignore"):
        # SplitMix64's factor: neighbours on the sky get numbers that have nothing in common.
        mixed_N = healpix_N.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    chosen_N: npt.NDArray[np.bool_] = (mixed_N >> np.uint64(32)) % np.uint64(every) == 0
    return chosen_N


def sum_rows(rows: Rows, *, every: int = 1) -> CatalogueSums:
    """Sum over rows of a catalogue; p(z) is stacked of one row in ``every``, since that takes most of the time."""
    kinds_LN = rows.kinds_LN
    maps = [SkyMap().add(rows.healpix_N[kinds_LN[kind]]) for kind in (Kind.ROWS, Kind.MEASURED, Kind.OUTSIDE)]
    with_pdf, stacked, shares_Z, examples = 0, 0, np.zeros(len(Z_EDGES) - 1), Examples.empty()
    chosen_N = _choose(rows.healpix_N, every)
    for quantiles_NQ, part in _decode(rows):
        known_N = np.isfinite(quantiles_NQ[:, 0])
        with_pdf += int(known_N.sum())
        known_N &= chosen_N[part]
        stacked += int(known_N.sum())
        shares_Z = shares_Z + stack_shares(quantiles_NQ[known_N])
        examples = examples.merge(_take_examples(rows, part, quantiles_NQ))
    return CatalogueSums(
        counts_L=kinds_LN.sum(axis=1),
        flags_F=np.array([np.count_nonzero(rows.flags_N & flag.value) for flag in Flag], dtype=np.int64),
        by_magnitude_LM=_count_by(rows.mag_auto_N, kinds_LN, MAGNITUDE_EDGES),
        by_redshift_LZ=_count_by(rows.z_phot_N, kinds_LN, Z_EDGES),
        with_magnitude=int(np.isfinite(rows.mag_auto_N).sum()),
        with_pdf=with_pdf,
        stacked=stacked,
        shares_Z=shares_Z,
        distances_D=_count_distances(rows.distance_N),
        sky=maps[0],
        sky_measured=maps[1],
        sky_outside=maps[2],
        examples=examples,
    )


def stack_shares(quantiles_NQ: Floats) -> Floats:
    """Sum the shares of p(z) in the cells of `Z_EDGES` over galaxies; rows of NaN add nothing.

    The same as the sum of `photoz.nz.distribution.compute_shares`, and several times faster: a p(z) fills few of the
    cells, and where its cumulative curve is the same at both ends of a run of cells there is nothing between.
    """
    known_NQ = quantiles_NQ[np.isfinite(quantiles_NQ[:, 0])]
    total_Z = np.zeros(len(Z_EDGES) - 1)
    coarse_NR = compute_shares(known_NQ, Z_EDGES[::_COARSE]) if len(known_NQ) else np.zeros((0, 0))
    for run, share_N in enumerate(coarse_NR.T):
        filled_N = share_N > 0
        if filled_N.any():
            cells = slice(run * _COARSE, (run + 1) * _COARSE)
            total_Z[cells] = compute_shares(known_NQ[filled_N], Z_EDGES[cells.start : cells.stop + 1]).sum(axis=0)
    return total_Z


def _decode(rows: Rows) -> Iterator[tuple[Floats, Counts]]:
    """Yield quantiles and indices of runs of rows; nothing in a catalogue without p(z)."""
    if rows.codes_NQ is None:
        return
    for run in split_rows(len(rows), _ROWS):
        yield decode_quantiles(rows.codes_NQ[run]), np.arange(run.start, run.stop)


def _take_examples(rows: Rows, part: Counts, quantiles_NQ: Floats) -> Examples:
    flags_N, healpix_N = rows.flags_N[part], rows.healpix_N[part]
    found = find_candidates(rows.z_phot_N[part], quantiles_NQ, flags_N, healpix_N)
    chosen = np.concatenate([own for _, own, _, _ in found])
    taken = part[chosen]
    return Examples(
        choice_K=np.concatenate([np.full(len(own), choice, dtype=np.int64) for choice, own, _, _ in found]),
        cell_K=np.concatenate([cells for _, _, cells, _ in found]),
        rank_K=np.concatenate([ranks for _, _, _, ranks in found]),
        healpix_K=rows.healpix_N[taken],
        object_id_K=rows.object_id_N[taken].astype(np.str_),
        ra_K=rows.ra_N[taken],
        dec_K=rows.dec_N[taken],
        z_phot_K=rows.z_phot_N[taken],
        distance_K=rows.distance_N[taken],
        flags_K=rows.flags_N[taken],
        quantiles_KQ=quantiles_NQ[chosen],
    )


def _count_by(values_N: Floats, kinds_LN: Bools, edges: Floats) -> Counts:
    known_N = np.isfinite(values_N)
    return np.stack([np.histogram(values_N[known_N & own_N], edges)[0] for own_N in kinds_LN]).astype(np.int64)


def _count_distances(distance_N: Floats) -> Counts:
    known_N = distance_N[np.isfinite(distance_N)]
    return np.histogram(np.clip(known_N, DISTANCE_EDGES[0], DISTANCE_EDGES[-1]), DISTANCE_EDGES)[0].astype(np.int64)
