"""What a network is trained for: the paper's point estimate, or densities that do without whatever is missing."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from photoz.estimators.density import compute_binned_loss, compute_mixture_loss
from photoz.estimators.mlp.lacking import Mask
from photoz.estimators.networks.batches import Batch, augment, shift_images
from photoz.estimators.networks.dropping import drop_image_bands, drop_inputs
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.masks import encode
from photoz.estimators.networks.network import MaskedNetwork
from photoz.training.settings import Training


class Objective(Protocol):
    """How a network learns from a batch, and how it is judged."""

    def compute_loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the mean loss of a training step.

        Parameters
        ----------
        network : torch.nn.Module
            Of the objective's layout, also wrapped for distributed training.
        batch : Batch
        generator : torch.Generator
            On the CPU; decides everything random.
        """

    def assess(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return estimates of ln(1 + z) and losses, shape (N,) each, of galaxies as they are."""


@dataclass(frozen=True)
class PaperObjective:
    """Huber loss on ln(1 + z), images flipped and turned (arXiv 2312.08043)."""

    settings: Training

    def compute_loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """See `Objective`."""
        images_NBYX = None if batch.images_NBYX is None else augment(batch.images_NBYX, generator)
        return self._measure(self._estimate(network, batch, images_NBYX), batch).mean()

    def assess(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        # As they are and not turned: a validation loss that changed by chance would end trainings by chance.
        estimate_N = self._estimate(network, batch, batch.images_NBYX)
        return estimate_N, self._measure(estimate_N, batch)

    def _estimate(self, network: nn.Module, batch: Batch, images_NBYX: Tensor | None) -> Tensor:
        with autocast(batch, self.settings.schedule.precision):
            estimate_N: Tensor = network(batch.photometry, images_NBYX)
        # Before the loss: its delta of 1e-4 is far below what bfloat16 tells apart.
        return estimate_N.float()

    def _measure(self, estimate_N: Tensor, batch: Batch) -> Tensor:
        return functional.huber_loss(estimate_N, batch.target_N, delta=self.settings.loss.huber_delta, reduction="none")


@dataclass(frozen=True)
class MaskedObjective:
    """Negative log likelihood of each member's density and Huber loss of its point, of each galaxy twice.

    Once as it is, once with inputs dropped at random (`.dropping`). The image branch, most of the work,
    sees each image once.
    """

    settings: Training
    layout: InputLayout

    def compute_loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """See `Objective`."""
        settings, images_NBYX, seen_NB = self.settings, batch.images_NBYX, batch.seen_NB
        if images_NBYX is not None and seen_NB is not None:
            images_NBYX = augment(images_NBYX, generator)
            images_NBYX = shift_images(images_NBYX, generator)
            # From the whole galaxies too, which share the branch's work with the poorer ones: one image serves both.
            images_NBYX, seen_NB = drop_image_bands(
                images_NBYX,
                seen_NB,
                chance=settings.dropped.image_band,
                generator=generator,
                together_B=torch.tensor(self.layout.find_partial(), device=seen_NB.device),
            )
        unimaged_F = np.array(self.layout.find_unimaged(), dtype=bool)
        observed = batch.photometry
        if batch.seen_NB is not None and seen_NB is not None:
            # A survey that has no image in a band has no magnitude there either; only the poorer view is told so.
            observed = observed.drop(self._find_unobserved(batch.seen_NB & ~seen_NB))
        poorer = drop_inputs(observed, seen_NB, settings=settings.dropped, unimaged_F=unimaged_F, generator=generator)
        # Whole galaxies first: `chunk` below takes the losses apart by that.
        device = batch.target_N.device
        features_MF = torch.cat([encode(batch.photometry, seen_NB, device), encode(*poorer, device)])
        raw_MKP = self._run(network, batch, features_MF, images_NBYX)
        losses_MK = self._measure(network, raw_MKP, batch.target_N.repeat(2))
        if batch.weight_NK is not None:
            # Both views of a galaxy have its weight: a member is trained without the galaxy or with it.
            losses_MK = losses_MK * batch.weight_NK.repeat(2, 1)
        whole, dropped = losses_MK.chunk(2)
        weight = settings.dropped.weight
        return (whole.mean() + weight * dropped.mean()) / (1 + weight)

    def assess(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        features_NF = encode(batch.photometry, batch.seen_NB, batch.target_N.device)
        raw_NKP = self._run(network, batch, features_NF, batch.images_NBYX)
        scale = get_masked(network).target_scale
        # The history's SMAD is of this mean of the members' points; `estimate` gives the local median of the density.
        estimate_N = scale[0] + scale[1] * raw_NKP[..., 0].mean(dim=1)
        return estimate_N, self._measure(network, raw_NKP, batch.target_N).mean(dim=1)

    def _find_unobserved(self, dropped_NB: Tensor) -> Mask:
        """Find the magnitudes of image bands that were dropped, shape (N, F): the band may not have been observed."""
        place_B = [self.layout.bands.index(band) for band in self.layout.image_bands]
        unobserved_NF = np.zeros((len(dropped_NB), len(self.layout.bands)), dtype=bool)
        unobserved_NF[:, place_B] = dropped_NB.cpu().numpy()
        return unobserved_NF

    def _run(self, network: nn.Module, batch: Batch, features_MF: Tensor, images_NBYX: Tensor | None) -> Tensor:
        with autocast(batch, self.settings.schedule.precision):
            raw_MKP: Tensor = network(features_MF, images_NBYX)
        return raw_MKP.float()

    def _measure(self, network: nn.Module, raw_MKP: Tensor, target_M: Tensor) -> Tensor:
        """Return the loss of each galaxy and member, shape (M, K)."""
        scale = get_masked(network).target_scale
        y_M = (target_M - scale[0]) / scale[1]
        # From ln(1 + z) to the targets' units. Over delta, the loss far from 0 is the absolute error, of the size of a
        # likelihood's.
        delta = self.settings.loss.huber_delta / float(scale[1])
        point_MK = raw_MKP[..., 0]
        loss_MK = functional.huber_loss(point_MK, y_M[:, None].expand_as(point_MK), delta=delta, reduction="none")
        loss_MK = self.settings.loss.point_weight * loss_MK / delta
        match self.layout.head.kind if self.layout.head else "point":
            case "mixture":
                loss_MK = loss_MK + compute_mixture_loss(raw_MKP[..., 1:], y_M)
            case "binned":
                loss_MK = loss_MK + compute_binned_loss(raw_MKP[..., 1:], y_M)
        return loss_MK


def get_masked(network: nn.Module) -> MaskedNetwork:
    """Return the network itself, out of what wraps it for distributed training."""
    # DistributedDataParallel keeps the network as `module`, and passes none of its attributes on.
    return cast(MaskedNetwork, getattr(network, "module", network))


def autocast(batch: Batch, precision: str) -> Any:
    """Return the context in which the network computes in that precision."""
    return torch.autocast(batch.target_N.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
