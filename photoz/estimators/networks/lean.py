"""A lean image branch: a stem with a stride and residual blocks, a fifth of the paper's multiply-adds a galaxy.

References
----------
Residual blocks: He et al. 2016 (arXiv:1512.03385). Without batch normalisation, so that a galaxy's estimate hangs on
itself alone in training too; that blocks begin as the identity takes its place (Zhang et al. 2019, arXiv:1901.09321).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from photoz.estimators.networks.convolution import Convolution

WIDTHS = (40, 80)
"""Channels at 12 x 12 and at 6 x 6 pixels of a cutout of 36."""


class Residual(nn.Module):
    """Two convolutions of 3 x 3 whose outcome is added to what they read, and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """Return (N, channels, Y, X)."""
        return functional.relu(maps_NCYX + self.second(self.first(maps_NCYX)), inplace=True)


class LeanBranch(nn.Module):
    """From images with their masks (N, 2 B, Y, X) to features (N, `features`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        shallow, deep = WIDTHS
        self.stem = Convolution(channels, shallow, 7, stride=3)
        self.shallow = Residual(shallow)
        self.down = Convolution(shallow, deep, 3, stride=2)
        self.deep = Residual(deep)
        self.features = 2 * deep

    def begin_as_identity(self) -> None:
        """Have the blocks add nothing yet."""
        for block in (self.shallow, self.deep):
            nn.init.zeros_(block.second.weight)

    def forward(self, images_NCYX: Tensor) -> Tensor:
        """Return the maps' means over the whole cutout and over its middle, (N, features)."""
        maps_NCYX = self.deep(self.down(self.shallow(self.stem(images_NCYX)))).float()
        side = maps_NCYX.shape[-1]
        # The galaxy lies in the middle; what is around it are neighbours and sky.
        middle = slice((side - 1) // 2, side // 2 + 1)
        means = maps_NCYX.mean(dim=(2, 3)), maps_NCYX[:, :, middle, middle].mean(dim=(2, 3))
        return torch.cat(means, dim=1)
