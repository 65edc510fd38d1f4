"""An image estimator in one file: a straight line through the magnitudes and each image's mean."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from photoz.estimators.base import Estimates, Inputs
from photoz.estimators.networks.base import NetworkEstimator, check_shapes
from photoz.estimators.networks.batches import Batch
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.preparation import PaperPreparation, Preparation
from photoz.schema import Flag
from photoz.training.settings import Training


@dataclass(frozen=True)
class LineObjective:
    """Squared error of ln(1 + z)."""

    def compute_loss(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return self.assess(network, batch)[1].mean()

    def assess(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.images_NBYX is not None
        estimate_N = network(batch.photometry, batch.images_NBYX)
        return estimate_N, (estimate_N - batch.target_N) ** 2


class Line(nn.Module):
    def __init__(self, bands: int, image_bands: int) -> None:
        super().__init__()
        self.line = nn.Linear(bands + image_bands, 1)

    def forward(self, values_NF: Tensor, images_NBYX: Tensor) -> Tensor:
        features_NC = torch.cat([values_NF, images_NBYX.mean(dim=(2, 3))], dim=1)
        return self.line(features_NC).squeeze(1)


@dataclass(frozen=True, eq=False)
class TinyEstimator(NetworkEstimator):
    name: ClassVar[str] = "tiny"
    PREPARATION: ClassVar[type[Preparation]] = PaperPreparation

    @classmethod
    def make_network(cls, layout: InputLayout, target_scale: tuple[float, float] = (0.0, 1.0)) -> Line:
        return Line(len(layout.bands), len(layout.image_bands))

    @classmethod
    def make_objective(cls, layout: InputLayout, settings: Training) -> LineObjective:
        return LineObjective()

    def estimate(self, inputs: Inputs, *, batch_size: int = 256) -> Estimates:
        check_shapes(inputs, self.layout)
        with torch.inference_mode():
            y_N = self.network(*self.preparation.show(inputs, torch.device("cpu"))[:2])
        z_N = np.where(inputs.detected_N, np.expm1(y_N.numpy()), np.float32(np.nan))
        failed = np.where(np.isfinite(z_N), np.int32(0), np.int32(Flag.ESTIMATE_FAILED))
        return Estimates(z_N, inputs.flags_N | failed)
