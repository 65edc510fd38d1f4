"""One pass over the training galaxies, one over the validation galaxies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from photoz.config import Training
from photoz.metrics import compute_dz, compute_r2, compute_smad
from photoz.training.batches import Batch, augment

ADAM_BETAS = (0.9, 0.999)


def make_optimizer(network: nn.Module, settings: Training) -> Adam:
    """Make Adam (Kingma & Ba 2015, arXiv:1412.6980) with the settings' learning rate and epsilon."""
    return Adam(network.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS, eps=settings.adam_epsilon)


def make_schedule(optimizer: Adam, settings: Training) -> LambdaLR:
    """Make the learning rate fall continuously by ``settings.decay`` each ``settings.decay_steps`` steps."""
    return LambdaLR(optimizer, lambda step: settings.decay ** (step / settings.decay_steps))


@dataclass(frozen=True)
class LossSum:
    """Sum of the loss over some galaxies; sums of different workers add up."""

    loss: float
    galaxies: int

    @property
    def mean(self) -> float:
        """Loss a galaxy."""
        return self.loss / max(self.galaxies, 1)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Estimated and true ln(1 + z) of the validation galaxies, float64, shape (N,); those of workers concatenate."""

    estimate_N: npt.NDArray[np.float64]
    target_N: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.target_N)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put the predictions of several workers together."""
        estimates, targets = [part.estimate_N for part in parts], [part.target_N for part in parts]
        return cls(np.concatenate(estimates), np.concatenate(targets))

    def compute_metrics(self, huber_delta: float) -> dict[str, float]:
        """Return loss, MSE, MAE and R² of z, and SMAD of dz = (z_phot - z_spec) / (1 + z_spec)."""
        error_N = np.abs(self.estimate_N - self.target_N)
        loss_N = np.where(error_N <= huber_delta, error_N**2 / 2, huber_delta * (error_N - huber_delta / 2))
        z_phot_N, z_spec_N = np.expm1(self.estimate_N), np.expm1(self.target_N)
        return {
            "valid_loss": float(loss_N.mean()),
            "smad": float(compute_smad(compute_dz(z_phot_N, z_spec_N))),
            "r2": float(compute_r2(z_phot_N, z_spec_N)),
            "mse": float(np.mean((z_phot_N - z_spec_N) ** 2)),
            "mae": float(np.mean(np.abs(z_phot_N - z_spec_N))),
        }


def _forward(network: nn.Module, features_NF: Tensor, images_NBYX: Tensor | None, precision: str) -> Tensor:
    device = features_NF.device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        estimate_N: Tensor = network(features_NF, images_NBYX)
    return estimate_N.float()


def train_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    optimizer: Adam,
    schedule: LambdaLR,
    *,
    settings: Training,
    generator: torch.Generator,
) -> LossSum:
    """Train on each batch once: Huber loss on ln(1 + z), images flipped and turned.

    Parameters
    ----------
    network : torch.nn.Module
        `HybridNetwork`, also wrapped for distributed training.
    batches : iterable of Batch
        At least two galaxies each (batch normalisation needs them).
    optimizer, schedule
        From `make_optimizer` and `make_schedule`; one step a batch.
    settings : Training
        ``huber_delta`` and ``precision`` are read.
    generator : torch.Generator
        Decides the turns.

    Returns
    -------
    LossSum
    """
    network.train()
    total = torch.zeros((), dtype=torch.float64)
    galaxies = 0
    for batch in batches:
        images_NBYX = None if batch.images_NBYX is None else augment(batch.images_NBYX, generator)
        optimizer.zero_grad(set_to_none=True)
        estimate_N = _forward(network, batch.features_NF, images_NBYX, settings.precision)
        loss = functional.huber_loss(estimate_N, batch.target_N, delta=settings.huber_delta)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += loss.detach().cpu() * len(batch)
        galaxies += len(batch)
    return LossSum(total.item(), galaxies)


def validate(network: nn.Module, batches: Iterable[Batch], *, precision: str = "float32") -> Predictions:
    """Estimate the validation galaxies in evaluation mode; the network is left in that mode."""
    network.eval()
    estimates, targets = [np.empty(0)], [np.empty(0)]
    with torch.inference_mode():
        for batch in batches:
            estimate_N = _forward(network, batch.features_NF, batch.images_NBYX, precision)
            estimates.append(estimate_N.cpu().numpy().astype(np.float64))
            targets.append(batch.target_N.cpu().numpy().astype(np.float64))
    return Predictions(np.concatenate(estimates), np.concatenate(targets))
