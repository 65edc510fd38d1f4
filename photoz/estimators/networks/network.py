"""The combined networks: an Inception branch on images, a plain branch on magnitudes, joined.

`HybridNetwork` is the paper's; `MaskedNetwork` is mlp's ensemble beside a lean image branch (`.lean`), takes masks of
what is missing and gives p(z).

References
----------
Architecture: John William et al. 2023 (arXiv:2312.08043) and Hybrid-z (A&A 698, A276, 2025); Inception modules after
Szegedy et al. 2015 (arXiv:1409.4842). What the papers leave open is chosen here: the first convolution has stride 1
(which gives the paper's 68 million multiply-adds a galaxy), every dense and convolutional layer but the last is
followed by ReLU, batch normalisation comes after the ReLU, the output is linear and estimates ln(1 + z).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from photoz.estimators.mlp.ensemble import Ensemble, spread_components
from photoz.estimators.networks.convolution import Convolution
from photoz.estimators.networks.lean import LeanBranch
from photoz.estimators.photometric.features import count_features

PHOTOMETRY_FEATURES = 64
INCEPTION_CHANNELS = 256
INCEPTION_MODULES = 4
LATENTS = 64
"""Numbers that the image branch gives to the members."""
HIDDEN = (256, 256, 128)
"""Units of the members' layers: those of mlp (docs/benchmarks/mlp-levers.md)."""


def average_pool_same(images_NCYX: Tensor, kernel: int, stride: int) -> Tensor:
    """Average-pool with TensorFlow's "same" padding: ceil(size / stride) outputs, padding left out of the means.

    TensorFlow pads ``max((ceil(size / stride) - 1) * stride + kernel - size, 0)`` pixels in all, the smaller half
    before; torch's ``ceil_mode`` supplies the odd pixel after.

    Parameters
    ----------
    images_NCYX : Tensor, shape (N, C, Y, X)
        Square.
    kernel, stride : int
        [pixel] stride > 1 and stride <= kernel.
    """
    # The paper used Keras, whose "same" pads unevenly; torch's pooling pads both sides alike.
    size = images_NCYX.shape[-1]
    padding = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return functional.avg_pool2d(
        images_NCYX, kernel, stride, padding=padding // 2, ceil_mode=True, count_include_pad=False
    )


def max_pool_same(images_NCYX: Tensor) -> Tensor:
    """Max-pool 2 x 2 at stride 1 with TensorFlow's "same" padding: the one pixel of padding lies after the image."""
    # torch pads on both sides: what the pixel before the image made is cut off.
    return functional.max_pool2d(images_NCYX, 2, 1, padding=1)[..., 1:, 1:]


class Inception(nn.Module):
    """One Inception module: 1x1, 3x3, 5x5 and pooled paths side by side, 256 channels out."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.point = Convolution(channels_in, 64, 1)
        self.middle = nn.Sequential(Convolution(channels_in, 96, 1), Convolution(96, 128, 3))
        self.wide = nn.Sequential(Convolution(channels_in, 16, 1), Convolution(16, 32, 5))
        self.pooled = Convolution(channels_in, 32, 1)

    def forward(self, images_NCYX: Tensor) -> Tensor:
        """Return (N, 256, Y, X)."""
        paths = (
            self.point(images_NCYX),
            self.middle(images_NCYX),
            self.wide(images_NCYX),
            self.pooled(max_pool_same(images_NCYX)),
        )
        return torch.cat(paths, dim=1)


class ImageBranch(nn.Module):
    """From images (N, B, Y, X) to features (N, `features`)."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.stem = Convolution(channels, 64, 7)
        self.middle = nn.Sequential(Convolution(64, 64, 1), Convolution(64, 192, 3))
        modules = [Inception(192), *(Inception(INCEPTION_CHANNELS) for _ in range(INCEPTION_MODULES - 1))]
        self.inception = nn.Sequential(*modules)
        # By the two poolings of `begin`: 36 pixels become 12 and then 6, and 6 x 6 x 256 are 9,216 features.
        side = math.ceil(math.ceil(size / 3) / 2)
        self.features = side * side * INCEPTION_CHANNELS

    def forward(self, images_NBYX: Tensor) -> Tensor:
        """Return (N, features), flattened pixel by pixel."""
        return self.finish(self.begin(images_NBYX))

    def begin(self, images_NBYX: Tensor) -> Tensor:
        """Return the maps that the Inception modules read."""
        maps_NCYX = average_pool_same(self.stem(images_NBYX), 3, 3)
        return average_pool_same(self.middle(maps_NCYX), 3, 2)

    def finish(self, maps_NCYX: Tensor) -> Tensor:
        """Return the features of the maps of `begin`."""
        # Channels last before flattening: in the memory format the convolutions work in, this copies nothing.
        flat_NP: Tensor = self.inception(maps_NCYX).permute(0, 2, 3, 1).flatten(1)
        return flat_NP


class PhotometryBranch(nn.Module):
    """From standardised magnitudes (N, F) to features (N, 64)."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(bands, 512),
            nn.ReLU(),
            nn.Linear(512, 256),
            nn.ReLU(),
            # Keras' epsilon; torch's default is 1e-5.
            nn.BatchNorm1d(256, eps=1e-3),
            nn.Dropout(0.2),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Linear(128, PHOTOMETRY_FEATURES),
            nn.ReLU(),
        )

    def forward(self, features_NF: Tensor) -> Tensor:
        """Return (N, 64)."""
        return self.layers(features_NF)  # type: ignore[no-any-return]


class Join(nn.Linear):
    """The dense layer that reads the features of both branches, those of the image first."""

    def forward(self, photometry_NP: Tensor, image_NP: Tensor | None = None) -> Tensor:
        """Return (N, outputs); without an image branch the photometry's features are all."""
        return super().forward(photometry_NP if image_NP is None else torch.cat([image_NP, photometry_NP], dim=1))


