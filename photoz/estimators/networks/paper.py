"""The combined network as its paper has it: a point estimate, magnitudes filled, no masks. `PaperEstimator`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators.base import Estimates, Inputs
from photoz.estimators.networks.folder import (
    check_shapes,
    choose_device,
    read_network,
    split_rows,
    to_tensor,
    write_network,
)
from photoz.estimators.networks.layout import PAPER, InputLayout, ReadsLayout
from photoz.estimators.networks.network import HybridNetwork
from photoz.estimators.networks.packed import Precision, pack_network
from photoz.estimators.networks.scaling import scale_cutouts
from photoz.photometry import MagnitudeScaling
from photoz.schema import NO_IMAGE, Flag
from photoz.telemetry import timed


@dataclass(frozen=True, eq=False)
class PaperEstimator(ReadsLayout):
    """Redshifts from cutouts and magnitudes by the network of John William et al. 2023 (arXiv:2312.08043).

    Parameters
    ----------
    layout : InputLayout
        Bands and cutouts that the network reads.
    scaling : MagnitudeScaling
        Of the training galaxies.
    network : HybridNetwork
        Trained; it is put in evaluation mode.
    record : mapping
        Anything that ``json`` writes, kept in the manifest: seed, hash of the training set, history.
    device : torch.device
        Where to run; the GPU where there is one.
    packed : HybridNetwork or None
        The network as `pack` lays it out; None: it runs as it is, and weights that change are seen.
    """

    layout: InputLayout
    scaling: MagnitudeScaling
    network: HybridNetwork
    record: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=choose_device)
    packed: HybridNetwork | None = None

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    @property
    def name(self) -> str:
        """ "hybrid-paper"."""
        return PAPER

    @property
    def gives_pdf(self) -> bool:
        """No: redshifts alone."""
        return False

    def without_pdf(self) -> Self:
        """Return itself."""
        return self

    def pack(self, precision: Precision = "float32") -> Self:
        """Return an estimator of the same weights that runs faster; see `photoz.estimators.networks.packed`."""
        return replace(self, packed=pack_network(self.network, precision))

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
            ``z_phot`` is NaN and ``ESTIMATE_FAILED`` set where no band has a magnitude, where the flags say that there
            is no image or a band of it has no finite pixel, and where the estimate is not finite.

        Raises
        ------
        EstimatorError
            The arrays have other shapes than the estimator's bands and cutout size ask for.

        Notes
        -----
        Rows that cannot be estimated stay in their batch, emptied, so that they change no other row's value.
        """
        check_shapes(inputs, self.layout)
        usable_N = np.any(np.isfinite(inputs.magnitudes_NF), axis=1) & ((inputs.flags_N & int(NO_IMAGE)) == 0)
        z_N = np.full(len(inputs), np.nan, dtype=np.float32)
        for rows in split_rows(len(inputs), batch_size):
            if usable_N[rows].any():
                z_N[rows] = self._estimate_batch(inputs.take(rows))
        failed_N = ~usable_N | ~np.isfinite(z_N)
        z_N[failed_N] = np.nan
        return Estimates(z_N, inputs.flags_N | np.where(failed_N, np.int32(Flag.ESTIMATE_FAILED), np.int32(0)))

    def _estimate_batch(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        assert inputs.cutouts_NBYX is not None  # `check_shapes` has looked
        with torch.inference_mode():
            with timed("prepare"):
                features_NF = np.nan_to_num(self.scaling.apply(inputs.magnitudes_NF), nan=0.0)
                cutouts_NBYX = to_tensor(inputs.cutouts_NBYX, self.device)
                images_NBYX, seen_NB = scale_cutouts(cutouts_NBYX)
            with timed("forward"):
                y_N = (self.packed or self.network)(torch.from_numpy(features_NF).to(self.device), images_NBYX)
                z_N = torch.where(seen_NB.all(dim=1), torch.expm1(y_N.float()), torch.nan)
                return z_N.cpu().numpy()

    def save(self, location: str) -> None:
        """Write ``weights.safetensors`` and, last, ``manifest.json`` into a folder (a path or any fsspec URL)."""
        write_network(location, self.name, self.layout, self.scaling, network=self.network, record=self.record)

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EstimatorError
            There is no estimator, its format is another version's, or its weights do not fit its manifest.
        """
        layout, scaling, network, record, _ = read_network(location)
        assert isinstance(network, HybridNetwork)  # a layout without a head makes no other
        return cls(layout, scaling, network, record)
