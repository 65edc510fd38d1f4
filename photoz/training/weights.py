"""Weights of the training galaxies: bootstrap samples for the members, and a smooth n(z)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.stats import poisson

from photoz.estimators.smoothing import compute_smoothing_weights

_CDF = poisson.cdf(np.arange(8), 1.0)  # above 8 times none of a million galaxies is drawn


def draw_bootstrap(object_ids: Sequence[str], *, seed: int, members: int) -> npt.NDArray[np.float32]:
    """Draw how often each galaxy is in the sample of each member.

    A bootstrap sample of a large set holds each galaxy a Poisson-distributed number of times, mean 1. The number
    depends on object, member and seed alone, so it is the same in every epoch, in any order and on any worker.

    Parameters
    ----------
    object_ids : sequence of str
        N galaxies.
    seed : int
        ``run.seed``.
    members : int
        K.

    Returns
    -------
    ndarray of float32, shape (N, K)
        Ones for a single member, which needs no sample of its own.

    References
    ----------
    Oza & Russell 2001, Online bagging and boosting (AISTATS).

    Examples
    --------
    >>> draw_bootstrap(["a", "b", "c"], seed=1, members=3).shape
    (3, 3)
    """
    if members == 1:
        return np.ones((len(object_ids), 1), dtype=np.float32)
    # The word keeps these numbers apart from those of the splits, which are hashed from seed and name too.
    digests = [hashlib.blake2b(f"{seed}:bootstrap:{name}".encode(), digest_size=4 * members) for name in object_ids]
    # Four bytes a member, little-endian on every machine.
    numbers = np.frombuffer(b"".join(digest.digest() for digest in digests), dtype="<u4").reshape(-1, members)
    # The inverse of the cumulative distribution: the count is how many of its steps lie at or below the draw.
    return np.searchsorted(_CDF, numbers / 2.0**32, side="right").astype(np.float32)


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Weights that smooth the training n(z), as a table of the redshift.

    Parameters
    ----------
    z_N, weight_N : ndarray of float64, shape (N,)
        Redshifts, increasing, and their weights, mean 1.
    """

    z_N: npt.NDArray[np.float64]
    weight_N: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, z_N: npt.NDArray[np.floating], *, width: float) -> Self:
        """Compute the weights of training galaxies at these redshifts; ``width`` as ``loss.smooth_nz_width``."""
        # np.interp asks for rising abscissae, and equal redshifts have equal weights, so that one of each is enough.
        ordered_N, index_N = np.unique(np.asarray(z_N, dtype=np.float64), return_index=True)
        return cls(ordered_N, compute_smoothing_weights(np.asarray(z_N, dtype=np.float64), width=width)[index_N])

    def weigh(self, z_N: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Return the weights of galaxies at these redshifts, shape (N, 1)."""
        # Redshifts of the table come back with their own weight; what lies outside it gets that of its nearest end.
        weight_N: npt.NDArray[np.float32] = np.interp(z_N, self.z_N, self.weight_N).astype(np.float32)
        return weight_N[:, None]
