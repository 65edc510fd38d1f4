"""From galaxies with known redshifts to the tensors of a training step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.base import Inputs
from photoz.estimators.networks.preparation import Preparation

TURNS = 8
"""Flips and quarter turns of a square: the dihedral group of order 8."""


@dataclass(frozen=True, eq=False)
class Batch:
    """N galaxies, on the device of the network.

    Parameters
    ----------
    photometry, images_NBYX, seen_NB
        As in `photoz.estimators.networks.preparation.View`.
    target_N : Tensor of float32, shape (N,)
        ln(1 + z_spec).
    weight_NK : Tensor of float32, shape (N, K), or None
        Weight of each galaxy in the loss of each member; None: 1.
    """

    photometry: Any
    images_NBYX: Tensor | None
    seen_NB: Tensor | None
    target_N: Tensor
    weight_NK: Tensor | None = None

    def __len__(self) -> int:
        return len(self.target_N)


def prepare_batch(
    inputs: Inputs,
    z_spec_N: npt.NDArray[np.floating],
    *,
    preparation: Preparation,
    device: torch.device,
    weight_NK: npt.NDArray[np.float32] | None = None,
) -> Batch:
    """Prepare galaxies exactly as the estimator does.

    Parameters
    ----------
    inputs : Inputs
        N galaxies.
    z_spec_N : ndarray of float, shape (N,)
    preparation : Preparation
        The estimator's.
    device : torch.device
    weight_NK : ndarray of float32, shape (N, K), optional
    """
    # In float64 until the logarithm is taken, and float32 only as the network sees it.
    target_N = torch.from_numpy(np.log1p(np.asarray(z_spec_N, dtype=np.float64)).astype(np.float32)).to(device)
    weights = None if weight_NK is None else torch.from_numpy(weight_NK).to(device)
    return Batch(*preparation.show(inputs, device), target_N, weights)


def turn_images(images_NBYX: Tensor, turn: int) -> Tensor:
    """Apply one of the 8 flips and turns: ``turn % 4`` quarter turns, and from 4 on a left-right flip before."""
    # The sky has no handedness: a flipped galaxy is as likely as itself, and quarter turns need no resampling of
    # pixels.
    flipped_NBYX = images_NBYX.flip(3) if turn >= TURNS // 2 else images_NBYX
    return torch.rot90(flipped_NBYX, turn % 4, (2, 3))


def shift_images(images_NBYX: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to half a pixel along both axes, drawn evenly; what lies between is interpolated.

    A cutout is centred on the pixel nearest to its galaxy, which so lies up to half a pixel off.

    Parameters
    ----------
    images_NBYX : Tensor, shape (N, B, Y, X)
    generator : torch.Generator
        On the CPU.
    """
    for axis in (2, 3):
        shift_N = (torch.rand(len(images_NBYX), generator=generator) - 0.5).to(images_NBYX.device)
        before, after = _move_both_ways(images_NBYX, axis)
        beside_NBYX = torch.where(shift_N[:, None, None, None] < 0, before, after)
        images_NBYX = torch.lerp(images_NBYX, beside_NBYX, shift_N.abs()[:, None, None, None])
    return images_NBYX


def _move_both_ways(images_NBYX: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Move images by a pixel back and forth along an axis; pixels beyond the edge are those on it."""
    size = images_NBYX.shape[axis]
    first, last = images_NBYX.narrow(axis, 0, 1), images_NBYX.narrow(axis, size - 1, 1)
    # Two views of one copy: index_select, which takes each pixel by its number, took a sixth of a training step.
    edged = torch.cat([first, images_NBYX, last], dim=axis)
    return edged.narrow(axis, 0, size), edged.narrow(axis, 2, size)


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
    # Drawn on the CPU, so that a seed gives the same turns with and without a GPU.
    turn_N = torch.randint(TURNS, (len(images_NBYX),), generator=generator).to(images_NBYX.device)
    turned_NBYX = images_NBYX.clone()
    # From 1: turn 0 leaves an image as it is, which the clone already holds.
    for turn in range(1, TURNS):
        rows = torch.nonzero(turn_N == turn).squeeze(1)
        turned_NBYX[rows] = turn_images(images_NBYX[rows], turn)
    return turned_NBYX
