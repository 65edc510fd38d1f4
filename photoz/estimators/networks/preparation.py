"""From what an estimator is given to what its network is shown, alike in training and in estimating.

Each estimator says which of these is its own (`NetworkEstimator.PREPARATION`): the paper's network reads magnitudes and
images as the paper has them, ours reads what mlp reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from photoz.estimators.base import Inputs
from photoz.estimators.networks.images import compress_cutouts
from photoz.estimators.networks.masks import Photometry
from photoz.estimators.networks.scaling import scale_cutouts
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.features import FluxFeatures
from photoz.estimators.photometric.fitting import fit_scaling
from photoz.estimators.tensors import to_tensor
from photoz.photometry import MagnitudeScaling
from photoz.schema import NO_IMAGE, Flag

_BANDWISE = int(Flag.EMPTY_CUTOUT)  # says that some band is empty; which, the pixels tell


class View(NamedTuple):
    """What a network is shown of N galaxies.

    Parameters
    ----------
    photometry : Tensor or Photometry
        As the network's preparation has it.
    images_NBYX : Tensor of float32, shape (N, B, Y, X) or (N, 2 B, Y, X), or None
        On the network's device, channels last; with their masks where the preparation gives some.
    seen_NB : Tensor of bool, shape (N, B), or None
        Image bands that hold a finite pixel.
    """

    photometry: Any
    images_NBYX: Tensor | None
    seen_NB: Tensor | None


class Preparation(Protocol):
    """How a network's inputs are prepared; fitted to the training galaxies and saved in the manifest."""

    @classmethod
    def fit(cls, sample: Sample) -> Self:
        """Fit to training galaxies."""

    def show(self, inputs: Inputs, device: torch.device) -> View:
        """Prepare what the network is shown; without images where there are no cutouts."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a manifest."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` returned."""


@dataclass(frozen=True, eq=False)
class PaperPreparation:
    """Standardised magnitudes, missing ones filled; images stretched between two percentiles (arXiv:2312.08043).

    The view's photometry is a Tensor of float32, shape (N, F); a galaxy without any magnitude is the mean galaxy.

    Parameters
    ----------
    scaling : MagnitudeScaling
    """

    scaling: MagnitudeScaling

    @classmethod
    def fit(cls, sample: Sample) -> Self:
        """See `Preparation`."""
        return cls(fit_scaling(sample))

    def show(self, inputs: Inputs, device: torch.device) -> View:
        """See `Preparation`."""
        # Filled here and not in the network, which takes magnitudes as numbers and has no input that says one was
        # filled.
        features_NF = np.nan_to_num(self.scaling.apply(inputs.magnitudes.magnitudes_NF), nan=0.0)
        images = (None, None) if inputs.cutouts_NBYX is None else scale_cutouts(to_tensor(inputs.cutouts_NBYX, device))
        return View(torch.from_numpy(features_NF).to(device), *images)

    def to_dict(self) -> dict[str, Any]:
        """See `Preparation`."""
        return self.scaling.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """See `Preparation`."""
        return cls(MagnitudeScaling.from_dict(values))


@dataclass(frozen=True, eq=False)
class FluxPreparation:
    """Fluxes, errors and colours as mlp reads them; images in units of their noise, with masks of what is missing.

    Images that the flags deny are emptied.

    The view's photometry is a `Photometry`.

    Parameters
    ----------
    features : FluxFeatures
    """

    features: FluxFeatures

    @classmethod
    def fit(cls, sample: Sample) -> Self:
        """See `Preparation`."""
        return cls(FluxFeatures.fit(sample))

    def show(self, inputs: Inputs, device: torch.device) -> View:
        """See `Preparation`."""
        photometry = Photometry(inputs.fluxes_NF, inputs.errors_NF, self.features)
        if inputs.cutouts_NBYX is None:
            return View(photometry, None, None)
        images_NBYX, seen_NB = compress_cutouts(to_tensor(inputs.cutouts_NBYX, device))
        there_N = torch.from_numpy((inputs.flags_N & (int(NO_IMAGE) & ~_BANDWISE)) == 0).to(device)
        # Emptied and not taken out, so that a row without an image changes no other row's value.
        images_NBYX[~there_N] = 0.0
        return View(photometry, images_NBYX, seen_NB & there_N.unsqueeze(1))

    def to_dict(self) -> dict[str, Any]:
        """See `Preparation`."""
        return self.features.to_dict()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """See `Preparation`."""
        return cls(FluxFeatures.from_arrays(values))
