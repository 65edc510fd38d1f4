"""From galaxies with known redshifts to the tensors of a training step."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.base import Inputs
from photoz.estimators.networks.masks import Photometry
from photoz.estimators.networks.scaling import scale_cutouts
from photoz.photometry import MagnitudeScaling

TURNS = 8
"""Flips and quarter turns of a square: the dihedral group of order 8."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of N galaxies on the device of the network.

    Parameters
    ----------
    photometry : Photometry
        Standardised magnitudes.
    images_NBYX : Tensor of float32, shape (N, B, Y, X), or None
        Scaled to 0..1, channels last.
    seen_NB : Tensor of bool, shape (N, B), or None
        Image bands that hold a finite pixel.
    target_N : Tensor of float32, shape (N,)
        ln(1 + z_spec).
    weight_NK : Tensor of float32, shape (N, K), or None
        Weight of each galaxy in the loss of each member; None: 1.
    """

    photometry: Photometry
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
    scaling: MagnitudeScaling,
    device: torch.device,
    fill: bool = False,
    weight_NK: npt.NDArray[np.float32] | None = None,
) -> Batch:
    """Prepare galaxies exactly as the estimator does.

    Parameters
    ----------
    inputs : Inputs
        N galaxies.
    z_spec_N : ndarray of float, shape (N,)
    scaling : MagnitudeScaling
        Of the training galaxies.
    device : torch.device
    fill : bool
        Fill missing magnitudes from neighbouring bands, for the paper's network; each galaxy must have one.
    weight_NK : ndarray of float32, shape (N, K), optional
    """
    images_NBYX = seen_NB = None
    if inputs.cutouts_NBYX is not None:
        cutouts_NBYX = np.require(inputs.cutouts_NBYX, requirements=["C", "W"])  # torch warns about read-only arrays
        tensor_NBYX = torch.from_numpy(cutouts_NBYX).to(device)
        images_NBYX, seen_NB = scale_cutouts(tensor_NBYX)
    photometry = Photometry.prepare(inputs.magnitudes, scaling, device)
    if fill:
        # Here and not in the network: the paper's network takes magnitudes as numbers, and has no input that says one
        # was filled.
        filled_NF = torch.from_numpy(scaling.apply(inputs.magnitudes.magnitudes_NF)).to(device)
        photometry = replace(photometry, values_NF=filled_NF)
    # In float64 until the logarithm is taken, and float32 only as the network sees it.
    target_N = torch.from_numpy(np.log1p(np.asarray(z_spec_N, dtype=np.float64)).astype(np.float32)).to(device)
    weights = None if weight_NK is None else torch.from_numpy(weight_NK).to(device)
    return Batch(photometry, images_NBYX, seen_NB, target_N, weights)


def turn_images(images_NBYX: Tensor, turn: int) -> Tensor:
    """Apply one of the 8 flips and turns: ``turn % 4`` quarter turns, and from 4 on a left-right flip before."""
    # The sky has no handedness: a flipped galaxy is as likely as itself, and quarter turns need no resampling of
    # pixels.
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
    # Drawn on the CPU, so that a seed gives the same turns with and without a GPU.
    turn_N = torch.randint(TURNS, (len(images_NBYX),), generator=generator).to(images_NBYX.device)
    turned_NBYX = images_NBYX.clone()
    # From 1: turn 0 leaves an image as it is, which the clone already holds.
    for turn in range(1, TURNS):
        rows = torch.nonzero(turn_N == turn).squeeze(1)
        turned_NBYX[rows] = turn_images(images_NBYX[rows], turn)
    return turned_NBYX
