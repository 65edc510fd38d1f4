"""Between arrays and torch: the device, tensors on it, and a network's weights as named arrays."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from photoz.errors import EstimatorError

N = TypeVar("N", bound=nn.Module)

PREFIX = "network."
"""Of the names of a network's weights among an estimator's arrays."""


def choose_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_tensor(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Put an array on a device; one that comes from Arrow is read-only, which torch warns about, and is copied."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(device)


def take_weights(network: nn.Module, prefix: str = PREFIX) -> dict[str, npt.NDArray[Any]]:
    """Return a network's weights as arrays, by name."""
    # state_dict holds buffers too: running means of batch normalisation, the scale of the targets.
    return {f"{prefix}{key}": value.detach().cpu().numpy() for key, value in network.state_dict().items()}


def put_weights(network: N, arrays: Mapping[str, npt.NDArray[Any]], prefix: str = PREFIX) -> N:
    """Put the arrays of `take_weights` into a network of the same shape and return it.

    Parameters
    ----------
    network : torch.nn.Module
        Its weights are overwritten.
    arrays : mapping of str to ndarray
        Others, whose names do not begin with the prefix, are passed over.
    prefix : str

    Raises
    ------
    EstimatorError
        Names or shapes do not fit.
    """
    # The prefix ends in a dot, so that "1." does not take the arrays of "10.".
    weights = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    try:
        # A copy: arrays that are read from bytes may be read-only, which torch warns about.
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    except RuntimeError as error:
        raise EstimatorError(f"weights do not fit the network ({error}): train the estimator again") from error
    return network
