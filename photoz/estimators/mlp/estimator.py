"""The best photometry-only estimator here: an ensemble of mixture-density networks, `MlpEstimator`."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from photoz.estimators.averaging import average_weights
from photoz.estimators.base import Inputs, Pdfs, split_rows
from photoz.estimators.density import find_local_median
from photoz.estimators.distance import TrainingDistance
from photoz.estimators.mixture import (
    Mixture,
    compute_mapped_density,
    find_median,
    find_quantiles,
    split_members,
)
from photoz.estimators.mlp.ensemble import EnsembleRecipe, MixtureEnsemble, sum_losses
from photoz.estimators.mlp.lacking import choose_dark, darken_bands, drop_bands
from photoz.estimators.mlp.unseen import (
    EnsembleModel,
    assign_folds,
    code_patterns,
    find_lacking,
    find_unseen,
    fit_recalibration,
)
from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample
from photoz.estimators.photometric.features import FluxFeatures, count_features, select_distinct
from photoz.estimators.smoothing import compute_smoothing_weights
from photoz.estimators.tensors import choose_device, put_weights, take_weights
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration
from photoz.photometry import Floats, Magnitudes
from photoz.telemetry import Progress

logger = logging.getLogger(__name__)

_PART = 512  # galaxies whose densities are computed together: a few hundred values each stay in the cache
_MEMBER_STEPS = 12  # of Newton's, from the mean of a member's density; with 7, 1 % of the spreads are wrong by 0.01


@dataclass(frozen=True, eq=False)
class MlpModel:
    """A fitted ensemble and what stands after it.

    Parameters
    ----------
    ensemble : EnsembleModel
    members : int
    reach : float
        Of the local median, in units of the mixtures' values.
    recalibration : Recalibration
    distance : TrainingDistance
    """

    ensemble: EnsembleModel
    members: int
    reach: float
    recalibration: Recalibration
    distance: TrainingDistance


class MlpEstimator(PhotometricEstimator[MlpModel]):
    """Networks on asinh magnitudes, colours, errors and missing-band masks, each giving p(ln(1+z)) as a mixture.

    The estimate is a median of the mean of the members' densities that far peaks do not pull on; p(z) is that mean,
    recalibrated. Each member is fitted without a fourth of the galaxies, and the recalibration to what each member says
    of those. Every choice and what it is worth by validation is in
    docs/benchmarks/mlp-levers.md.

    References
    ----------
    Bishop 1994, Mixture density networks (Aston University NCRG/94/004); Lakshminarayanan et al. 2017, Deep ensembles
    (arXiv 1612.01474).
    """

    name: ClassVar[str] = "mlp"
    DEFAULTS: ClassVar[dict[str, Any]] = asdict(EnsembleRecipe())
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "torch")
    # 3: the softening is in nJy, and in 2 it was in maggies.
    FORMAT_VERSION: ClassVar[int] = 3
    PDF: ClassVar[bool] = True

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        recipe = EnsembleRecipe(**settings)
        features = FluxFeatures.fit(sample)
        z_N = np.asarray(sample.z_N, dtype=np.float64)
        y_N = np.log1p(z_N)
        target = np.array([y_N.mean(), y_N.std() or 1.0])
        weights_N = compute_smoothing_weights(z_N, width=recipe.smooth_nz_width) if recipe.smooth_nz_width else None
        fold_N = assign_folds(len(sample), seed)
        rng = np.random.default_rng(seed)

        def draw() -> npt.NDArray[np.float32]:
            # Anew for each epoch, so that a galaxy is seen with other bands missing each time. Of galaxies faint in u
            # that are told to be not detected, a fit without this has a CRPS of 0.01658 in place of 0.01538
            # (docs/benchmarks/mlp-levers.md).
            dark_NF = choose_dark(sample, recipe.dark_fraction, rng)
            dropped = drop_bands(darken_bands(sample, dark_NF), recipe.band_dropout, rng)
            return features.apply(dropped.fluxes_NF, dropped.errors_NF)

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = MixtureEnsemble(count_features(len(sample.bands)), recipe).to(choose_device())
            targets_N = ((y_N - target[0]) / target[1]).astype(np.float32)
            fit_ensemble(network, draw, targets_N, recipe=recipe, fold_N=fold_N, weights_N=weights_N)
        model = EnsembleModel(features, network.eval(), *target)
        recalibration = fit_recalibration(model, sample, fold_N, seed)
        features_NC = features.apply(sample.fluxes_NF, sample.errors_NF)
        distance = TrainingDistance.fit(select_distinct(features_NC), seed=seed)
        arrays = {**features.to_arrays(), "target": target, **take_weights(network)}
        arrays |= {**recalibration.to_arrays(), **distance.to_arrays()}
        return Parts(sample.bands, settings, arrays)

    @classmethod
    def _make_model(cls, parts: Parts) -> MlpModel:
        # JSON gives a list back for the tuple.
        recipe = EnsembleRecipe(**{**parts.settings, "hidden": tuple(parts.settings["hidden"])})
        network = MixtureEnsemble(count_features(len(parts.bands)), recipe).to(choose_device()).eval()
        put_weights(network, parts.arrays)
        target = map(float, parts.arrays["target"])
        ensemble = EnsembleModel(FluxFeatures.from_arrays(parts.arrays), network, *target)
        recalibration = Recalibration.from_arrays(parts.arrays)
        distance = TrainingDistance.from_arrays(parts.arrays)
        # From ln(1 + z) to the standardised target that the mixtures are in.
        return MlpModel(ensemble, recipe.members, recipe.reach / ensemble.spread, recalibration, distance)

    def _predict_points(self, inputs: Inputs) -> Floats:
        with torch.inference_mode():
            mixtures = self._model.ensemble.mix(inputs.fluxes_NF, inputs.errors_NF)
            return self._to_redshift([self._find_points(mixture) for mixture in mixtures])

    def _predict_pdf(self, inputs: Inputs) -> tuple[Floats, Pdfs]:
        features_NC = self._model.ensemble.features.apply(inputs.fluxes_NF, inputs.errors_NF)
        levels = self._map_levels(inputs.magnitudes)
        points, spreads, blocks = [], [], []
        with torch.inference_mode():
            for mixture in self._model.ensemble.mix_features(features_NC):
                points.append(self._find_points(mixture))
                spreads.append(self._measure_spread(mixture))
                blocks.append(mixture)
            # All at once, since a few galaxies take many steps, and a step of a few costs as much as one of a thousand.
            quantiles = find_quantiles(Mixture(*(torch.cat(values) for values in zip(*blocks, strict=True))), levels)
        pdfs = Pdfs(
            self._to_redshift([quantiles]).astype(np.float32),
            torch.cat(spreads).cpu().numpy(),
            # Missing magnitudes are filled here: a galaxy without r, which magnitude and colours hang on, is flagged
            # more often, 20 % in place of 1 % (docs/benchmarks/pdf.md).
            self._model.distance.measure(select_distinct(features_NC)),
        )
        return self._to_redshift(points), pdfs

    def _find_points(self, mixture: Mixture) -> Tensor:
        """Find the estimates, shape (N,): the local median that is found from the median."""
        return find_local_median(mixture, find_median(mixture), self._model.reach, steps=5)

    def _map_levels(self, magnitudes: Magnitudes) -> Tensor:
        """Compute where the calibrated quantiles lie in the raw densities, shape (N, Q)."""
        coordinates_NC = make_coordinates(magnitudes.magnitudes_NF, self.bands)
        pattern_N = code_patterns(find_lacking(magnitudes), self._model.recalibration.patterns_P)
        levels_NQ = self._model.recalibration.map_levels(coordinates_NC, pattern_N)
        return torch.from_numpy(levels_NQ.astype(np.float32)).to(choose_device())

    def _measure_spread(self, mixture: Mixture) -> Tensor:
        """Return the standard deviation in redshift of the medians of the members' own densities, shape (N,)."""
        ensemble, members = self._model.ensemble, self._model.members
        medians = find_median(split_members(mixture, members), steps=_MEMBER_STEPS).view(-1, members)
        return torch.expm1(medians * ensemble.spread + ensemble.mean).std(dim=1, correction=0)

    def _to_redshift(self, blocks: list[Tensor]) -> Floats:
        values = torch.cat(blocks).double().cpu().numpy()
        return np.asarray(np.expm1(values * self._model.ensemble.spread + self._model.ensemble.mean))

    def estimate_pdf(self, inputs: Inputs, z_grid: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Estimate the recalibrated probability density of the redshift.

        Parameters
        ----------
        inputs : Inputs
            N galaxies.
        z_grid : array_like, shape (Z,)
            Redshifts, above -1.

        Returns
        -------
        ndarray of float32, shape (N, Z)
            Density in z; NaN in rows in which nothing was detected.
        """
        self._check_shapes(inputs)
        z_Z = np.asarray(z_grid, dtype=np.float64)
        grid = ((np.log1p(z_Z) - self._model.ensemble.mean) / self._model.ensemble.spread).astype(np.float32)
        values = torch.from_numpy(grid).to(choose_device())
        # From a density in the standardised ln(1 + z) to one in z.
        jacobian_Z = (1.0 / (self._model.ensemble.spread * (1.0 + z_Z))).astype(np.float32)
        pdf_NZ = np.full((len(inputs), len(z_Z)), np.nan, dtype=np.float32)
        usable = np.flatnonzero(inputs.detected_N)
        bare = replace(inputs, cutouts_NBYX=None)
        for run in split_rows(len(usable), _PART):
            rows = usable[run]
            taken = bare.take(rows)
            levels = self._map_levels(taken.magnitudes)
            with torch.inference_mode():
                for mixture in self._model.ensemble.mix(taken.fluxes_NF, taken.errors_NF, _PART):
                    pdf_NZ[rows] = compute_mapped_density(mixture, values, levels).cpu().numpy() * jacobian_Z
        return pdf_NZ


def fit_ensemble(
    network: MixtureEnsemble,
    draw: Callable[[], npt.NDArray[np.float32]],
    targets_N: npt.NDArray[np.float32],
    *,
    recipe: EnsembleRecipe,
    fold_N: npt.NDArray[np.int64],
    weights_N: npt.NDArray[np.float64] | None = None,
) -> None:
    """Fit all members at once, in place; each sees the rows that `find_unseen` leaves it, in an order of its own.

    Parameters
    ----------
    network : MixtureEnsemble
    draw : callable
        Gives the features, shape (N, I), anew for each epoch.
    targets_N : ndarray of float32
    recipe : EnsembleRecipe
    fold_N : ndarray of int64
        Of `photoz.estimators.mlp.unseen.assign_folds`.
    weights_N : ndarray of float64, optional
        Of the rows in the loss.
    """
    device = choose_device()
    targets = torch.from_numpy(targets_N).to(device)
    weights = None if weights_N is None else torch.from_numpy(weights_N.astype(np.float32)).to(device)
    own = _list_own_rows(fold_N, recipe.members)
    # Folds may differ by a galaxy, and the members' rows must stack: the last of the longer ones sit out an epoch,
    # others in the next.
    least = min(len(rows) for rows in own)
    # At least eight steps an epoch, for small samples too.
    size = max(8, min(recipe.batch_size, least // 8))
    each = least // size
    # Counted by all galaxies, a third more than a member sees in an epoch: 40 epochs by count are 53 of its own.
    steps = min(max(recipe.epochs * (len(targets) // size), recipe.least_steps), recipe.most_steps)
    optimizer, schedule = _make_optimizer(network, recipe, steps)
    average = average_weights(network, recipe.average)
    network.train()
    progress = Progress(logger, "mlp: step", steps)
    for step in range(steps):
        progress.tell(step)
        if step % each == 0:
            features = torch.from_numpy(draw()).to(device)
            orders = torch.stack([rows[torch.randperm(len(rows))[:least]] for rows in own]).to(device)
        rows = orders[:, step % each * size : (step % each + 1) * size]
        optimizer.zero_grad()
        loss = sum_losses(network(features[rows]), targets[rows], None if weights is None else weights[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        # The norm is over all members together, which grows with their number.
        nn.utils.clip_grad_norm_(network.parameters(), 5.0 * recipe.members)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
    network.load_state_dict(average.module.state_dict())


def _list_own_rows(fold_N: npt.NDArray[np.int64], members: int) -> list[Tensor]:
    """List the rows that each member sees: all but about a fourth."""
    # So that the recalibration has galaxies that some member never saw and none is held back from all.
    return [torch.from_numpy(np.flatnonzero(~find_unseen(fold_N, member))) for member in range(members)]


def _make_optimizer(
    network: MixtureEnsemble, recipe: EnsembleRecipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.1, anneal_strategy="cos"
    )
    return optimizer, schedule
