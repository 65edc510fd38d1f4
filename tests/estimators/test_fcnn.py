"""The classroom project's network: its layers, and a row at a time."""

import numpy as np
import torch
from torch import nn

from photoz.estimators.photometric.fcnn import RECIPE, Fcnn, FcnnEstimator


def test_layers_and_weights_are_those_of_the_project() -> None:
    network = Fcnn(5)
    sizes = [(layer.in_features, layer.out_features) for layer in network.layers if isinstance(layer, nn.Linear)]
    assert sizes == [(5, 256), (256, 128), (128, 64), (64, 1)]
    assert sum(isinstance(layer, nn.ReLU) for layer in network.layers) == 3
    # Weights and biases of each layer, added up by hand.
    assert sum(values.numel() for values in network.parameters()) == 1_536 + 32_896 + 8_256 + 65


def test_the_last_layer_is_linear_and_takes_what_the_last_hidden_one_gives() -> None:
    network = Fcnn(3, (4,))
    features = torch.randn(6, 3)
    first, last = network.layers[0], network.layers[-1]
    expected = torch.relu(features @ first.weight.T + first.bias) @ last.weight.T + last.bias
    torch.testing.assert_close(network(features), expected[:, 0])


def test_one_galaxy_and_none_keep_their_axis() -> None:
    network = Fcnn(4)
    assert network(torch.zeros(1, 4)).shape == (1,)
    assert network(torch.zeros(0, 4)).shape == (0,)


def test_a_row_does_not_depend_on_the_others() -> None:
    network, features = (
        Fcnn(4).eval(),
        torch.from_numpy(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)),
    )
    torch.testing.assert_close(network(features)[[2]], network(features[[2]]), rtol=1e-5, atol=1e-6)


def test_settings_are_those_of_the_project_where_it_gives_them() -> None:
    assert FcnnEstimator.DEFAULTS["learning_rate"] == 1e-4
    assert FcnnEstimator.DEFAULTS["loss"] == "mse"
    assert FcnnEstimator.DEFAULTS["optimizer"] == RECIPE.optimizer == "adam"
    assert not FcnnEstimator.PDF
    assert FcnnEstimator.make_network(7).layers[0].in_features == 7
