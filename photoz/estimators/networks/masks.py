"""What the networks are told of a galaxy: the features of its fluxes, as mlp reads them, and bits for its image."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.mlp.lacking import Mask, put_fluxes
from photoz.estimators.photometric.features import FluxFeatures
from photoz.photometry import Floats, find_detected


@dataclass(frozen=True, eq=False)
class Photometry:
    """Fluxes of N galaxies, in memory: what is dropped at a training step is dropped before features are made.

    Parameters
    ----------
    fluxes_NF, errors_NF : ndarray of float, shape (N, F)
        [nJy] NaN as in `photoz.estimators.base.Inputs`.
    features : FluxFeatures
        What a network reads of them.
    """

    fluxes_NF: Floats
    errors_NF: Floats
    features: FluxFeatures

    def __len__(self) -> int:
        return len(self.fluxes_NF)

    @cached_property
    def detected_NF(self) -> Mask:
        """Where something was detected: elsewhere there is no magnitude."""
        return find_detected(self.fluxes_NF, self.errors_NF)

    def drop(self, dropped_NF: Mask) -> Self:
        """Return the same galaxies as if some of their bands had not been observed."""
        return put_fluxes(self, np.nan, dropped_NF)

    def make_features(self) -> npt.NDArray[np.float32]:
        """Make the features, shape (N, 4 F - 1)."""
        return self.features.apply(self.fluxes_NF, self.errors_NF)


def encode(photometry: Photometry, seen_NB: Tensor | None, device: torch.device) -> Tensor:
    """Make the features of `photoz.estimators.networks.network.MaskedNetwork`.

    Parameters
    ----------
    photometry : Photometry
    seen_NB : Tensor of bool, shape (N, B), or None
        Image bands that hold a pixel; None for a network without images.
    device : torch.device
        Of the network.

    Returns
    -------
    Tensor of float32, shape (N, 4 F - 1) or (N, 4 F - 1 + 1 + B)
        Those of the fluxes, a bit for an image, a bit for each of its bands.
    """
    features_NC = torch.from_numpy(photometry.make_features()).to(device)
    if seen_NB is None:
        return features_NC
    # `MaskedNetwork.present` counts on this place: the bit for an image first, then its bands.
    bits = [seen_NB.any(dim=1, keepdim=True), seen_NB]
    return torch.cat([features_NC, *(bit.to(features_NC) for bit in bits)], dim=1)


def number_patterns(missing_NF: Tensor, seen_NB: Tensor | None, unimaged_F: Tensor) -> Tensor:
    """Number what is missing, for the recalibration: each number has a map of its own where galaxies were enough.

    Parameters
    ----------
    missing_NF : Tensor of bool, shape (N, F)
    seen_NB : Tensor of bool, shape (N, B), or None
    unimaged_F : Tensor of bool, shape (F,)
        The bands without images (KiDS: those of VIKING).

    Returns
    -------
    Tensor of int64, shape (N,)
        Of the bands: 0 all there, 1 + i only band i missing, F + 1 just those without images missing, F + 2 others,
        F + 3 none there; and F + 4 more where an image band is missing, twice that where all are.
    """
    bands = missing_NF.shape[1]
    count_N = missing_NF.sum(dim=1)
    number_N = torch.where(count_N == 1, 1 + missing_NF.int().argmax(dim=1), torch.where(count_N == 0, 0, bands + 2))
    # Where just one band has no images, its absence has a number already.
    survey_N = (missing_NF == unimaged_F).all(dim=1) & (count_N > 1)
    number_N = torch.where(survey_N, bands + 1, number_N)
    # Last, for it overrides: with one band "only band i" and "none there" are the same galaxies.
    number_N = torch.where(count_N == bands, bands + 3, number_N)
    if seen_NB is None:
        return number_N
    image_N = torch.where(seen_NB.all(dim=1), 0, torch.where(seen_NB.any(dim=1), 1, 2))
    return number_N + (bands + 4) * image_N
