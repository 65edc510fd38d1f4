"""The running average of a network's weights, which is better than any of them: mlp and the networks keep it."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def average_weights(network: nn.Module, most: float) -> AveragedModel:
    """Return a copy of a network that follows it: call its ``update_parameters`` with the network after each step.

    Parameters
    ----------
    network : torch.nn.Module
    most : float
        In 0..1: decay of the average once many steps are in it.
    """
    average = AveragedModel(network, multi_avg_fn=partial(_move, most=most))
    average.update_parameters(network)  # the first copies
    return average


@torch.no_grad()
def _move(averages: list[Tensor], parameters: list[Tensor], count: Tensor | int, *, most: float) -> None:
    """Move running averages towards the parameters: the sooner, the fewer steps are in them."""
    # With the full decay from the start the first weights, which are random, would count for hundreds of steps.
    done = int(count)
    torch._foreach_lerp_(averages, parameters, 1.0 - min(most, done / (9 + done)))
