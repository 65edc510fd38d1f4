"""How the small networks are fitted: one loop for all of them, and the estimator that wraps a fitted one."""

import copy
import logging
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample
from photoz.estimators.tensors import choose_device, put_weights, take_weights
from photoz.photometry import Floats, MagnitudeScaling, MagnitudeSums
from photoz.telemetry import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted.

    Parameters
    ----------
    optimizer : str
        "adam", "adamw" or "rmsprop".
    learning_rate, weight_decay : float
    batch_size : int
    max_epochs, patience : int
        Stop after ``patience`` epochs without a better validation loss; the best epoch's weights are kept.
    loss : str
        "mse" or "huber" (delta 0.1), of the standardised ln(1 + z).
    """

    optimizer: Literal["adam", "adamw", "rmsprop"]
    learning_rate: float
    batch_size: int
    weight_decay: float = 0.0
    max_epochs: int = 100
    patience: int = 10
    loss: Literal["mse", "huber"] = "mse"


def make_defaults(recipe: Recipe) -> dict[str, str | float]:
    """Return what a network's ``fit`` takes: the fields of its recipe, and the fraction of rows held out."""
    return {**asdict(recipe), "held_out": 0.15}


def fit_scaling(sample: Sample) -> MagnitudeScaling:
    """Fit means, spreads and band differences to a sample's magnitudes."""
    sums = MagnitudeSums.empty(len(sample.bands)).add(sample.magnitudes.magnitudes_NF)
    return MagnitudeScaling.fit(sums, sample.bands)


def fit_target(z_N: Floats) -> Floats:
    """Return mean and spread of ln(1 + z), by which targets are standardised."""
    y_N = np.log1p(z_N)
    # Redshifts that are all alike have no spread, and dividing by 0 would make every target NaN.
    return np.array([y_N.mean(), y_N.std() or 1.0])


def standardise(z_N: Floats, target: Floats) -> Floats:
    """Return ln(1 + z) in units of a target's spread, from its mean on."""
    return np.asarray((np.log1p(z_N) - target[0]) / target[1])


