"""From inputs to densities, by a network that is told what is missing: `MaskedModel`."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.base import Inputs
from photoz.estimators.density import Density, mix_bins, mix_gaussians
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.masks import encode, number_patterns
from photoz.estimators.networks.network import MaskedNetwork
from photoz.estimators.networks.preparation import FluxPreparation, View


@dataclass(frozen=True, eq=False)
class MaskedModel:
    """A network of a layout with what stands before and after it. Call its methods in torch's inference mode.

    Parameters
    ----------
    layout : InputLayout
    preparation : FluxPreparation
    network : MaskedNetwork
        As it was trained, or as `photoz.estimators.networks.packed` lays it out.
    device : torch.device
        Where the network is.
    """

    layout: InputLayout
    preparation: FluxPreparation
    network: MaskedNetwork
    device: torch.device

    def show(self, inputs: Inputs) -> View:
        """Prepare what the network is shown: an image that the flags deny is emptied."""
        # A network without images may be given some: they are not looked at.
        bare = inputs if self.layout.image_bands else replace(inputs, cutouts_NBYX=None)
        return self.preparation.show(bare, self.device)

    def run(self, *views: View) -> Tensor:
        """Run the network; further views of the same galaxies, one after another, share the image branch's work."""
        # Only the first view's image is run: the others must be of the same pixels.
        features_MF = torch.cat([encode(view.photometry, view.seen_NB, self.device) for view in views])
        raw_MKP: Tensor = self.network(features_MF, views[0].images_NBYX)
        return raw_MKP.float()

    def read(self, raw_NKP: Tensor) -> tuple[Tensor, Density | None]:
        """Read the members' points in ln(1 + z), shape (N, K), and the density in units of the targets' scale."""
        centre, spread = self.network.target_scale
        # Column 0 is the point, the rest describes the density (`Head.outputs`).
        points_NK = centre + spread * raw_NKP[..., 0]
        match self.network.head.kind:
            case "mixture":
                return points_NK, mix_gaussians(raw_NKP[..., 1:])
            case "binned":
                return points_NK, mix_bins(raw_NKP[..., 1:])
        return points_NK, None

    def compute_raw_pit(self, density: Density, z_spec_N: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Compute the probability below redshifts before recalibration, shape (N,)."""
        centre, spread = (float(value) for value in self.network.target_scale)
        y_N = (np.log1p(np.asarray(z_spec_N, dtype=np.float64)) - centre) / spread
        # One redshift a galaxy: `compute_cdf` takes any number of them, along a second axis.
        y_N1 = torch.from_numpy(y_N.astype(np.float32)).to(self.device).unsqueeze(1)
        return density.compute_cdf(y_N1).squeeze(1).double().cpu().numpy()

    def number_view(self, view: View) -> npt.NDArray[np.int64]:
        """Number what a view lacks of each galaxy; see `photoz.estimators.networks.masks.number_patterns`."""
        # Of the view and not of the inputs: in a fit of the recalibration, bands have been dropped from it.
        missing_NF = torch.from_numpy(~view.photometry.detected_NF)
        seen_NB = None if view.seen_NB is None else view.seen_NB.cpu()
        return number_patterns(missing_NF, seen_NB, torch.tensor(self.layout.find_unimaged())).numpy()
