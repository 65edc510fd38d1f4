"""One pass over the training galaxies, one over the validation galaxies."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from photoz.estimators.averaging import average_weights
from photoz.estimators.networks.batches import Batch
from photoz.estimators.networks.objectives import Objective
from photoz.metrics import compute_dz, compute_r2, compute_smad
from photoz.training.settings import Schedule

ADAM_BETAS = (0.9, 0.999)
_RISE = 0.1  # share of the steps in which the learning rate of a cosine rises
_START = 0.04  # of the greatest learning rate: where it starts


@dataclass(frozen=True, eq=False)
class Learner:
    """A network on its way: what each step changes.

    Parameters
    ----------
    network : torch.nn.Module
        As it is called in training, also wrapped for distributed training.
    bare : torch.nn.Module
        The same, out of what wraps it.
    optimizer : torch.optim.AdamW
    schedule : torch.optim.lr_scheduler.LambdaLR
    average : torch.optim.swa_utils.AveragedModel or None
        The running average of the weights.
    greatest_gradient : float
        A step's gradient is no longer than this; 0: whatever it is.
    """

    network: nn.Module
    bare: nn.Module
    optimizer: AdamW
    schedule: LambdaLR
    average: AveragedModel | None
    greatest_gradient: float

    @property
    def kept(self) -> nn.Module:
        """What is validated and kept: the average of the weights where there is one."""
        return self.bare if self.average is None else self.average.module

    def step(self, loss: Tensor) -> None:
        """Change the weights by the gradient of a loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.greatest_gradient:
            nn.utils.clip_grad_norm_(self.bare.parameters(), self.greatest_gradient)
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.bare)

    def to_dict(self) -> dict[str, Any]:
        """Return everything that a resumed training needs, as torch saves it."""
        states = {
            "network": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        return states if self.average is None else {**states, "average": self.average.state_dict()}

    def restore(self, content: Mapping[str, Any]) -> None:
        """Put everything back where `to_dict` found it; the network must be of the same shape."""
        self.bare.load_state_dict(content["network"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.schedule.load_state_dict(content["schedule"])
        if self.average is not None:
            self.average.load_state_dict(content["average"])


def make_learner(network: nn.Module, settings: Schedule, *, steps: int) -> Learner:
    """Make what a training changes.

    Parameters
    ----------
    network : torch.nn.Module
        Also wrapped for distributed training.
    settings : Schedule
    steps : int
        Of the whole training, over which a cosine falls.

    Notes
    -----
    AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), which without weight decay is Adam (Kingma & Ba 2015,
    arXiv:1412.6980).
    """
    # DistributedDataParallel keeps the network as `module`; a checkpoint must fit one worker as well as several.
    bare: nn.Module = getattr(network, "module", network)
    optimizer = AdamW(
        bare.parameters(),
        lr=settings.learning_rate,
        betas=ADAM_BETAS,
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )
    # LambdaLR saves its step and no lambda: a resumed training has the settings' shape, at the step where it was.
    schedule = LambdaLR(optimizer, partial(_scale_rate, settings=settings, steps=steps))
    average = average_weights(bare, settings.average) if settings.average else None
    return Learner(network, bare, optimizer, schedule, average, settings.greatest_gradient)


def _scale_rate(step: int, *, settings: Schedule, steps: int) -> float:
    """Return the learning rate at a step, in units of the greatest."""
    if settings.shape == "exponential":
        return float(settings.decay ** (step / settings.decay_steps))
    done = min(step / max(steps, 1), 1.0)
    if done < _RISE:
        return _START + (1 - _START) * 0.5 * (1 - math.cos(math.pi * done / _RISE))
    return 0.5 * (1 + math.cos(math.pi * (done - _RISE) / (1 - _RISE)))


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
    learner: Learner, batches: Iterable[Batch], *, objective: Objective, generator: torch.Generator
) -> LossSum:
    """Train on each batch once.

    Parameters
    ----------
    learner : Learner
        From `make_learner`; its network is of the objective's layout.
    batches : iterable of Batch
        At least two galaxies each (batch normalisation needs them).
    objective : Objective
        From `make_objective`.
    generator : torch.Generator
        On the CPU; decides the turns of the images and what is dropped.

    Returns
    -------
    LossSum
    """
    # `validate` leaves the network in evaluation mode.
    learner.network.train()
    total = torch.zeros((), dtype=torch.float64)
    galaxies = 0
    for batch in batches:
        loss = objective.compute_loss(learner.network, batch, generator)
        learner.step(loss)
        # Batches differ in size: the last one of an epoch would count too much in a mean of means.
        # Where the loss is: fetched at each step, it would have the host wait for the GPU each time.
        total = total.to(loss.device) + loss.detach() * len(batch)
        galaxies += len(batch)
    return LossSum(total.item(), galaxies)


def validate(network: nn.Module, batches: Iterable[Batch], *, objective: Objective) -> Predictions:
    """Estimate the validation galaxies in evaluation mode; the network is left in that mode.

    Parameters
    ----------
    network : torch.nn.Module
        Of the objective's layout: a learner's `kept`.
    objective : Objective
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
