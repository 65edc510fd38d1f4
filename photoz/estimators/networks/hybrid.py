"""The combined estimator (images and magnitudes), and the same network without images: `HybridEstimator`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.base import Estimates, Inputs, Pdfs
from photoz.estimators.networks.colours import ColourDistance
from photoz.estimators.networks.density import Density, find_local_median, mix_bins, mix_gaussians
from photoz.estimators.networks.folder import (
    check_shapes,
    choose_device,
    read_network,
    split_rows,
    to_tensor,
    write_network,
)
from photoz.estimators.networks.layout import InputLayout, ReadsLayout, make_layout
from photoz.estimators.networks.masks import Photometry, encode, number_patterns
from photoz.estimators.networks.network import MaskedNetwork
from photoz.estimators.networks.packed import Precision, pack_network
from photoz.estimators.networks.scaling import scale_cutouts
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration
from photoz.photometry import MagnitudeScaling
from photoz.schema import NO_IMAGE, Flag
from photoz.telemetry import timed

__all__ = ["HybridEstimator", "InputLayout", "make_layout"]

REACH = 0.08
"""In ln(1 + z), of the local median: that of mlp, chosen on real galaxies (docs/benchmarks/mlp-levers.md)."""
_BANDWISE = int(Flag.EMPTY_CUTOUT)  # says that some band is empty; which, the pixels tell


class View(NamedTuple):
    """What a network is shown of N galaxies, on its device."""

    photometry: Photometry
    images_NBYX: Tensor | None
    seen_NB: Tensor | None


@dataclass(frozen=True, eq=False)
class HybridEstimator(ReadsLayout):
    """Redshifts and p(z) from cutouts and magnitudes by the combined network, or from magnitudes alone.

    It does without whatever is missing: single bands, the image or some of its bands, all magnitudes.

    Parameters
    ----------
    layout : InputLayout
        Bands and cutouts that the network reads, and what it gives.
    scaling : MagnitudeScaling
        Of the training galaxies.
    network : MaskedNetwork
        Trained; it is put in evaluation mode.
    record : mapping
        Anything that ``json`` writes, kept in the manifest: seed, hash of the training set, history.
    device : torch.device
        Where to run; the GPU where there is one.
    recalibration : Recalibration
        Of p(z), fitted to galaxies that the network was not trained on.
    distance : ColourDistance or None
        From the training galaxies; None: not measured.
    with_pdf : bool
        False: redshifts alone.
    packed : MaskedNetwork or None
        The network as `pack` lays it out; None: it runs as it is, and weights that change are seen.
    """

    layout: InputLayout
    scaling: MagnitudeScaling
    network: MaskedNetwork
    record: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=choose_device)
    recalibration: Recalibration = field(default_factory=Recalibration.identity)
    distance: ColourDistance | None = None
    with_pdf: bool = True
    packed: MaskedNetwork | None = None

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    @property
    def name(self) -> str:
        """ "hybrid" with image bands, "photometry" without."""
        return "hybrid" if self.layout.image_bands else "photometry"

    @property
    def gives_pdf(self) -> bool:
        """Whether its network has densities (with ``training.head = "point"`` it has none) and they are wanted."""
        return self.with_pdf and self.network.head.kind != "point"

    def without_pdf(self) -> Self:
        """Return an estimator of the same redshifts that gives no p(z)."""
        return replace(self, with_pdf=False)

    def pack(self, precision: Precision = "float32") -> Self:
        """Return an estimator of the same weights that runs faster; see `photoz.estimators.networks.packed`."""
        return replace(self, packed=pack_network(self.network, precision))

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies.

        Parameters
        ----------
        inputs : Inputs
            Magnitudes and pixels that are not finite count as missing.
        batch_size : int
            Galaxies a forward pass.

        Returns
        -------
        Estimates
            Where the flags say that there is no image, or no band of it has a finite pixel, from photometry with
            ``PHOTOMETRY_ONLY``; where no band has a magnitude, from the image; where there is neither, and where the
            estimate is not finite, NaN with ``ESTIMATE_FAILED``. ``OUTSIDE_TRAINING`` is set where the distance from
            the training galaxies is above 1; it is NaN without a magnitude.

        Raises
        ------
        EstimatorError
            The arrays have other shapes than the estimator's bands and cutout size ask for.

        Notes
        -----
        Rows that cannot be estimated stay in their batch, emptied, so that they change no other row's value.
        """
        check_shapes(inputs, self.layout)
        known_NF = np.where(np.isfinite(inputs.magnitudes_NF), inputs.magnitudes_NF, np.float32(np.nan))
        inputs = replace(inputs, magnitudes_NF=known_NF)
        parts = [self._estimate_batch(inputs.take(rows)) for rows in split_rows(len(inputs), batch_size)]
        if not parts:
            return Estimates.fail(inputs.flags_N, with_pdf=self.gives_pdf)
        return Estimates.concatenate(parts)

    def _estimate_batch(self, inputs: Inputs) -> Estimates:
        with torch.inference_mode():
            with timed("prepare"):
                view = self.show(inputs)
            with timed("forward"):
                raw_NKP = self.run(view)
                points_NK, density = self.read(raw_NKP)
                z_N = torch.expm1(self._find_points(points_NK, density)).cpu().numpy()
            known_N = np.isfinite(inputs.magnitudes_NF).any(axis=1)
            image_N = np.zeros(len(inputs), dtype=bool) if view.seen_NB is None else _any(view.seen_NB)
            failed_N = ~(known_N | image_N) | ~np.isfinite(z_N)
            flags_N = inputs.flags_N | _bit(failed_N, Flag.ESTIMATE_FAILED)
            if self.image_bands:
                flags_N |= _bit(~image_N & ~failed_N, Flag.PHOTOMETRY_ONLY)
            pdf = None
            if density is not None and self.with_pdf:
                with timed("pdf"):
                    distance_N = self._measure_distance(inputs)
                    quantiles_NQ = self._find_quantiles(inputs, view, density)
                z_NK = torch.expm1(points_NK)
                spread_N = z_NK.std(dim=1).cpu().numpy() if z_NK.shape[1] > 1 else np.full(len(z_N), np.nan)
                outside_N = np.nan_to_num(distance_N) > 1
                flags_N |= _bit(outside_N & ~failed_N, Flag.OUTSIDE_TRAINING)
                pdf = Pdfs(*(_blank(values, failed_N) for values in (quantiles_NQ, spread_N, distance_N)))
        return Estimates(_blank(z_N, failed_N), flags_N.astype(np.int32), pdf)

    def show(self, inputs: Inputs) -> View:
        """Prepare what the network is shown: an image that the flags deny is emptied."""
        photometry = Photometry.prepare(inputs.magnitudes_NF, inputs.not_detected_NF, self.scaling, self.device)
        if inputs.cutouts_NBYX is None or not self.image_bands:
            return View(photometry, None, None)
        cutouts_NBYX = to_tensor(inputs.cutouts_NBYX, self.device)
        there_N = torch.from_numpy((inputs.flags_N & (int(NO_IMAGE) & ~_BANDWISE)) == 0).to(self.device)
        images_NBYX, seen_NB = scale_cutouts(cutouts_NBYX)
        images_NBYX[~there_N] = 0.0
        return View(photometry, images_NBYX, seen_NB & there_N.unsqueeze(1))

    def run(self, *views: View) -> Tensor:
        """Run the network; further views of the same galaxies, one after another, share the image branch's work."""
        features_MF = torch.cat([encode(view.photometry, view.seen_NB) for view in views])
        raw_MKP: Tensor = (self.packed or self.network)(features_MF, views[0].images_NBYX)
        return raw_MKP.float()

    def read(self, raw_NKP: Tensor) -> tuple[Tensor, Density | None]:
        """Read the members' points in ln(1 + z), shape (N, K), and the density in units of the targets' scale."""
        centre, spread = self.network.target_scale
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
        y_N1 = torch.from_numpy(y_N.astype(np.float32)).to(self.device).unsqueeze(1)
        return density.compute_cdf(y_N1).squeeze(1).double().cpu().numpy()

    def number_patterns(self, view: View) -> npt.NDArray[np.int64]:
        """Number what is missing of each galaxy; see `photoz.estimators.networks.masks.number_patterns`."""
        unimaged_F = torch.tensor(self.layout.find_unimaged(), device=self.device)
        missing_NF = ~torch.isfinite(view.photometry.values_NF)
        return number_patterns(missing_NF, view.seen_NB, unimaged_F).cpu().numpy()

    def _find_points(self, points_NK: Tensor, density: Density | None) -> Tensor:
        """Find the estimates of ln(1 + z), shape (N,): where there is a density, its local median.

        On validation galaxies that is better than the mean of the members' points (docs/benchmarks/pdf.md).
        """
        if density is None:
            return points_NK.mean(dim=1)
        centre, spread = self.network.target_scale
        start_N = (points_NK.mean(dim=1) - centre) / spread  # trained to be the median
        y_N: Tensor = centre + spread * find_local_median(density, start_N, REACH / float(spread))
        return y_N

    def _find_quantiles(self, inputs: Inputs, view: View, density: Density) -> npt.NDArray[np.float32]:
        coordinates_NC = make_coordinates(inputs.magnitudes_NF, self.bands)
        levels_NQ = self.recalibration.map_levels(coordinates_NC, self.number_patterns(view))
        y_NQ = density.find_quantiles(torch.from_numpy(levels_NQ.astype(np.float32)).to(self.device))
        centre, spread = self.network.target_scale
        return torch.expm1(centre + spread * y_NQ).cpu().numpy()

    def _measure_distance(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        if self.distance is None:
            return np.full(len(inputs), np.nan, dtype=np.float32)
        return self.distance.measure(inputs.magnitudes_NF)

    def save(self, location: str) -> None:
        """Write ``weights.safetensors`` and, last, ``manifest.json`` into a folder (a path or any fsspec URL)."""
        arrays = dict(self.recalibration.to_arrays())
        if self.distance is not None:
            arrays |= self.distance.to_arrays()
        write_network(
            location, self.name, self.layout, self.scaling, network=self.network, record=self.record, arrays=arrays
        )

    @classmethod
    def load(cls, location: str) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        EstimatorError
            There is no estimator, its format is another version's, or its weights do not fit its manifest.
        """
        layout, scaling, network, record, arrays = read_network(location)
        assert isinstance(network, MaskedNetwork)  # a layout with a head makes no other
        return cls(
            layout,
            scaling,
            network,
            record,
            recalibration=Recalibration.from_arrays(arrays),
            distance=ColourDistance.from_arrays(arrays, scaling),
        )


def _any(seen_NB: Tensor) -> npt.NDArray[np.bool_]:
    return seen_NB.any(dim=1).cpu().numpy()


def _bit(rows_N: npt.NDArray[np.bool_], flag: Flag) -> npt.NDArray[np.int32]:
    return np.where(rows_N, np.int32(flag), np.int32(0))


def _blank(values: npt.NDArray[np.floating], failed_N: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the values, float32, NaN in rows that could not be estimated."""
    failed = failed_N.reshape(-1, *[1] * (values.ndim - 1))
    return np.where(failed, np.nan, values).astype(np.float32)
