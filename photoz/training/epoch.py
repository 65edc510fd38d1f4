"""One pass over the training galaxies, one over the validation galaxies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from photoz.estimators.networks.batches import Batch
from photoz.estimators.networks.objectives import Objective
from photoz.metrics import compute_dz, compute_r2, compute_smad
from photoz.training.settings import Schedule

ADAM_BETAS = (0.9, 0.999)


def make_optimizer(network: nn.Module, settings: Schedule) -> Adam:
    """Make Adam (Kingma & Ba 2015, arXiv:1412.6980) with the settings' learning rate and epsilon."""
    return Adam(network.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS, eps=settings.adam_epsilon)


def make_schedule(optimizer: Adam, settings: Schedule) -> LambdaLR:
    """Make the learning rate fall continuously by ``settings.decay`` each ``settings.decay_steps`` steps."""
    # LambdaLR saves its step and no lambda: a resumed training has the settings' decay, at the step where it was.
    return LambdaLR(optimizer, lambda step: settings.decay ** (step / settings.decay_steps))


@dataclass(frozen=True)
class LossSum:
    """Sum of the loss over some galaxies; sums of different workers add up."""

    loss: float
    galaxies: int

    @property
    def mean(self) -> float:
        """Loss a galaxy."""
        # A worker may have had no galaxy.
        return self.loss / max(self.galaxies, 1)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Estimated and true ln(1 + z) of the validation galaxies and their losses, float64, shape (N,)."""

    estimate_N: npt.NDArray[np.float64]
    target_N: npt.NDArray[np.float64]
    loss_N: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.target_N)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Put the predictions of several workers together."""
        names = ("estimate_N", "target_N", "loss_N")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def compute_metrics(self) -> dict[str, float]:
        """Return loss, MSE, MAE and R² of z, and SMAD of dz = (z_phot - z_spec) / (1 + z_spec)."""
        z_phot_N, z_spec_N = np.expm1(self.estimate_N), np.expm1(self.target_N)
        return {
            "valid_loss": float(self.loss_N.mean()),
            "smad": float(compute_smad(compute_dz(z_phot_N, z_spec_N))),
            "r2": float(compute_r2(z_phot_N, z_spec_N)),
            "mse": float(np.mean((z_phot_N - z_spec_N) ** 2)),
            "mae": float(np.mean(np.abs(z_phot_N - z_spec_N))),
        }


def train_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    optimizer: Adam,
    schedule: LambdaLR,
    *,
    objective: Objective,
    generator: torch.Generator,
) -> LossSum:
    """Train on each batch once.

    Parameters
    ----------
    network : torch.nn.Module
        Of the objective's layout, also wrapped for distributed training.
    batches : iterable of Batch
        At least two galaxies each (batch normalisation needs them).
    optimizer, schedule
        From `make_optimizer` and `make_schedule`; one step a batch.
    objective : Objective
        From `make_objective`.
    generator : torch.Generator
        On the CPU; decides the turns of the images and what is dropped.

    Returns
    -------
    LossSum
    """
    # `validate` leaves the network in evaluation mode.
    network.train()
    total = torch.zeros((), dtype=torch.float64)
    galaxies = 0
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss = objective.compute_loss(network, batch, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        # Batches differ in size: the last one of an epoch would count too much in a mean of means.
        total += loss.detach().cpu() * len(batch)
        galaxies += len(batch)
    return LossSum(total.item(), galaxies)


def validate(network: nn.Module, batches: Iterable[Batch], *, objective: Objective) -> Predictions:
    """Estimate the validation galaxies in evaluation mode; the network is left in that mode.

    Parameters
    ----------
    network, objective
        As in `train_epoch`.
    batches : iterable of Batch
        None of them: predictions of no galaxy.
    """
    network.eval()
    # numpy concatenates no empty list: a worker without validation galaxies gives predictions of none.
    parts = [Predictions(np.empty(0), np.empty(0), np.empty(0))]
    with torch.inference_mode():
        for batch in batches:
            # Galaxy by galaxy and not as sums: SMAD is a median, which workers' figures cannot be added up to.
            values = (*objective.assess(network, batch), batch.target_N)
            estimate_N, loss_N, target_N = (value.cpu().numpy().astype(np.float64) for value in values)
            parts.append(Predictions(estimate_N, target_N, loss_N))
    return Predictions.concatenate(parts)