class HybridNetwork(nn.Module):
    """The paper's network: standardised magnitudes (N, F) and scaled images (N, B, Y, X) in, ln(1 + z) (N,) out.

    Parameters
    ----------
    bands : int
        Number of magnitudes.
    image_bands, cutout_size : int
        Bands and side [pixel] of the images; with ``image_bands`` 0 the network has no image branch.

    Notes
    -----
    Weights are drawn from He et al. 2015 (arXiv:1502.01852), normal, fan-in; biases are 0. They come from torch's
    global generator: seed it first for the same network again.
    """

    def __init__(self, bands: int, *, image_bands: int = 0, cutout_size: int = 0) -> None:
        super().__init__()
        self.photometry = PhotometryBranch(bands)
        # Made in this order: weights come from torch's global generator, and another order would give another network
        # for a seed.
        self.image = ImageBranch(image_bands, cutout_size) if image_bands else None
        width = PHOTOMETRY_FEATURES + (self.image.features if self.image else 0)
        self.join = nn.Sequential(Join(width, 1024), nn.ReLU(), nn.Linear(1024, 1))
        self.apply(_initialise)

    def forward(self, features_NF: Tensor, images_NBYX: Tensor | None = None) -> Tensor:
        """Return the estimates of ln(1 + z), shape (N,)."""
        image_NP = None if self.image is None else self.image(images_NBYX)
        joined_NJ = self.join[0](self.photometry(features_NF), image_NP)
        return self.join[1:](joined_NJ).squeeze(1)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Head:
    """What a `MaskedNetwork` gives.

    Parameters
    ----------
    kind : str
        "mixture" (of Gaussians), "binned" (a density constant within bins) or "point" (no density).
    members : int
        Small networks that share what is made of the image; their spread is the model's own uncertainty.
    parts : int
        Gaussians or bins a member.
    """

    kind: str = "mixture"
    members: int = 5
    parts: int = 5

    @property
    def outputs(self) -> int:
        """Numbers a member gives: the point estimate first, then what describes its density."""
        return 1 + {"mixture": 3 * self.parts, "binned": self.parts, "point": 0}[self.kind]


class MaskedNetwork(nn.Module):
    """The members of mlp's kind, which read the features of the fluxes and what the image branch makes of the image.

    Parameters
    ----------
    bands : int
        Number of bands of the fluxes.
    image_bands : int
        With 0 the network has no image branch.
    head : Head

    Notes
    -----
    The buffer ``target_scale`` holds mean and spread of ln(1 + z) of the training galaxies: outputs are in units of it.
    """

    target_scale: Tensor

    def __init__(self, bands: int, *, image_bands: int = 0, head: Head | None = None) -> None:
        super().__init__()
        self.head = head or Head()
        self.present = count_features(bands)  # column of the features that tells whether there is an image
        self.image = LeanBranch(2 * image_bands) if image_bands else None
        self.latents = nn.Sequential(nn.Linear(self.image.features, LATENTS), nn.SiLU()) if self.image else None
        self.apply(_initialise)
        if self.image is not None:
            self.image.begin_as_identity()
        inputs = self.present + (1 + image_bands + LATENTS if image_bands else 0)
        self.members = Ensemble(inputs, HIDDEN, self.head.outputs, members=self.head.members)
        if self.head.kind == "mixture":
            spread_components(self.members.biases[-1], self.head.parts)
        # A buffer, for it is no weight and yet has to be saved, moved and sent to workers with them.
        self.register_buffer("target_scale", torch.tensor([0.0, 1.0]))

    def forward(self, features_MF: Tensor, images_NBYX: Tensor | None = None) -> Tensor:
        """Return what each member gives, shape (M, K, P), in units of the targets' scale.

        Parameters
        ----------
        features_MF : Tensor, shape (M, F)
            From `.masks.encode`. M is a multiple of N: each image serves M / N rows, one after N others, which lets
            the same galaxies be seen with other things missing for the price of the members.
        images_NBYX : Tensor, shape (N, 2 B, Y, X), or None
            Of any size, from `.images.compress_cutouts`. Not looked at where the features say that there is no image.
        """
        read_MF = features_MF
        if self.image is not None and self.latents is not None:
            seen_M1 = features_MF[:, self.present : self.present + 1] > 0
            latents_NJ = self.latents(self.image(images_NBYX))
            read_MF = torch.cat([features_MF, share_images(latents_NJ, seen_M1)], dim=1)
        with torch.autocast(read_MF.device.type, enabled=False):  # bf16 would round redshifts to 1 %
            return self.members(read_MF.float()).transpose(0, 1)  # type: ignore[no-any-return]


def share_images(latents_NJ: Tensor, seen_M1: Tensor) -> Tensor:
    """Give each row what comes from its image, shape (M, J); 0 where ``seen_M1`` is False, whatever the pixels are.

    M is a multiple of N: each image serves M / N rows, one after N others.
    """
    # An empty batch has no image and no row: 0 // 1, not 0 // 0.
    shares = len(seen_M1) // max(len(latents_NJ), 1)
    return torch.where(seen_M1, latents_NJ.repeat(shares, 1), 0.0)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        # torch's own default is uniform, with a sixth of this variance.
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
