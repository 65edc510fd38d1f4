"""The best photometry-only estimator here: an ensemble of mixture-density networks, `MlpEstimator`."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from photoz.estimators.base import Inputs
from photoz.estimators.features import FluxFeatures
from photoz.estimators.fitting import choose_device, pack_network, unpack_network
from photoz.estimators.mixtures import EnsembleRecipe, MixtureEnsemble, compute_density, compute_loss, find_local_median
from photoz.estimators.photometric import Floats, PhotometricEstimator, Sample, split_rows

_BLOCK = 2048  # galaxies a forward pass: their activations stay in the cache


class MlpEstimator(PhotometricEstimator):
    """Networks on asinh magnitudes, colours, errors and missing-band masks, each giving p(ln(1+z)) as a mixture.

    The estimate is a median of the mean of the members' densities that far peaks do not pull on. Every choice and what
    it is worth by validation is in docs/benchmarks/mlp-levers.md.

    References
    ----------
    Bishop 1994, Mixture density networks (Aston University NCRG/94/004); Lakshminarayanan et al. 2017, Deep ensembles
    (arXiv 1612.01474).
    """

    name: ClassVar[str] = "mlp"
    DEFAULTS: ClassVar[dict[str, Any]] = asdict(EnsembleRecipe())
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "torch")

    @classmethod
    def _fit(
        cls, sample: Sample, settings: dict[str, Any], seed: int
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[str, str]]:
        recipe = EnsembleRecipe(**settings)
        features = FluxFeatures.fit(sample)
        y_N = np.log1p(np.asarray(sample.z_N, dtype=np.float64))
        target = np.array([y_N.mean(), y_N.std() or 1.0])
        rng = np.random.default_rng(seed)

        def draw() -> npt.NDArray[np.float32]:
            return features.apply(drop_bands(sample.magnitudes_NF, recipe.band_dropout, rng), sample.errors_NF)

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = MixtureEnsemble(4 * len(sample.bands) - 1, recipe).to(choose_device())
            fit_ensemble(network, draw, ((y_N - target[0]) / target[1]).astype(np.float32), recipe=recipe)
        return settings, {**features.to_arrays(), "target": target, **pack_network(network)}, {}

    def _prepare(self) -> None:
        settings = {**self.parts.settings, "hidden": tuple(self.parts.settings["hidden"])}
        network = MixtureEnsemble(4 * len(self.bands) - 1, EnsembleRecipe(**settings))
        self._reach = float(settings["reach"]) / float(self.parts.arrays["target"][1])
        self._features = FluxFeatures.from_arrays(self.parts.arrays)
        self._network = unpack_network(network, self.parts.arrays).to(choose_device()).eval()

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        mean, spread = self.parts.arrays["target"]
        features = torch.from_numpy(self._features.apply(magnitudes_NF, errors_NF))
        with torch.inference_mode():
            mixtures = (self._mix(block) for block in torch.split(features, _BLOCK))
            values = [find_local_median(mixture, self._reach).double().cpu() for mixture in mixtures]
        return np.asarray(np.expm1(torch.cat(values).numpy() * spread + mean))

    def estimate_pdf(self, inputs: Inputs, z_grid: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Estimate the probability density of the redshift.

        Parameters
        ----------
        inputs : Inputs
            N galaxies.
        z_grid : array_like, shape (Z,)
            Redshifts, above -1.

        Returns
        -------
        ndarray of float32, shape (N, Z)
            Density in z; NaN in rows that have no magnitude.
        """
        self._check_shapes(inputs)
        z_Z = np.asarray(z_grid, dtype=np.float64)
        mean, spread = self.parts.arrays["target"]
        grid = torch.from_numpy(((np.log1p(z_Z) - mean) / spread).astype(np.float32)).to(choose_device())
        jacobian_Z = (1.0 / (spread * (1.0 + z_Z))).astype(np.float32)
        usable = np.flatnonzero(np.isfinite(inputs.magnitudes_NF).any(axis=1))
        pdf_NZ = np.full((len(inputs), len(z_Z)), np.nan, dtype=np.float32)
        for rows in split_rows(usable, 256):
            features = self._features.apply(inputs.magnitudes_NF[rows], inputs.errors_NF[rows])
            with torch.inference_mode():
                density = compute_density(self._mix(torch.from_numpy(features)), grid)
            pdf_NZ[rows] = density.cpu().numpy() * jacobian_Z
        return pdf_NZ

    def _mix(self, features: Tensor) -> Any:
        return self._network.mix(features.to(choose_device()))  # type: ignore[operator]


def drop_bands(magnitudes_NF: Floats, fraction: float, rng: np.random.Generator) -> Floats:
    """Return the magnitudes with one random band removed from a random fraction of the rows.

    A row keeps its last magnitude.
    """
    dropped_NF = np.array(magnitudes_NF, dtype=np.float64)
    rows = np.flatnonzero(rng.random(len(dropped_NF)) < fraction)
    bands = rng.integers(dropped_NF.shape[1], size=len(rows))
    spare = np.isfinite(dropped_NF[rows]).sum(axis=1) > np.isfinite(dropped_NF[rows, bands])
    dropped_NF[rows[spare], bands[spare]] = np.nan
    return dropped_NF


def fit_ensemble(
    network: MixtureEnsemble,
    draw: Callable[[], npt.NDArray[np.float32]],
    targets_N: npt.NDArray[np.float32],
    *,
    recipe: EnsembleRecipe,
) -> None:
    """Fit all members at once, in place; each sees the rows in an order of its own.

    Parameters
    ----------
    network : MixtureEnsemble
    draw : callable
        Gives the features, shape (N, I), anew for each epoch.
    targets_N : ndarray of float32
    recipe : EnsembleRecipe
    """
    device = choose_device()
    targets = torch.from_numpy(targets_N).to(device)
    size = max(8, min(recipe.batch_size, len(targets) // 8))
    each = len(targets) // size
    steps = min(max(recipe.epochs * each, recipe.least_steps), recipe.most_steps)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.1, anneal_strategy="cos"
    )
    averages = [parameter.detach().clone() for parameter in network.parameters()]
    network.train()
    for step in range(steps):
        if step % each == 0:
            features = torch.from_numpy(draw()).to(device)
            orders = torch.stack([torch.randperm(len(targets)) for _ in range(recipe.members)]).to(device)
        rows = orders[:, step % each * size : (step % each + 1) * size]
        optimizer.zero_grad()
        compute_loss(network(features[rows]), targets[rows]).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0 * recipe.members)
        optimizer.step()
        schedule.step()
        _move(averages, list(network.parameters()), min(recipe.average, (1 + step) / (10 + step)))
    with torch.no_grad():
        for parameter, average in zip(network.parameters(), averages, strict=True):
            parameter.copy_(average)


@torch.no_grad()
def _move(averages: list[Tensor], parameters: list[Tensor], decay: float) -> None:
    torch._foreach_lerp_(averages, parameters, 1.0 - decay)
