"""Recalibration of p(z): make the probabilities it gives come true, overall and along magnitude and colour."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from photoz.pdf.pitmaps import PitMap
from photoz.schema import LEVELS

logger = logging.getLogger(__name__)

LEAST = 300
"""Galaxies for a map of their own: by noise alone their PIT lies 0.05 (KS) off, the least miscalibration to mend."""
# Below every number that callers give, which count from 0.
_ALL = -1  # pattern of the map of all galaxies
# In an estimator's file the arrays lie among those of the estimator, whose names may be the same.
_PREFIX = "recalibration_"

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Recalibration:
    """Maps from the probabilities of an estimator's raw p(z) to those that come true.

    A map is the cumulative distribution H of the raw PIT (probability below the true redshift): if the raw p(z) has the
    cumulative distribution F(z), the calibrated one has H(F(z)). H is that of all galaxies (through seven of its
    quantiles, on the scale of the normal distribution), and then, as a smooth function of magnitude and colour, a
    density ``exp(sum of theta_k P_k)`` of Legendre polynomials P_k in the result, whose coefficients are pulled towards
    those of all galaxies the more, the less they improve the density of galaxies left out (cross-validation).

    Parameters
    ----------
    patterns_P : ndarray of int64, shape (P,)
        Numbers of what is missing, one a map; -1 is the map of all galaxies, which comes first.
    knots_PK, nodes_PCM, theta_PJL : ndarray of float64
        The maps (`photoz.pdf.pitmaps.PitMap`), along the first axis.

    References
    ----------
    Recalibration by the distribution of PIT: Bordoloi, Lilly & Amara 2010, MNRAS 406, 881. As a function of the
    features: Dey et al. 2022, arXiv 2205.14568. Densities of PIT in Legendre polynomials: Neyman 1937, Skandinavisk
    Aktuarietidskrift 20, 149.

    Examples
    --------
    >>> pit_N = np.random.default_rng(1).beta(2, 2, 4000)  # p(z) too wide
    >>> recalibration = Recalibration.fit(pit_N, np.zeros((4000, 2)))
    >>> level = recalibration.map_levels(np.zeros((1, 2)))[0, LEVELS.index(0.16)]
    >>> bool(0.23 < level < 0.28)  # beta.ppf(0.16, 2, 2) = 0.256
    True
    """

    patterns_P: Whole
    knots_PK: Floats
    nodes_PCM: Floats
    theta_PJL: Floats

    @classmethod
    def fit(cls, pit_N: npt.ArrayLike, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None = None) -> Self:
        """Fit the maps to galaxies that the estimator was not trained on.

        Parameters
        ----------
        pit_N : array_like of float, shape (N,)
            Probability below the true redshift in the estimator's raw p(z); galaxies with NaN are left out.
        coordinates_NC : array_like of float, shape (N, 2)
            Magnitude and colour [mag] (`photoz.pdf.make_coordinates`); a galaxy with NaN takes no part in the
            dependence on that coordinate.
        pattern_N : array_like of int, shape (N,), optional
            What a galaxy lacks, numbered by the caller from 0 (nothing). Patterns of at least 300 galaxies get a map of
            their own, the others that of all galaxies.

        Returns
        -------
        Recalibration
            The identity, with a warning in the log, for fewer than 300 galaxies.
        """
        pits, coordinates, patterns = _check(np.asarray(pit_N, dtype=np.float64), coordinates_NC, pattern_N)
        # One galaxy without an estimate would else make every knot of its maps NaN.
        known_N = np.isfinite(pits)
        pits, coordinates, patterns = pits[known_N], coordinates[known_N], patterns[known_N]
        if len(pits) < LEAST:
            logger.warning("p(z) is not recalibrated: %d galaxies, and it takes %d", len(pits), LEAST)
            return cls.identity()
        numbers, counts = np.unique(patterns, return_counts=True)
        # A pattern that all galaxies have would get a copy of the map of all.
        own = [int(number) for number in numbers[(counts >= LEAST) & (counts < len(pits))]]
        chosen = [np.full(len(pits), True), *(patterns == number for number in own)]
        return cls._collect([_ALL, *own], [PitMap.fit(pits[rows], coordinates[rows]) for rows in chosen])

    @classmethod
    def identity(cls) -> Self:
        """Return the recalibration that changes nothing."""
        return cls._collect([_ALL], [PitMap.identity()])

    def map_levels(self, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None = None) -> Floats:
        """Compute where the quantiles of the calibrated p(z) lie in the raw p(z).

        Parameters
        ----------
        coordinates_NC, pattern_N
            As in `fit`.

        Returns
        -------
        ndarray of float64, shape (N, Q)
            Probabilities, strictly rising within (0, 1): the raw p(z)'s quantile there is the calibrated p(z)'s
            quantile at `photoz.schema.LEVELS`.
        """
        # One row a galaxy, since maps depend on magnitude and colour.
        levels_NQ = np.tile(np.asarray(LEVELS), (len(np.asarray(coordinates_NC)), 1))
        return self._convert(levels_NQ, coordinates_NC, pattern_N, PitMap.lower)

    def unmap_levels(self, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None = None) -> Floats:
        """Compute where the raw p(z)'s quantiles at `LEVELS` lie in the calibrated one: `map_levels` the other way."""
        levels_NQ = np.tile(np.asarray(LEVELS), (len(np.asarray(coordinates_NC)), 1))
        return self._convert(levels_NQ, coordinates_NC, pattern_N, PitMap.lift)

    def undo(
        self, pit_N: npt.ArrayLike, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None = None
    ) -> Floats:
        """Turn PIT of the calibrated p(z) into PIT of the raw p(z), shape (N,).

        Parameters
        ----------
        pit_N : array_like of float, shape (N,)
            NaN stays NaN.
        coordinates_NC, pattern_N
            As in `fit`.
        """
        pit_N1 = np.asarray(pit_N, dtype=np.float64)[:, None]
        return self._convert(pit_N1, coordinates_NC, pattern_N, PitMap.lower)[:, 0]

    def apply(
        self, pit_N: npt.ArrayLike, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None = None
    ) -> Floats:
        """Turn PIT of the raw p(z) into PIT of the calibrated p(z), shape (N,): the inverse of `undo`.

        Parameters
        ----------
        pit_N, coordinates_NC, pattern_N
            As in `undo`.
        """
        pit_N1 = np.asarray(pit_N, dtype=np.float64)[:, None]
        return self._convert(pit_N1, coordinates_NC, pattern_N, PitMap.lift)[:, 0]

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what `from_arrays` needs, under names that begin with ``recalibration_``."""
        return {_PREFIX + field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Self:
        """Rebuild from `to_arrays`; other names in the mapping are passed over.

        Raises
        ------
        KeyError
            One of the arrays is not there.
        """
        return cls(**{field.name: np.asarray(arrays[_PREFIX + field.name]) for field in fields(cls)})

    @classmethod
    def _collect(cls, numbers: list[int], maps: list[PitMap]) -> Self:
        columns = zip(*((each.knots_K, each.nodes_CM, each.theta_JL) for each in maps), strict=True)
        # Every map has the same shapes, whatever it was fitted to, so that all lie in three arrays.
        knots, nodes, theta = (np.stack(arrays) for arrays in columns)
        return cls(np.array(numbers, dtype=np.int64), knots, nodes, theta)

    @cached_property
    def _maps(self) -> list[PitMap]:
        return [PitMap(*arrays) for arrays in zip(self.knots_PK, self.nodes_PCM, self.theta_PJL, strict=True)]

    def _convert(
        self,
        values_NQ: Floats,
        coordinates_NC: npt.ArrayLike,
        pattern_N: npt.ArrayLike | None,
        convert: Callable[[PitMap, Floats, Floats], Floats],
    ) -> Floats:
        values_NQ, coordinates, patterns = _check(values_NQ, coordinates_NC, pattern_N)
        # Each row is filled once: by its pattern's map, or at last by that of all.
        converted_NQ, done_N = np.empty(values_NQ.shape), np.full(len(values_NQ), False)
        for index in reversed(range(len(self.patterns_P))):  # the map of all comes last, for what is left
            rows_N = ~done_N if index == 0 else patterns == self.patterns_P[index]
            done_N |= rows_N
            converted_NQ[rows_N] = convert(self._maps[index], values_NQ[rows_N], coordinates[rows_N])
        return converted_NQ


def _check(
    values: Floats, coordinates_NC: npt.ArrayLike, pattern_N: npt.ArrayLike | None
) -> tuple[Floats, Floats, Whole]:
    """Return arrays of the same galaxies, infinite coordinates as NaN."""
    coordinates = np.asarray(coordinates_NC, dtype=np.float64)
    patterns = np.zeros(len(values), dtype=np.int64) if pattern_N is None else np.asarray(pattern_N, dtype=np.int64)
    if coordinates.shape != (len(values), 2) or patterns.shape != (len(values),):
        raise ValueError(
            f"{len(values)} galaxies have coordinates of shape {coordinates.shape} and patterns of shape"
            f" {patterns.shape}; give ({len(values)}, 2) and ({len(values)},)"
        )
    # np.interp would take an infinite magnitude for the faintest node; NaN takes part in none.
    return values, np.where(np.isfinite(coordinates), coordinates, np.nan), patterns
