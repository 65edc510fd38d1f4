"""How far a galaxy lies from the training sample: `TrainingDistance`. Pure functions on arrays."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from photoz.errors import EstimatorError, TrainingError

NEIGHBOURS = 20
"""With 10, 20 and 30, galaxies redder in g - r than all 20,000 real training galaxies are flagged 14, 17 and 17 times
as often as the others (docs/nz.md)."""
MOST = 20_000
"""Of the SDSS sample's training galaxies; with 5,000 the same galaxies are flagged 9 times as often, not 17 times."""

_SHRINKAGE = 0.01  # of the mean variance, added in every direction: neighbours may lie in a plane, or coincide
_TINY = 1e-12
_ROWS = 4096  # galaxies at a time: 20 neighbours with 30 features take 20 MB

Floats = npt.NDArray[np.floating[Any]]


class TrainingDistance:
    """Distance from the training galaxies in a space of features, in units of a limit that few of them exceed.

    Of two figures the larger counts, each over its own limit: the mean distance from the nearest training galaxies
    (large where these are few), and the distance from their centre in units of their own spread, a Mahalanobis
    distance (large where they all lie on one side: at the end of a dense sequence, where spacings are small).

    Parameters
    ----------
    points_MC : ndarray of float32, shape (M, C)
        Features of the reference galaxies.
    limits : ndarray of float64, shape (2,)
        Of the two figures.
    neighbours : int

    References
    ----------
    The mean distance to the nearest neighbours: Ramaswamy, Rastogi & Shim 2000, SIGMOD Record 29, 427, and Angiulli &
    Pizzuti 2002, PKDD. That colour space tells where training fails: Masters et al. 2015, ApJ 813, 53; Jalan et al.
    2024, arXiv 2409.14799.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> distance = TrainingDistance.fit(rng.normal(size=(2000, 2)))
    >>> (distance.measure(np.array([[0.0, 0.0], [9.0, 0.0], [np.nan, 0.0]])) > 1).tolist()
    [False, True, False]
    """

    def __init__(self, points_MC: Floats, limits: Floats, neighbours: int) -> None:
        self.points_MC = np.ascontiguousarray(points_MC, dtype=np.float32)
        self.limits = np.asarray(limits, dtype=np.float64)
        self.neighbours = neighbours
        # The tree works in float64: given float32 it would hold a copy of its own beside this one, which neighbours are
        # read from.
        self._points_MC = self.points_MC.astype(np.float64)
        # Along the principal axes, which leave distances as they are: colours hang together, and a tree whose boxes lie
        # along their sequence looks into fewer of them (9 features: 5.5 for 9.5 µs a galaxy).
        self._axes_CC = np.linalg.eigh(np.cov(self._points_MC.T).reshape(2 * self._points_MC.shape[1:]))[1][:, ::-1]
        self._tree = cKDTree(self._rotate(self._points_MC), leafsize=32)  # a sixth faster than with the default 16

    @classmethod
    def fit(
        cls,
        features_NC: Floats,
        *,
        seed: int = 1,
        quantile: float = 0.99,
        neighbours: int = NEIGHBOURS,
        most: int = MOST,
    ) -> Self:
        """Choose reference galaxies, and the limit from each one's distance from all others.

        Parameters
        ----------
        features_NC : ndarray of float, shape (N, C)
            Of the training galaxies: finite, each feature scaled to a spread of about 1. Colours and one magnitude tell
            more than magnitudes, whose differences are what the redshift is in; a few features are better than many.
        seed : int
            Of the choice of reference galaxies, where there are more than ``most``.
        quantile : float
            Share of the reference galaxies within the limit.
        neighbours : int
            Nearest reference galaxies to measure from; fewer where there are not so many.
        most : int
            Reference galaxies to keep.

        Raises
        ------
        TrainingError
            A feature is not finite, or there are fewer than 3 galaxies.
        """
        features_NC = np.asarray(features_NC, dtype=np.float32)
        if features_NC.ndim != 2 or len(features_NC) < 3 or not np.isfinite(features_NC).all():
            raise TrainingError(
                f"features of shape {features_NC.shape}, {np.count_nonzero(~np.isfinite(features_NC))} of them not "
                "finite, cannot say what the training sample covers: give finite features of at least 3 galaxies"
            )
        kept = np.sort(np.random.default_rng(seed).permutation(len(features_NC))[:most])
        self = cls(features_NC[kept], np.ones(2), min(neighbours, len(kept) - 1))
        # Each reference galaxy is its own nearest neighbour, at distance 0, and would make the limits too small.
        raw_N2 = self._measure_raw(self._points_MC, skip=1)
        raw_limits = np.maximum(np.quantile(raw_N2, quantile, axis=0), _TINY)
        # Two limits that 1 % exceed each would flag up to 2 %: one factor on both brings their maximum back to 1 %.
        both = np.quantile((raw_N2 / raw_limits).max(axis=1), quantile)
        return cls(features_NC[kept], raw_limits * max(float(both), _TINY), self.neighbours)

    def measure(self, features_NC: Floats) -> npt.NDArray[np.float32]:
        """Measure the distance of galaxies from the training sample.

        Parameters
        ----------
        features_NC : ndarray of float, shape (N, C)
            Scaled as those of the training galaxies were.

        Returns
        -------
        ndarray of float32, shape (N,)
            1 is where ``OUTSIDE_TRAINING`` is set; NaN where a feature is not finite.

        Raises
        ------
        EstimatorError
            There are more or fewer features than the training galaxies had.
        """
        features_NC = np.asarray(features_NC, dtype=np.float64)
        if features_NC.ndim != 2 or features_NC.shape[1] != self._points_MC.shape[1]:
            raise EstimatorError(
                f"features of shape {features_NC.shape} were given; the training sample has "
                f"{self._points_MC.shape[1]} features: scale and choose them as in training"
            )
        distance_N = np.full(len(features_NC), np.nan, dtype=np.float32)
        finite = np.flatnonzero(np.isfinite(features_NC).all(axis=1))
        distance_N[finite] = (self._measure_raw(features_NC[finite]) / self.limits).max(axis=1)
        return distance_N

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all it is made of as arrays, by names that begin with ``coverage_``."""
        return {
            "coverage_points": self.points_MC,
            "coverage_limits": self.limits,
            "coverage_neighbours": np.array([self.neighbours], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make it again from the arrays of `to_arrays`; others are passed over."""
        points_MC, limits, neighbours = (arrays[f"coverage_{name}"] for name in ("points", "limits", "neighbours"))
        return cls(points_MC, limits, int(neighbours[0]))

    def _rotate(self, features_NC: Floats) -> Floats:
        # Not by a matrix product, whose last digit depends on how many rows it is given.
        rotated_NC: Floats = np.einsum("nc,cd->nd", features_NC, self._axes_CC)
        return rotated_NC

    def _measure_raw(self, features_NC: Floats, *, skip: int = 0) -> npt.NDArray[np.float64]:
        """Both figures, shape (N, 2); ``skip`` leaves out the nearest galaxies (1: each reference galaxy itself)."""
        blocks = [
            self._measure_block(features_NC[start : start + _ROWS], skip) for start in range(0, len(features_NC), _ROWS)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, 2))

    def _measure_block(self, features_NC: Floats, skip: int) -> npt.NDArray[np.float64]:
        # A list of ranks, not a number: scipy then leaves out the nearest, and keeps the second axis for one neighbour.
        wanted = list(range(1 + skip, self.neighbours + 1 + skip))
        distance_NK, nearest_NK = self._tree.query(self._rotate(features_NC), k=wanted)
        near_NKC = self._points_MC[nearest_NK]
        centre_NC = near_NKC.mean(axis=1)
        aside_NC = features_NC - centre_NC
        spread_NCC = _compute_spread(near_NKC - centre_NC[:, None])
        # The last axis for numpy 2, which takes a stack of vectors for a matrix.
        solved_NC = np.linalg.solve(spread_NCC, aside_NC[..., None])[..., 0]
        return np.column_stack([distance_NK.mean(axis=1), np.sqrt((aside_NC * solved_NC).sum(axis=1))])


def _compute_spread(offsets_NKC: Floats) -> Floats:
    """Covariance of each galaxy's neighbours, made safe to invert, shape (N, C, C)."""
    count, features = offsets_NKC.shape[1:]
    spread_NCC = np.matmul(offsets_NKC.transpose(0, 2, 1), offsets_NKC) / count
    mean_N = np.trace(spread_NCC, axis1=1, axis2=2) / features
    added_NCC: Floats = spread_NCC + (_SHRINKAGE * mean_N + _TINY)[:, None, None] * np.eye(features)
    return added_NCC
