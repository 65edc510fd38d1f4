"""Weights as named arrays and back; arrays on a device."""

import numpy as np
import pytest
import torch
from torch import nn

from photoz.errors import EstimatorError
from photoz.estimators.tensors import put_weights, take_weights, to_tensor


def test_weights_come_back_by_name_and_others_are_passed_over() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    arrays = {**take_weights(first, "0."), "1.weight": np.zeros(1)}
    assert set(arrays) == {"0.weight", "0.bias", "1.weight"}
    assert put_weights(second, arrays, "0.") is second
    assert torch.equal(first.weight, second.weight)


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(EstimatorError, match="train the estimator again"):
        put_weights(nn.Linear(4, 2), take_weights(nn.Linear(3, 2)))


def test_a_read_only_array_is_copied_and_another_is_not() -> None:
    values = np.arange(3.0)
    tensor = to_tensor(values, torch.device("cpu"))
    values[0] = 7.0
    assert tensor[0] == 7.0
    values.flags.writeable = False
    to_tensor(values, torch.device("cpu"))[0] = 9.0
    assert values[0] == 7.0
