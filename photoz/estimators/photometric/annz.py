"""A committee of small networks in the manner of ANNz2, the baseline of the paper: `AnnzEstimator`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample
from photoz.estimators.photometric.fcnn import Fcnn
from photoz.estimators.photometric.fitting import (
    Recipe,
    fit_network,
    fit_scaling,
    fit_target,
    make_defaults,
    predict,
    standardise,
)
from photoz.estimators.tensors import choose_device, put_weights, take_weights
from photoz.photometry import Floats, MagnitudeScaling

RECIPE = Recipe(optimizer="adam", learning_rate=1e-3, batch_size=256, max_epochs=50, patience=6)
_INPUTS = ("magnitudes", "colours", "errors")
_SIZES = ("wide", "even", "narrow")


@dataclass(frozen=True)
class Member:
    """One network of the committee: what it reads, and the units of its hidden layers."""

    inputs: str
    hidden: tuple[int, ...]


def plan_members(bands: int, count: int, seed: int) -> list[Member]:
    """Draw the members: inputs and sizes vary, as in ANNz2's randomised regression.

    Sizes follow the number of bands N, as ANNz2's do: (2N, N), (N + 5, N + 5) or (N + 10, N), each times two.

    Parameters
    ----------
    bands, count : int
        Of bands, and of members.
    seed : int
    """
    rng = np.random.default_rng(seed)
    sizes = {
        "wide": (4 * bands, 2 * bands),
        "even": (2 * bands + 10, 2 * bands + 10),
        "narrow": (2 * bands + 20, 2 * bands),
    }
    # Sizes come by chance and inputs in turn, so that all three inputs are tried whatever the seed.
    inputs = [_INPUTS[i % len(_INPUTS)] for i in range(count)]
    return [Member(kind, sizes[_SIZES[rng.integers(len(_SIZES))]]) for kind in inputs]


def make_inputs(
    kind: str, magnitudes_NF: Floats, errors_NF: Floats, scaling: MagnitudeScaling
) -> npt.NDArray[np.float32]:
    """Return what a member reads.

    Parameters
    ----------
    kind : {"magnitudes", "colours", "errors"}
        Scaled magnitudes alone, with colours of neighbouring bands, or with logarithms of errors.
    magnitudes_NF, errors_NF : ndarray of float, shape (N, F)
        [mag(AB)] NaN where there is none: filled from the neighbouring bands; an unknown error counts as 0.1 mag.
    scaling : MagnitudeScaling

    Returns
    -------
    ndarray of float32, shape (N, I)
    """
    # Filling leaves NaN only in a row without any magnitude, which the callers leave out; 0 is the mean of the band.
    scaled_NF = np.nan_to_num(scaling.apply(magnitudes_NF))
    if kind == "magnitudes":
        return scaled_NF
    if kind == "colours":
        # Neighbouring magnitudes rise and fall together, so the differences of the scaled ones are much smaller than
        # these.
        return np.column_stack([scaled_NF, 4.0 * np.diff(scaled_NF, axis=1)]).astype(np.float32)
    # The 1 makes 0.1 mag come out as 0, which nan_to_num also gives where the error is not known.
    known_NF = np.nan_to_num(np.log10(np.clip(errors_NF, 1e-3, 10.0)) + 1.0)
    return np.column_stack([scaled_NF, known_NF]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Committee:
    """The members that were kept, each with what it reads."""

    scaling: MagnitudeScaling
    members: Sequence[tuple[str, torch.nn.Module]]


class AnnzEstimator(PhotometricEstimator[Committee]):
    """Several shallow networks with different seeds, inputs and sizes; the best by held-out error are averaged.

    References
    ----------
    Sadeh, Abdalla & Lahav 2016, PASP 128, 104502 (ANNz2: ensembles of networks with randomised settings, ranked on
    held-out galaxies and combined). Its trees, p(z) and weights by nearest neighbours are left out.
    """

    name: ClassVar[str] = "annz"
    DEFAULTS: ClassVar[dict[str, Any]] = {**make_defaults(RECIPE), "members": 9, "kept": 5}
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "torch")

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        scaling, target = fit_scaling(sample), fit_target(sample.z_N)
        recipe = Recipe(**{key: settings[key] for key in Recipe.__dataclass_fields__})
        fitted = []
        members = plan_members(len(sample.bands), settings["members"], seed)
        for i, member in enumerate(members):
            parts = [
                (
                    make_inputs(member.inputs, part.magnitudes.magnitudes_NF, part.magnitudes.errors_NF, scaling),
                    standardise(part.z_N, target),
                )
                # The same seed for all members: their losses can be ranked only on the same galaxies.
                for part in sample.split(settings["held_out"], seed)
            ]
            # A fit must not move the random numbers of whoever called it; the seed differs so that members of one size
            # differ.
            with torch.random.fork_rng():
                torch.manual_seed(seed + i)
                network = Fcnn(parts[0][0].shape[1], member.hidden)
                label = f"annz: member {i + 1} of {len(members)}"
                loss = fit_network(network, parts[0], parts[1], recipe=recipe, seed=seed + i, label=label)
            fitted.append((loss, member, take_weights(network, "")))
        # By the loss alone: members with equal losses would else be compared themselves, which have no order.
        fitted.sort(key=lambda entry: entry[0])
        kept = fitted[: settings["kept"]]
        chosen = [[member.inputs, list(member.hidden)] for _, member, _ in kept]
        shares = _weigh([loss for loss, _, _ in kept])
        arrays = {**_gather_arrays([weights for _, _, weights in kept], scaling), "target": target}
        return Parts(sample.bands, {**settings, "chosen": chosen, "weights": shares.tolist()}, arrays)

    @classmethod
    def _make_model(cls, parts: Parts) -> Committee:
        scaling = {key: parts.arrays[key].tolist() for key in ("mean", "std", "band_differences")}
        members = []
        for i, (kind, hidden) in enumerate(parts.settings["chosen"]):
            # How many features a member reads follows from its kind and the bands; its first layer says it without
            # either.
            first = parts.arrays[f"{i}.layers.0.weight"]
            # Its first weights are drawn, and replaced at once: no reason to move the caller's random numbers.
            with torch.random.fork_rng():
                fresh = Fcnn(first.shape[1], tuple(hidden))
            network = put_weights(fresh, parts.arrays, f"{i}.")
            members.append((kind, network.to(choose_device()).eval()))
        return Committee(MagnitudeScaling.from_dict(scaling), members)

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        values = [
            predict(network, make_inputs(kind, magnitudes_NF, errors_NF, self._model.scaling))
            for kind, network in self._model.members
        ]
        mean, spread = self.parts.arrays["target"]
        weights = np.asarray(self.parts.settings["weights"])
        return np.asarray(np.expm1(np.tensordot(weights, np.stack(values), axes=1) * spread + mean))


def _gather_arrays(
    members: Sequence[Mapping[str, npt.NDArray[Any]]], scaling: MagnitudeScaling
) -> dict[str, npt.NDArray[Any]]:
    """Gather the scaling and the members' weights, each under its member's number."""
    arrays = {key: np.array(values) for key, values in scaling.to_dict().items()}
    for i, weights in enumerate(members):
        arrays |= {f"{i}.{key}": values for key, values in weights.items()}
    return arrays


def _weigh(losses: Sequence[float]) -> npt.NDArray[np.float64]:
    """Weights of the members: the inverse of their held-out squared errors, to a sum of 1."""
    # A loss of 0, possible with a few held-out galaxies, would take all the weight and divide by 0.
    inverse = np.array([1.0 / max(loss, 1e-9) for loss in losses])
    return np.asarray(inverse / inverse.sum())
