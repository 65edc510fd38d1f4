"""What networks are trained for: losses worked out by hand, weights, and views that are dropped."""

import math

import numpy as np
import pytest
import torch
from from_magnitudes import make_inputs, make_preparation
from torch import nn
from torch.nn import functional
from training_settings import make_settings

from photoz.estimators.density import BIN_REACH
from photoz.estimators.networks.batches import Batch, prepare_batch
from photoz.estimators.networks.hybrid import HybridEstimator
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import Head, MaskedNetwork
from photoz.estimators.networks.objectives import MaskedObjective, PaperObjective, autocast, get_masked
from photoz.estimators.networks.paper import PaperEstimator

CPU = torch.device("cpu")
BANDS = ("g", "r", "H")


class Says(nn.Module):
    """Gives the same number for every galaxy, and notes the images that it is shown."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.images: list[torch.Tensor] = []

    def forward(self, features_NF: torch.Tensor, images_NBYX: torch.Tensor | None = None) -> torch.Tensor:
        """Return the value for each row."""
        if images_NBYX is not None:
            self.images.append(images_NBYX)
        return self.value.expand(len(features_NF))


class Wrapped(nn.Module):
    """As DistributedDataParallel wraps a network."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        """Call what is wrapped."""
        return self.module(*args)


def make_batch(
    z: list[float], *, images: bool = False, weight: np.ndarray | None = None, kind: type = HybridEstimator
) -> Batch:
    rng = np.random.default_rng(0)
    magnitudes_NF = rng.normal(20, 1, (len(z), 3)).astype(np.float32)
    cutouts = rng.random((len(z), 2, 6, 6)).astype(np.float32) if images else None
    inputs = make_inputs(magnitudes_NF, 0.02, cutouts)
    preparation = make_preparation(kind, BANDS)
    return prepare_batch(inputs, np.array(z), preparation=preparation, device=CPU, weight_NK=weight)


def make_network(kind: str, *, members: int = 2, parts: int = 1, images: bool = False) -> MaskedNetwork:
    torch.manual_seed(0)
    network = MaskedNetwork(3, image_bands=2 * images, head=Head(kind, members, parts)).eval()
    with torch.no_grad():
        network.members.weights[-1].zero_()
        network.members.biases[-1].zero_()
        network.target_scale.copy_(torch.tensor([0.2, 0.1]))
    return network


def make_objective(kind: str, *, members: int = 2, parts: int = 1, images: bool = False, **settings) -> MaskedObjective:
    image_bands, size = (("g", "r"), 6) if images else ((), 0)
    layout = InputLayout(BANDS, image_bands, size, 0.2, Head(kind, members, parts), ("H",))
    return MaskedObjective(make_settings(**settings), layout)


@pytest.mark.parametrize(("off", "loss"), [(0.0, 0.0), (5e-5, 0.5 * 5e-5**2), (0.1, 1e-4 * (0.1 - 0.5e-4))])
def test_the_papers_loss_is_squared_within_delta_and_linear_beyond(off: float, loss: float) -> None:
    z = math.expm1(0.25)
    estimates, losses = PaperObjective(make_settings()).assess(
        Says(0.25 + off), make_batch([z, z], kind=PaperEstimator)
    )
    assert estimates.tolist() == pytest.approx([0.25 + off] * 2)
    assert losses.tolist() == pytest.approx([loss] * 2, rel=2e-2, abs=1e-12)


def test_the_papers_step_is_the_mean_over_turned_images() -> None:
    network, batch = Says(0.3), make_batch([0.1, 0.2, 0.3], images=True, kind=PaperEstimator)
    objective = PaperObjective(make_settings())
    loss = objective.compute_loss(network, batch, torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(objective.assess(network, batch)[1].mean().item())
    turned, whole = network.images
    # Flips and turns move pixels and change none.
    np.testing.assert_allclose(np.sort(turned.flatten(2).numpy()), np.sort(whole.flatten(2).numpy()))
    assert not torch.equal(turned, whole)


def test_a_point_member_has_the_absolute_error_over_the_spread() -> None:
    # ln(1 + z) lies half a spread above the mean of 0.2; the network says the mean. Less half of delta, 1e-4 / 0.1 / 2.
    batch = make_batch([math.expm1(0.25)] * 2)
    estimates, losses = make_objective("point", parts=0).assess(make_network("point", parts=0), batch)
    assert estimates.tolist() == pytest.approx([0.2] * 2)
    assert losses.tolist() == pytest.approx([0.5 - 0.0005] * 2, rel=1e-4)


@pytest.mark.parametrize("point_weight", [0.0, 1.0, 3.0])
def test_a_gaussian_member_has_its_negative_log_likelihood_beside_the_point(point_weight: float) -> None:
    batch = make_batch([math.expm1(0.25)])
    losses = make_objective("mixture", point_weight=point_weight).assess(make_network("mixture"), batch)[1]
    likelihood = 0.5 * math.log(2 * math.pi) + 0.5 * 0.5**2  # N(0, 1) at half a spread
    assert losses.tolist() == pytest.approx([likelihood + point_weight * 0.4995], rel=1e-4)


def test_a_binned_member_has_the_density_of_its_bin() -> None:
    batch = make_batch([math.expm1(0.25)])
    objective = make_objective("binned", parts=20, point_weight=0.0)
    losses = objective.assess(make_network("binned", parts=20), batch)[1]
    # Even over 20 bins: the density is one over all that they span.
    assert losses.tolist() == pytest.approx([math.log(2 * BIN_REACH)], rel=1e-5)


def test_a_step_weighs_whole_and_dropped_views() -> None:
    batch = make_batch([0.1, 0.2, 0.3, 0.4])
    torch.manual_seed(0)
    network = MaskedNetwork(3, head=Head("mixture", 2, 2)).eval()

    def compute(weight: float) -> float:
        objective = make_objective("mixture", parts=2, weight=weight, band=0.6)
        return objective.compute_loss(network, batch, torch.Generator().manual_seed(1)).item()

    # Without weight the poorer view does not count; of the means (a + w b) / (1 + w) two give the third.
    whole, equal, double = (compute(weight) for weight in (0.0, 1.0, 2.0))
    assert whole == pytest.approx(make_objective("mixture", parts=2).assess(network, batch)[1].mean().item(), rel=1e-5)
    poorer = 2 * equal - whole
    assert poorer != pytest.approx(whole)
    assert double == pytest.approx((whole + 2 * poorer) / 3, rel=1e-5)


def test_galaxies_count_in_each_member_as_they_are_weighed() -> None:
    z = [math.expm1(0.25), math.expm1(0.5)]
    objective, network = make_objective("point", parts=0), make_network("point", parts=0)
    alone = objective.assess(network, make_batch(z))[1]
    weight = np.array([[2.0, 0.0], [0.0, 1.0]], np.float32)
    loss = objective.compute_loss(network, make_batch(z, weight=weight), torch.Generator().manual_seed(1))
    # The first galaxy twice for the first member, the second once for the second: a mean over two galaxies and members.
    assert loss.item() == pytest.approx((2 * alone[0] + alone[1]).item() / 4, rel=1e-5)


def test_a_step_follows_its_generator_alone() -> None:
    batch = make_batch([0.1, 0.2, 0.3, 0.4], images=True)
    torch.manual_seed(0)
    network = MaskedNetwork(3, image_bands=2, head=Head("mixture", 2, 2)).eval()
    objective = make_objective("mixture", parts=2, images=True)
    losses = []
    for seed, noise in ((1, 0), (1, 9), (2, 0)):
        torch.manual_seed(noise)
        losses.append(objective.compute_loss(network, batch, torch.Generator().manual_seed(seed)).item())
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_magnitudes_of_dropped_image_bands_are_placed_by_name() -> None:
    layout = InputLayout(("u", "g", "H", "r"), ("r", "g"), 6, 0.2, Head("point", 1, 0), ("H",))
    dropped_NB = torch.tensor([[True, False], [False, True], [False, False]])
    found = MaskedObjective(make_settings(), layout)._find_unobserved(dropped_NB)
    assert np.argwhere(found).tolist() == [[0, 3], [1, 1]]


def test_a_wrapped_network_has_the_scale_of_what_it_wraps() -> None:
    network = make_network("mixture")
    assert get_masked(Wrapped(network)) is network
    assert get_masked(network) is network
    batch = make_batch([0.1, 0.3])
    objective = make_objective("mixture")
    torch.testing.assert_close(objective.assess(Wrapped(network), batch), objective.assess(network, batch))


def test_bfloat16_is_of_the_network_alone_and_losses_stay_single() -> None:
    batch = make_batch([0.1])
    with autocast(batch, "bfloat16"):
        assert functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(batch, "float32"):
        assert functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype == torch.float32
    objective = make_objective("mixture", precision="bfloat16")
    estimates, losses = objective.assess(make_network("mixture"), batch)
    assert (estimates.dtype, losses.dtype) == (torch.float32, torch.float32)


def test_no_galaxies_have_no_losses() -> None:
    assert make_objective("mixture").assess(make_network("mixture"), make_batch([]))[1].shape == (0,)