def fit_network(
    network: nn.Module,
    train: tuple[Floats, Floats],
    valid: tuple[Floats, Floats],
    *,
    recipe: Recipe,
    seed: int,
    label: str = "network",
) -> float:
    """Fit a network in place.

    Parameters
    ----------
    network : torch.nn.Module
        From features (N, F) to one value (N,).
    train, valid : tuple of ndarray
        Features of shape (N, F) and targets of shape (N,).
    recipe : Recipe
    seed : int
        Of the order of the rows; initial weights and dropout follow torch's own seed.
    label : str
        What it is called in the log.

    Returns
    -------
    float
        The lowest validation loss, whose weights the network has at the end.
    """
    features, targets = _to_tensors(train)
    held = _to_tensors(valid)
    network.to(features.device)
    optimizer = _make_optimizer(network, recipe)
    measure = nn.MSELoss() if recipe.loss == "mse" else nn.HuberLoss(delta=0.1)
    # A generator of its own: dropout draws from torch's global one, and must not change the order of the rows.
    generator = torch.Generator().manual_seed(seed)
    # The first weights count as well: where every loss is NaN, which is below no number, they are what is left.
    best, best_state, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
    batches = -(-len(targets) // recipe.batch_size)
    progress = Progress(logger, f"{label}: step", recipe.max_epochs * batches)
    for epoch in range(recipe.max_epochs):
        network.train()
        # Drawn on the CPU, so that a seed gives the same order with and without a GPU.
        order = torch.randperm(len(targets), generator=generator)
        for batch, rows in enumerate(torch.split(order, recipe.batch_size)):
            progress.tell(epoch * batches + batch)
            if len(rows) == 1 and len(targets) > 1:  # batch normalisation cannot learn from one row
                continue
            optimizer.zero_grad()
            measure(network(features[rows]), targets[rows]).backward()
            optimizer.step()
        loss = _measure(network, held, measure)
        # A deep copy, since state_dict gives the very tensors that the next step changes.
        best, best_state, waited = (
            (loss, copy.deepcopy(network.state_dict()), 0) if loss < best else (best, best_state, waited + 1)
        )
        if waited >= recipe.patience:
            break
    # Into the mode of estimating, too: `predict` asks for no mode, and dropout would make its values random.
    network.load_state_dict(best_state)
    network.eval()
    return best


def predict(network: nn.Module, features_NF: Floats, *, rows: int = 8192) -> npt.NDArray[np.float64]:
    """Return a network's values for the features, float64, shape (N,).

    Parameters
    ----------
    network : torch.nn.Module
        From features (N, F) to one value (N,).
    features_NF : ndarray of float, shape (N, F)
    rows : int
        At a time.
    """
    # Rows go to the device a block at a time: a catalogue's features need not fit a GPU beside the network.
    device = next(network.parameters()).device
    values = torch.from_numpy(np.ascontiguousarray(features_NF, dtype=np.float32))
    with torch.inference_mode():
        # float64 before the targets' scale and expm1 are applied, which would else round a second time.
        blocks = [network(block.to(device)).double().cpu() for block in torch.split(values, rows)]
    return torch.cat(blocks).numpy() if blocks else np.empty(0)


@dataclass(frozen=True, eq=False)
class SmallNetwork:
    """A fitted network on standardised magnitudes, with the scales of what goes in and comes out."""

    scaling: MagnitudeScaling
    network: nn.Module


class SmallNetworkEstimator(PhotometricEstimator[SmallNetwork]):
    """Base of estimators that are one small network on standardised magnitudes, missing ones filled from neighbours."""

    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "torch")

    @staticmethod
    @abstractmethod
    def make_network(bands: int) -> nn.Module:
        """Build the network, from (N, bands) to (N,), with fresh weights."""

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        scaling, target = fit_scaling(sample), fit_target(sample.z_N)
        parts = (
            (scaling.apply(part.magnitudes.magnitudes_NF), standardise(part.z_N, target))
            for part in sample.split(settings["held_out"], seed)
        )
        # Seeds torch for initial weights and dropout, and leaves the caller's random numbers as they were.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = cls.make_network(len(sample.bands))
            recipe = Recipe(**{key: settings[key] for key in Recipe.__dataclass_fields__})
            loss = fit_network(network, *parts, recipe=recipe, seed=seed, label=cls.name)
        arrays = {f"scaling.{key}": np.array(values) for key, values in scaling.to_dict().items()}
        arrays |= {"target": target, **take_weights(network)}
        return Parts(sample.bands, {**settings, "validation_loss": loss}, arrays)

    @classmethod
    def _make_model(cls, parts: Parts) -> SmallNetwork:
        scaling = {key: parts.arrays[f"scaling.{key}"].tolist() for key in ("mean", "std", "band_differences")}
        # Built first and filled then: what is read from disk is numbers, and never code that would be run. The weights
        # that it is built with are drawn, which must not move the caller's random numbers.
        with torch.random.fork_rng():
            fresh = cls.make_network(len(parts.bands))
        network = put_weights(fresh, parts.arrays).to(choose_device()).eval()
        return SmallNetwork(MagnitudeScaling.from_dict(scaling), network)

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        mean, spread = self.parts.arrays["target"]
        y_N = predict(self._model.network, self._model.scaling.apply(magnitudes_NF))
        return np.asarray(np.expm1(y_N * spread + mean))


def _to_tensors(pair: tuple[Floats, Floats]) -> tuple[Tensor, Tensor]:
    features, targets = (torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for values in pair)
    # The whole sample lies on the device, 24 bytes a galaxy of five bands, which spares a copy at each step.
    return features.to(choose_device()), targets.to(choose_device())


def _make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    optimizer: torch.optim.Optimizer = kinds[recipe.optimizer](
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    return optimizer


def _measure(network: nn.Module, held: tuple[Tensor, Tensor], measure: nn.Module) -> float:
    network.eval()
    with torch.inference_mode():
        return float(measure(network(held[0]), held[1]))
