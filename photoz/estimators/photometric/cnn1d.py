"""A one-dimensional convolution along the bands: `Cnn1dEstimator`."""

from typing import Any, ClassVar

from torch import Tensor, nn

from photoz.estimators.photometric.fitting import Recipe, SmallNetworkEstimator, make_defaults

CLASSROOM = Recipe(optimizer="rmsprop", learning_rate=1e-6, batch_size=16)
"""The classroom project's. At this rate some 100,000 steps move a weight by at most 0.1, which
explains its R² of 0.66. To fit with it: ``Cnn1dEstimator.fit(sample, **asdict(CLASSROOM))``."""

RECIPE = Recipe(optimizer="rmsprop", learning_rate=1e-3, batch_size=128)
"""What the same network needs to converge within minutes."""


class Cnn1d(nn.Module):
    """Conv1d 1 -> 16 (kernel 3, padding 1), ReLU, max pool 2, linear: the classroom project's layers.

    Parameters
    ----------
    bands : int
        With a single band nothing is pooled.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        pool = 2 if bands > 1 else 1
        self.convolution = nn.Conv1d(1, 16, kernel_size=3, padding=1)
        self.pool = nn.MaxPool1d(pool)
        # Rounded down: with an odd number of bands the pooling leaves the last one out, as torch's does by default.
        self.linear = nn.Linear(16 * (bands // pool), 1)

    def forward(self, features_NF: Tensor) -> Tensor:
        """Return one value a row, shape (N,)."""
        # The bands lie along the axis that is convolved, so their order, by wavelength, is part of the model.
        channels_NCF = self.pool(self.convolution(features_NF.unsqueeze(1)).relu())
        values: Tensor = self.linear(channels_NCF.flatten(1)).squeeze(1)
        return values


class Cnn1dEstimator(SmallNetworkEstimator):
    """The classroom project's convolutional network (its test MSE 0.0225, R² 0.655)."""

    name: ClassVar[str] = "cnn1d"
    DEFAULTS: ClassVar[dict[str, Any]] = make_defaults(RECIPE)

    @staticmethod
    def make_network(bands: int) -> nn.Module:
        """Build `Cnn1d`."""
        return Cnn1d(bands)
