"""The combined network: an Inception branch on images, a plain branch on magnitudes, joined.

`HybridNetwork` is the paper's; `MaskedNetwork` has the same branches, takes masks of what is missing and gives p(z).

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

PHOTOMETRY_FEATURES = 64
INCEPTION_CHANNELS = 256
INCEPTION_MODULES = 4
MEMBER_WIDTH = 64


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


class Convolution(nn.Module):
    """A convolution of stride 1 with "same" padding, and ReLU."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)

    def forward(self, images_NCYX: Tensor) -> Tensor:
        """Return (N, channels_out, Y, X)."""
        # In place, since no gradient needs what the convolution gave: ReLU's asks for its own output.
        return functional.relu(self.convolution(images_NCYX), inplace=True)


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
    """The dense layer that reads the features of both branches, those of the image first.

    Where rows may lack an image it multiplies with each part apart, so that an image that serves several rows is
    multiplied once.
    """

    def forward(self, photometry_MP: Tensor, image_NP: Tensor | None = None, seen_M1: Tensor | None = None) -> Tensor:
        """Return (M, outputs).

        Parameters
        ----------
        photometry_MP : Tensor, shape (M, P)
        image_NP : Tensor, shape (N, P'), or None
            None: no image branch.
        seen_M1 : Tensor of bool, shape (M, 1), or None
            As in `add_image`.
        """
        if image_NP is None:
            return super().forward(photometry_MP)
        if seen_M1 is None:  # one product trains faster, where each image serves one row
            return super().forward(torch.cat([image_NP, photometry_MP], dim=1))
        # One split, whose gradient is put together once; two slices would each fill a gradient of the whole.
        own_JP, rest_JP = self.weight.split_with_sizes([image_NP.shape[1], photometry_MP.shape[1]], dim=1)
        from_image_NJ = functional.linear(image_NP, own_JP)
        return add_image(functional.linear(photometry_MP, rest_JP, self.bias), from_image_NJ, seen_M1)


def add_image(from_photometry_MJ: Tensor, from_image_NJ: Tensor, seen_M1: Tensor | None) -> Tensor:
    """Add what comes from the images to what comes from the magnitudes.

    Parameters
    ----------
    from_photometry_MJ : Tensor, shape (M, J)
    from_image_NJ : Tensor, shape (N, J)
        M is a multiple of N: each image serves M / N rows, one after N others.
    seen_M1 : Tensor of bool, shape (M, 1), or None
        Nothing is added where it is False, whatever the pixels are; None: everywhere.
    """
    # An empty batch has no image and no row: 0 // 1, not 0 // 0.
    shares = len(from_photometry_MJ) // max(len(from_image_NJ), 1)
    from_image_MJ = from_image_NJ.repeat(shares, 1) if shares > 1 else from_image_NJ
    if seen_M1 is not None:  # a row without an image gets nothing from it, whatever its pixels are
        from_image_MJ = torch.where(seen_M1, from_image_MJ, 0.0)
    return from_photometry_MJ + from_image_MJ


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
        Small networks that share all but the last layers; their spread is the model's own uncertainty.
    parts : int
        Gaussians or bins a member.
    """

    kind: str = "mixture"
    members: int = 4
    parts: int = 5

    @property
    def outputs(self) -> int:
        """Numbers a member gives: the point estimate first, then what describes its density."""
        return 1 + {"mixture": 3 * self.parts, "binned": self.parts, "point": 0}[self.kind]


class Members(nn.Module):
    """K small networks side by side, evaluated by one matrix product a layer: (N, `inputs`) in, (N, K, P) out."""

    def __init__(self, inputs: int, head: Head) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, head.members * MEMBER_WIDTH)
        self.weight = nn.Parameter(torch.empty(head.members, MEMBER_WIDTH, head.outputs))
        self.bias = nn.Parameter(torch.zeros(head.members, 1, head.outputs))
        nn.init.normal_(self.weight, std=0.3 * math.sqrt(2.0 / MEMBER_WIDTH))
        if head.kind == "mixture":  # components start spread over the targets
            with torch.no_grad():
                # Column 0 is the point, then weights, centres and widths. The widths start at exp(-0.7), half of the
                # targets' spread.
                self.bias[:, :, 1 + head.parts : 1 + 2 * head.parts] = torch.linspace(-1.5, 1.5, head.parts)
                self.bias[:, :, 1 + 2 * head.parts :] = -0.7

    def forward(self, latents_NJ: Tensor) -> Tensor:
        """Return (N, K, P)."""
        members = len(self.weight)
        # One wide layer cut into members: each reads the same latents, and no other member's units.
        hidden_KNH = functional.relu(self.hidden(latents_NJ)).view(-1, members, MEMBER_WIDTH).transpose(0, 1)
        return torch.baddbmm(self.bias, hidden_KNH, self.weight).transpose(0, 1)


class MaskedNetwork(nn.Module):
    """The paper's two branches with masks of what is missing, and members that give a density each.

    Parameters
    ----------
    bands : int
        Number of magnitudes.
    image_bands, cutout_size : int
        As in `HybridNetwork`.
    head : Head

    Notes
    -----
    The buffer ``target_scale`` holds mean and spread of ln(1 + z) of the training galaxies: outputs are in units of it.
    """

    target_scale: Tensor

    def __init__(self, bands: int, *, image_bands: int = 0, cutout_size: int = 0, head: Head | None = None) -> None:
        super().__init__()
        self.head = head or Head()
        self.present = 3 * bands  # column of the features that tells whether there is an image
        self.photometry = PhotometryBranch(3 * bands + (1 + image_bands if image_bands else 0))
        self.image = ImageBranch(image_bands, cutout_size) if image_bands else None
        width = PHOTOMETRY_FEATURES + (self.image.features if self.image else 0)
        self.join = nn.Sequential(Join(width, 1024), nn.ReLU())
        self.apply(_initialise)
        self.members = Members(1024, self.head)
        # A buffer, for it is no weight and yet has to be saved, moved and sent to workers with them.
        self.register_buffer("target_scale", torch.tensor([0.0, 1.0]))

    def forward(self, features_MF: Tensor, images_NBYX: Tensor | None = None) -> Tensor:
        """Return what each member gives, shape (M, K, P), in units of the targets' scale.

        Parameters
        ----------
        features_MF : Tensor, shape (M, F)
            From `.masks.encode`. M is a multiple of N: each image serves M / N rows, one after N others, which lets
            the same galaxies be seen with other things missing for the price of the join.
        images_NBYX : Tensor, shape (N, B, Y, X), or None
            Not looked at where the features say that there is no image.
        """
        image_NP = None if self.image is None else self.image(images_NBYX)
        seen_M1 = None if self.image is None else features_MF[:, self.present : self.present + 1] > 0
        latents_MJ = self.join[1:](self.join[0](self.photometry(features_MF), image_NP, seen_M1))
        with torch.autocast(latents_MJ.device.type, enabled=False):  # bf16 would round redshifts to 1 %
            return self.members(latents_MJ.float())  # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        # torch's own default is uniform, with a sixth of this variance.
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
