"""The combined network as its paper has it: a point estimate, magnitudes filled, no masks. `PaperEstimator`."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators.base import Estimates, Inputs, Precision, split_rows
from photoz.estimators.networks.base import NetworkEstimator, check_shapes
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.network import HybridNetwork
from photoz.estimators.networks.objectives import PaperObjective
from photoz.estimators.networks.packed import pack_network
from photoz.estimators.networks.preparation import PaperPreparation, Preparation
from photoz.schema import NO_IMAGE, Flag
from photoz.telemetry import timed
from photoz.training.settings import Training

PAPERS_SCHEDULE = {
    "batch_size": 32,
    "learning_rate": 1e-3,
    "shape": "exponential",
    "decay": 0.9,
    "decay_steps": 10_000,
    "weight_decay": 0.0,
    "average": 0.0,
    "greatest_gradient": 0.0,
    # Keras' default; torch's is 1e-8. With a delta of 1e-4 gradients are so small that it matters.
    "adam_epsilon": 1e-7,
    "patience": 10,
}
PAPERS_LOSS = {"huber_delta": 1e-4, "smooth_nz_width": 0.0}
"""Of arXiv 2312.08043 and its authors' public code; ``max_epochs`` and what spreads the work remain the user's."""


@dataclass(frozen=True, eq=False)
class PaperEstimator(NetworkEstimator):
    """Redshifts from cutouts and magnitudes by the network of John William et al. 2023 (arXiv:2312.08043).

    Parameters
    ----------
    layout, preparation, network, record, device
        As in `NetworkEstimator`.
    packed : HybridNetwork or None
        The network as `prepare` lays it out; None: it runs as it is, and weights that change are seen.
    """

    preparation: PaperPreparation
    network: HybridNetwork
    packed: HybridNetwork | None = None

    name: ClassVar[str] = "hybrid-paper"
    PREPARATION: ClassVar[type[Preparation]] = PaperPreparation

    def prepare(self, precision: Precision) -> Self:
        """Return an estimator of the same weights that runs faster; see `photoz.estimators.networks.packed`."""
        return replace(self, packed=pack_network(self.network, precision))

    @classmethod
    def resolve_settings(cls, settings: Training) -> Training:
        """Return the paper's settings, whatever was said."""
        # Over what the user set: with other values it would not be the paper's network that is compared.
        schedule = msgspec.structs.replace(settings.schedule, **PAPERS_SCHEDULE)
        return msgspec.structs.replace(
            settings, schedule=schedule, loss=msgspec.structs.replace(settings.loss, **PAPERS_LOSS)
        )

    @classmethod
    def make_network(cls, layout: InputLayout, target_scale: tuple[float, float] = (0.0, 1.0)) -> HybridNetwork:
        """Build the network with fresh weights, channels last in memory; its targets are not scaled."""
        # Channels last makes the forward pass on a CPU 1.7 times as fast (docs/benchmarks/forward.md).
        network = HybridNetwork(len(layout.bands), image_bands=len(layout.image_bands), cutout_size=layout.cutout_size)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def make_objective(cls, layout: InputLayout, settings: Training) -> PaperObjective:
        """Train it for the paper's point estimate."""
        return PaperObjective(settings)

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies.

        Parameters
        ----------
        inputs : Inputs
            Missing magnitudes (NaN) are filled from the neighbouring bands; missing pixels count as the darkest.
        batch_size : int
            Galaxies a forward pass.

        Returns
        -------
        Estimates
            ``z_phot`` is NaN and ``ESTIMATE_FAILED`` set where no band was detected, where the flags say that there is
            no image or a band of it has no finite pixel, and where the estimate is not finite.

        Raises
        ------
        EstimatorError
            The arrays have other shapes than the estimator's bands and cutout size ask for.

        Notes
        -----
        Rows that cannot be estimated stay in their batch, emptied, so that they change no other row's value.
        """
        check_shapes(inputs, self.layout)
        usable_N = inputs.detected_N & ((inputs.flags_N & int(NO_IMAGE)) == 0)
        z_N = np.full(len(inputs), np.nan, dtype=np.float32)
        for rows in split_rows(len(inputs), batch_size):
            if usable_N[rows].any():
                z_N[rows] = self._estimate_batch(inputs.take(rows))
        z_N = np.maximum(z_N, np.float32(0))  # no training galaxy is below (`crossmatch.min_redshift`)
        failed_N = ~usable_N | ~np.isfinite(z_N)
        z_N[failed_N] = np.nan
        return Estimates(z_N, inputs.flags_N | np.where(failed_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0)))

    def _estimate_batch(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            with timed("prepare"):
                # A row without any magnitude becomes the mean galaxy, which keeps its batch finite; its estimate is
                # thrown away.
                features_NF, images_NBYX, seen_NB = self.preparation.show(inputs, self.device)
                assert seen_NB is not None  # `check_shapes` has looked for the cutouts
            with timed("forward"):
                y_N = (self.packed or self.network)(features_NF, images_NBYX)
                # The paper's network was never told that a band may be missing: its estimate of an empty one would look
                # like any other.
                z_N = torch.where(seen_NB.all(dim=1), torch.expm1(y_N.float()), torch.nan)
                return z_N.cpu().numpy()
