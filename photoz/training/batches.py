"""From galaxies with known redshifts to the tensors of a training step."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.scaling import scale_cutouts
from photoz.photometry import MagnitudeScaling

TURNS = 8
"""Flips and quarter turns of a square: the dihedral group of order 8."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of N galaxies on the device of the network.

    Parameters
    ----------
    features_NF : Tensor of float32, shape (N, F)
        Standardised magnitudes.
    images_NBYX : Tensor of float32, shape (N, B, Y, X), or None
        Scaled to 0..1, channels last.
    target_N : Tensor of float32, shape (N,)
        ln(1 + z_spec).
    """

    features_NF: Tensor
    images_NBYX: Tensor | None
    target_N: Tensor

    def __len__(self) -> int:
        return len(self.target_N)


def prepare_batch(
    magnitudes_NF: npt.NDArray[np.floating],
    cutouts_NBYX: npt.NDArray[np.float32] | None,
    z_spec_N: npt.NDArray[np.floating],
    *,
    scaling: MagnitudeScaling,
    device: torch.device,
) -> Batch:
    """Prepare galaxies exactly as the estimator does.

    Parameters
    ----------
    magnitudes_NF : ndarray of float, shape (N, F)
        [mag(AB)] NaN where there is none; each row has at least one.
    cutouts_NBYX : ndarray of float32, shape (N, B, Y, X), or None
        [flux] NaN pixels become 0 after scaling.
    z_spec_N : ndarray of float, shape (N,)
    scaling : MagnitudeScaling
        Of the training galaxies.
    device : torch.device
    """
    images_NBYX = None
    if cutouts_NBYX is not None:
        writable = np.require(cutouts_NBYX, requirements=["C", "W"])  # torch warns about Arrow's read-only arrays
        images_NBYX = scale_cutouts(torch.from_numpy(writable).to(device))
    features_NF = torch.from_numpy(scaling.apply(magnitudes_NF)).to(device)
    target_N = torch.from_numpy(np.log1p(np.asarray(z_spec_N, dtype=np.float64)).astype(np.float32)).to(device)
    return Batch(features_NF, images_NBYX, target_N)


def turn_images(images_NBYX: Tensor, turn: int) -> Tensor:
    """Apply one of the 8 flips and turns: ``turn % 4`` quarter turns, and from 4 on a left-right flip before."""
    flipped_NBYX = images_NBYX.flip(3) if turn >= TURNS // 2 else images_NBYX
    return torch.rot90(flipped_NBYX, turn % 4, (2, 3))


def augment(images_NBYX: Tensor, generator: torch.Generator) -> Tensor:
    """Turn each image by one of the 8 flips and turns, drawn with equal chance.

    Parameters
    ----------
    images_NBYX : Tensor, shape (N, B, Y, X)
        Square images.
    generator : torch.Generator
        On the CPU; it decides the turns.

    Returns
    -------
    Tensor, shape (N, B, Y, X)
    """
    turn_N = torch.randint(TURNS, (len(images_NBYX),), generator=generator).to(images_NBYX.device)
    turned_NBYX = images_NBYX.clone()
    for turn in range(1, TURNS):
        rows = torch.nonzero(turn_N == turn).squeeze(1)
        turned_NBYX[rows] = turn_images(images_NBYX[rows], turn)
    return turned_NBYX
