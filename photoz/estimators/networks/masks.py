"""What the networks are told of a galaxy: magnitudes, and bits for what is missing. In torch, on their device."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from photoz.photometry import Magnitudes, MagnitudeScaling


@dataclass(frozen=True, eq=False)
class Filling:
    """How missing magnitudes are filled from neighbouring bands, on a device; see `fill_missing_magnitudes`.

    Parameters
    ----------
    spread_F, offset_F : Tensor of float32, shape (F,)
        A standardised magnitude times the spread plus the offset is the galaxy's level, which all bands share but for
        its colours.
    """

    spread_F: Tensor
    offset_F: Tensor

    @classmethod
    def make(cls, scaling: MagnitudeScaling, device: torch.device) -> Self:
        """Derive it from the scaling."""
        # The same rule as `photoz.photometry.fill_missing_magnitudes`, once more in torch: bands are dropped on the
        # device, at each step, and have to be filled there.
        steps_F = np.concatenate([[0.0], np.cumsum(scaling.differences)])
        values = (scaling.std_F, scaling.mean_F - steps_F)
        return cls(*(torch.from_numpy(value.astype(np.float32)).to(device) for value in values))

    def fill(self, values_NF: Tensor) -> Tensor:
        """Fill standardised magnitudes; 0, the training galaxies' mean, in a row that has none."""
        level_NF = values_NF * self.spread_F + self.offset_F
        left_NF, right_NF = _carry(level_NF), _carry(level_NF.flip(1)).flip(1)
        left_NF, right_NF = (
            torch.where(left_NF.isnan(), right_NF, left_NF),
            torch.where(right_NF.isnan(), left_NF, right_NF),
        )
        filled_NF = ((left_NF + right_NF) / 2 - self.offset_F) / self.spread_F
        # Measured values are not sent through the levels and back, which would round them.
        return torch.where(values_NF.isnan(), filled_NF, values_NF).nan_to_num(nan=0.0)


def _carry(values_NF: Tensor) -> Tensor:
    """Replace each NaN by the last value before it in its row."""
    columns_F = torch.arange(values_NF.shape[1], device=values_NF.device)
    # A NaN that none stands before finds column 0, itself a NaN then: it stays one.
    return values_NF.gather(1, torch.where(values_NF.isnan(), 0, columns_F).cummax(dim=1).values)


@dataclass(frozen=True, eq=False)
class Photometry:
    """Magnitudes of N galaxies, standardised.

    Parameters
    ----------
    values_NF : Tensor of float32, shape (N, F)
        NaN where there is none.
    not_detected_NF : Tensor of bool, shape (N, F)
        The band was observed and nothing was detected; any other NaN was not observed.
    filling : Filling
    """

    values_NF: Tensor
    not_detected_NF: Tensor
    filling: Filling

    @classmethod
    def prepare(
        cls,
        magnitudes: Magnitudes,
        scaling: MagnitudeScaling,
        device: torch.device,
    ) -> Self:
        """Standardise magnitudes.

        Parameters
        ----------
        magnitudes : Magnitudes
            Of the galaxies.
        scaling : MagnitudeScaling
            Of the training galaxies.
        device : torch.device
        """
        values_NF = torch.from_numpy(scaling.standardise(magnitudes.magnitudes_NF)).to(device)
        unseen_NF = torch.from_numpy(np.ascontiguousarray(magnitudes.not_detected_NF)).to(device)
        return cls(values_NF, unseen_NF, Filling.make(scaling, device))

    def drop(self, dropped_NF: Tensor) -> Self:
        """Return the same galaxies as if some of their bands had not been observed."""
        values_NF = torch.where(dropped_NF, torch.nan, self.values_NF)
        # A band that was not observed cannot have gone undetected.
        return replace(self, values_NF=values_NF, not_detected_NF=self.not_detected_NF & ~dropped_NF)


def encode(photometry: Photometry, seen_NB: Tensor | None) -> Tensor:
    """Make the features of `photoz.estimators.networks.network.MaskedNetwork`.

    Parameters
    ----------
    photometry : Photometry
    seen_NB : Tensor of bool, shape (N, B), or None
        Image bands that hold a pixel; None for a network without images.

    Returns
    -------
    Tensor of float32, shape (N, 3 F) or (N, 3 F + 1 + B)
        Magnitudes (missing ones filled, which is better than 0: docs/benchmarks/pdf.md), a bit for each that is
        missing, a bit for each of these that was observed and not detected, a bit for an image, a bit for each of its
        bands.
    """
    missing_NF = photometry.values_NF.isnan()
    # A bit of not detected beside a magnitude contradicts it, and is left out.
    parts = [photometry.filling.fill(photometry.values_NF), missing_NF, photometry.not_detected_NF & missing_NF]
    if seen_NB is not None:
        # `MaskedNetwork.present` counts on this place: the bit for an image first, then its bands.
        parts += [seen_NB.any(dim=1, keepdim=True), seen_NB]
    return torch.cat([part.to(photometry.values_NF.dtype) for part in parts], dim=1)


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
