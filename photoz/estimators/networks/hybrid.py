"""The combined estimator (images and magnitudes), and the same network without images: `HybridEstimator`."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from photoz.estimators.base import Estimates, Inputs, Pdfs, Precision, split_rows
from photoz.estimators.density import Density, find_local_median
from photoz.estimators.distance import TrainingDistance
from photoz.estimators.folder import Arrays
from photoz.estimators.networks.base import NetworkEstimator, check_shapes
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.model import MaskedModel
from photoz.estimators.networks.network import Head, MaskedNetwork
from photoz.estimators.networks.objectives import MaskedObjective
from photoz.estimators.networks.packed import pack_network
from photoz.estimators.networks.preparation import FluxPreparation, Preparation, View
from photoz.estimators.networks.recalibrate import fit_recalibration
from photoz.estimators.photometric.features import select_distinct
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration
from photoz.photometry import find_detected
from photoz.schema import Flag
from photoz.telemetry import timed
from photoz.training.settings import Network, Training

REACH = 0.08
"""In ln(1 + z), of the local median: that of mlp, chosen on real galaxies (docs/benchmarks/mlp-levers.md)."""


@dataclass(frozen=True, eq=False)
class HybridEstimator(NetworkEstimator):
    """Redshifts and p(z) from cutouts and fluxes by the combined network, or from fluxes alone.

    It does without whatever is missing: single bands, the image or some of its bands, all magnitudes.

    Parameters
    ----------
    layout, preparation, network, record, device
        As in `NetworkEstimator`.
    recalibration : Recalibration
        Of p(z), fitted to galaxies that the network was not trained on.
    distance : TrainingDistance or None
        From the training galaxies; None: not measured.
    with_pdf : bool
        False: redshifts alone.
    packed : MaskedNetwork or None
        The network as `prepare` lays it out; None: it runs as it is, and weights that change are seen.
    """

    preparation: FluxPreparation
    network: MaskedNetwork
    recalibration: Recalibration = field(default_factory=Recalibration.identity)
    distance: TrainingDistance | None = None
    with_pdf: bool = True
    packed: MaskedNetwork | None = None

    name: ClassVar[str] = "hybrid"
    PREPARATION: ClassVar[type[Preparation]] = FluxPreparation
    # 4: a lean image branch, images over their noise; 3 had the paper's, 2 read magnitudes.
    FORMAT_VERSION: ClassVar[int] = 4

    @property
    def gives_pdf(self) -> bool:
        """Whether its network has densities (with ``head = "point"`` it has none) and they are wanted."""
        return self.with_pdf and self.network.head.kind != "point"

    def without_pdf(self) -> Self:
        """Return an estimator of the same redshifts that gives no p(z)."""
        return replace(self, with_pdf=False)

    def prepare(self, precision: Precision) -> Self:
        """Return an estimator of the same weights that runs faster; see `photoz.estimators.networks.packed`."""
        return replace(self, packed=pack_network(self.network, precision))

    @property
    def model(self) -> MaskedModel:
        """From inputs to densities."""
        return MaskedModel(self.layout, self.preparation, self.packed or self.network, self.device)

    @classmethod
    def make_head(cls, settings: Network) -> Head:
        """Return the head that the settings ask for."""
        parts = {"mixture": settings.components, "binned": settings.bins, "point": 0}[settings.head]
        return Head(settings.head, settings.members, parts)

    @classmethod
    def make_network(cls, layout: InputLayout, target_scale: tuple[float, float] = (0.0, 1.0)) -> MaskedNetwork:
        """Build the network with fresh weights, channels last in memory, knowing the scale of its targets."""
        network = MaskedNetwork(len(layout.bands), image_bands=len(layout.image_bands), head=layout.head)
        # Into the buffer, which is saved: a network that is loaded has it from its weights, whatever this is told.
        network.target_scale.copy_(torch.tensor(target_scale))
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def make_objective(cls, layout: InputLayout, settings: Training) -> MaskedObjective:
        """Train it for densities that do without whatever is missing."""
        return MaskedObjective(settings, layout)

    def calibrate(
        self,
        galaxies: Iterable[tuple[Inputs, npt.NDArray[np.floating]]],
        fluxes: Iterable[tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]],
        *,
        seed: int,
    ) -> Self:
        """Return the estimator with the recalibration of its p(z) and the reference of its distance.

        Parameters
        ----------
        galaxies, fluxes, seed
            As in `NetworkEstimator.calibrate`; an estimator without densities is returned as it is.
        """
        # A point has nothing to recalibrate, and the distance is reported with p(z) alone.
        if not self.gives_pdf:
            return self
        fluxes_NF, errors_NF = (np.concatenate(values) for values in zip(*fluxes, strict=True))
        # As mlp has it: a missing magnitude is filled, so that a missing band alone takes no galaxy away. One with an
        # image alone would have all filled, and be the mean galaxy.
        some_N = find_detected(fluxes_NF, errors_NF).any(axis=1)
        features_NC = select_distinct(self.preparation.features.apply(fluxes_NF[some_N], errors_NF[some_N]))
        distance = TrainingDistance.fit(features_NC, seed=seed)
        return replace(self, recalibration=fit_recalibration(self.model, galaxies), distance=distance)

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        """Estimate redshifts of N galaxies.

        Parameters
        ----------
        inputs : Inputs
            Pixels that are not finite count as missing.
        batch_size : int
            Galaxies a forward pass.

        Returns
        -------
        Estimates
            Where the flags say that there is no image, or no band of it has a finite pixel, from photometry with
            ``PHOTOMETRY_ONLY``; where no band was detected, from the image; where there is neither, and where the
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
        parts = [self._estimate_batch(inputs.take(rows)) for rows in split_rows(len(inputs), batch_size)]
        # numpy concatenates no empty list, and a partition may have no galaxies.
        if not parts:
            return Estimates.fail(inputs.flags_N, with_pdf=self.gives_pdf)
        return Estimates.concatenate(parts)

    def _estimate_batch(self, inputs: Inputs) -> Estimates:
        model = self.model
        with torch.inference_mode():
            with timed("prepare"):
                view = model.show(inputs)
            with timed("forward"):
                points_NK, density = model.read(model.run(view))
                # Not below 0, where no training galaxy is (`crossmatch.min_redshift`).
                z_N = torch.expm1(self._find_points(points_NK, density)).clamp(min=0).cpu().numpy()
            # By the pixels that were seen and not by the flags alone: a cutout may be there and hold nothing finite.
            image_N = np.zeros(len(inputs), dtype=bool) if view.seen_NB is None else _any(view.seen_NB)
            failed_N = ~(inputs.detected_N | image_N) | ~np.isfinite(z_N)
            flags_N = inputs.flags_N | _bit(failed_N, Flag.ESTIMATE_FAILED)
            # An estimator that reads no image has lost nothing by its absence: no flag.
            if self.image_bands:
                flags_N |= _bit(~image_N & ~failed_N, Flag.PHOTOMETRY_ONLY)
            pdf = None
            if density is not None and self.with_pdf:
                with timed("pdf"):
                    distance_N = self.measure_distance(inputs)
                    quantiles_NQ = self._find_quantiles(inputs, view, density)
                # In redshift, as the column is, and not in ln(1 + z).
                z_NK = torch.expm1(points_NK)
                spread_N = z_NK.std(dim=1).cpu().numpy() if z_NK.shape[1] > 1 else np.full(len(z_N), np.nan)
                # A distance that is NaN, for want of magnitudes, sets no flag.
                outside_N = np.nan_to_num(distance_N) > 1
                flags_N |= _bit(outside_N & ~failed_N, Flag.OUTSIDE_TRAINING)
                pdf = Pdfs(*(_blank(values, failed_N) for values in (quantiles_NQ, spread_N, distance_N)))
        return Estimates(_blank(z_N, failed_N), flags_N.astype(np.int32), pdf)

    def _find_points(self, points_NK: Tensor, density: Density | None) -> Tensor:
        """Find the estimates of ln(1 + z), shape (N,): where there is a density, its local median.

        On validation galaxies that is better than the mean of the members' points (docs/benchmarks/pdf.md).
        """
        if density is None:
            return points_NK.mean(dim=1)
        centre, spread = self.network.target_scale
        start_N = (points_NK.mean(dim=1) - centre) / spread  # trained to be the median
        # The density is in standardised units, REACH in ln(1 + z).
        y_N: Tensor = centre + spread * find_local_median(density, start_N, REACH / float(spread))
        return y_N

    def _find_quantiles(self, inputs: Inputs, view: View, density: Density) -> npt.NDArray[np.float32]:
        coordinates_NC = make_coordinates(inputs.magnitudes.magnitudes_NF, self.bands)
        # The raw density's quantiles at other levels are the calibrated one's at its own: no density need be built
        # anew.
        levels_NQ = self.recalibration.map_levels(coordinates_NC, self.model.number_view(view))
        y_NQ = density.find_quantiles(torch.from_numpy(levels_NQ.astype(np.float32)).to(self.device))
        centre, spread = self.network.target_scale
        return torch.expm1(centre + spread * y_NQ).cpu().numpy()

    def measure_distance(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Measure the distance from the training galaxies, shape (N,); NaN where nothing was detected."""
        if self.distance is None:
            return np.full(len(inputs), np.nan, dtype=np.float32)
        features_NC = self.preparation.features.apply(inputs.fluxes_NF, inputs.errors_NF)
        distance_N = self.distance.measure(select_distinct(features_NC))
        return np.where(inputs.detected_N, distance_N, np.float32(np.nan))

    def to_arrays(self) -> Arrays:
        """Return what is saved beside the weights: recalibration and distance."""
        distance = {} if self.distance is None else self.distance.to_arrays()
        return {**self.recalibration.to_arrays(), **distance}

    def with_arrays(self, arrays: Arrays) -> Self:
        """Return the estimator with the recalibration and the distance that the arrays of `to_arrays` hold."""
        # A network with a point head has neither p(z) nor a distance.
        distance = TrainingDistance.from_arrays(arrays) if "coverage_points" in arrays else None
        return replace(self, recalibration=Recalibration.from_arrays(arrays), distance=distance)


class PhotometryEstimator(HybridEstimator):
    """The same network without images: from fluxes and their errors alone."""

    name: ClassVar[str] = "photometry"
    reads_images: ClassVar[bool] = False


def _any(seen_NB: Tensor) -> npt.NDArray[np.bool_]:
    return seen_NB.any(dim=1).cpu().numpy()


def _bit(rows_N: npt.NDArray[np.bool_], flag: Flag) -> npt.NDArray[np.int32]:
    return np.where(rows_N, np.int32(flag), np.int32(0))


def _blank(values: npt.NDArray[np.floating], failed_N: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the values, float32, NaN in rows that could not be estimated."""
    failed = failed_N.reshape(-1, *[1] * (values.ndim - 1))
    return np.where(failed, np.nan, values).astype(np.float32)
