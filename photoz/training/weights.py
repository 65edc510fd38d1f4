"""Weights of the training galaxies: what each member is trained without, and a smooth n(z)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from photoz.estimators.smoothing import compute_smoothing_weights


def leave_out_parts(object_ids: Sequence[str], *, seed: int, members: int) -> npt.NDArray[np.float32]:
    """Weigh galaxies for members that are each trained without one of as many parts as there are members.

    So members differ, as mlp's do, and each sees nearly all galaxies. The part depends on object and seed alone: it is
    the same in every epoch, in any order and on any worker.

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
        0 for the member that is trained without the galaxy, else K / (K - 1). Ones for a single member.

    Examples
    --------
    >>> leave_out_parts(["a", "c"], seed=1, members=3).tolist()
    [[0.0, 1.5, 1.5], [1.5, 0.0, 1.5]]
    """
    if members == 1:
        return np.ones((len(object_ids), 1), dtype=np.float32)
    # The word keeps these numbers apart from those of the splits, which are hashed from seed and name too.
    digests = b"".join(hashlib.blake2b(f"{seed}:part:{name}".encode(), digest_size=8).digest() for name in object_ids)
    part_N = np.frombuffer(digests, dtype="<u8") % members
    left_NK = part_N[:, None] == np.arange(members, dtype=np.uint64)
    return np.where(left_NK, 0.0, members / (members - 1)).astype(np.float32)


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
