"""The combined networks laid out for inference: `pack_network`.

Same weights, same sums, fewer passes over memory: ReLU within the convolution that it follows, two 1x1 convolutions
that read the same map as one, weights held in the order that the processor's kernels read, the largest maps made of a
few galaxies at a time, so that a CPU still has them in its cache when they are pooled. On a CPU the convolutions
are oneDNN's kernels (those that torch.compile would call, without its minute of compilation), for the dense layer too:
torch's own takes MKL's there, half as fast on a processor that is not Intel's. Figures: docs/benchmarks/forward.md.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from photoz.estimators.base import Precision
from photoz.estimators.networks.network import HybridNetwork, MaskedNetwork

_OPERATORS = (
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_reorder_linear_weight",
    "_linear_pointwise",
    "_is_mkldnn_bf16_supported",
)
"""torch's own, which it may rename: these are of 2.13. Where one of them is missing, its public layers serve."""
_TYPICAL_SIDE = 12  # [pixel] of a map; told none, oneDNN may pack weights so that each call packs them anew (2.5 ms)
_RUN = 32  # galaxies whose largest maps are made together on a CPU

N = TypeVar("N", HybridNetwork, MaskedNetwork)


class PackedConvolution(nn.Module):
    """Convolutions of one kernel size that read the same map, and ReLU: their outputs one after another.

    Parameters
    ----------
    parts : `photoz.estimators.networks.convolution.Convolution`, or torch.nn.Conv2d
        Of one kernel and stride, with half a kernel of padding.
    dtype : torch.dtype
        Of weights, inputs and outputs.
    """

    def __init__(self, *parts: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        # Side by side in the output channels: the same map is read once for all parts.
        layers: list[Any] = [getattr(part, "convolution", part) for part in parts]
        self.stride = list(layers[0].stride)
        weight = torch.cat([layer.weight.detach() for layer in layers]).to(dtype, memory_format=torch.channels_last)
        self.padding = [weight.shape[-1] // 2] * 2
        self.bias = torch.cat([layer.bias.detach() for layer in layers if layer.bias is not None]).to(dtype)
        self.onednn = _has_onednn(weight)
        self.weight = weight
        if self.onednn:
            maps = [1, weight.shape[1], _TYPICAL_SIDE, _TYPICAL_SIDE]
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                weight, self.padding, self.stride, [1, 1], 1, maps
            )

    def forward(self, images_NCYX: Tensor, added_NCYX: Tensor | None = None) -> Tensor:
        """Return (N, channels of all parts, Y, X); another map may be added before ReLU."""
        images_NCYX = images_NCYX.to(self.bias.dtype)
        if not self.onednn:
            made_NCYX = functional.conv2d(images_NCYX, self.weight, self.bias, self.stride, self.padding)
            return functional.relu(made_NCYX if added_NCYX is None else made_NCYX + added_NCYX, True)
        how = (self.weight, self.bias, self.padding, self.stride, [1, 1], 1)
        if added_NCYX is None:
            return torch.ops.mkldnn._convolution_pointwise(images_NCYX, *how, "relu", [], "")  # type: ignore[no-any-return]
        return torch.ops.mkldnn._convolution_pointwise.binary(  # type: ignore[no-any-return]
            images_NCYX, added_NCYX, *how, "add", 1.0, "relu", [], ""
        )


class PackedLinear(nn.Module):
    """A dense layer whose products are of another type, and whose outputs are float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.bias = dtype, None if bias is None else bias.detach()
        self.weight = weight.detach().to(dtype)
        self.onednn = _has_onednn(self.weight)
        if self.onednn:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight.contiguous())

    def forward(self, values_NP: Tensor) -> Tensor:
        """Return (N, outputs), float32."""
        values_NP = values_NP.to(self.dtype)
        if self.onednn:
            made_NJ: Tensor = torch.ops.mkldnn._linear_pointwise(values_NP, self.weight, None, "none", [], "").float()
        else:
            made_NJ = functional.linear(values_NP, self.weight).float()
        if self.bias is not None:
            made_NJ = made_NJ + self.bias
        return made_NJ


class PackedJoin(nn.Module):
    """A `.network.Join` that multiplies the image's features in another type, and adds in float32."""

    def __init__(self, layer: nn.Linear, width: int, *, dtype: torch.dtype) -> None:
        super().__init__()
        # The magnitudes' part stays float32: autocast, which rounds it too, moves redshifts by up to 4.2e-3, this by
        # 1.3e-4 (docs/benchmarks/forward.md).
        self.bias, self.rest = layer.bias.detach(), layer.weight.detach()[:, width:].contiguous()
        self.own = PackedLinear(layer.weight[:, :width], None, dtype=dtype)

    def forward(self, photometry_NP: Tensor, image_NP: Tensor) -> Tensor:
        """Return (N, outputs), float32."""
        joined_NJ: Tensor = self.own(image_NP) + functional.linear(photometry_NP, self.rest, self.bias)
        return joined_NJ


class PackedInception(nn.Module):
    """A `.network.Inception` module with two of its three 1x1 convolutions of the same map as one.

    The third's outputs are read whole by the next, and would be copied from among the others'.
    """

    def __init__(self, module: Any, *, dtype: torch.dtype) -> None:
        super().__init__()
        # The wide path first: `forward` splits by this order.
        points = (module.wide[0], module.point)
        self.points = PackedConvolution(*points, dtype=dtype)
        self.sizes = [part.convolution.out_channels for part in points]
        self.middle = nn.Sequential(*(PackedConvolution(part, dtype=dtype) for part in module.middle))
        self.wide = PackedConvolution(module.wide[1], dtype=dtype)
        self.pooled = PackedConvolution(module.pooled, dtype=dtype)

    def forward(self, images_NCYX: Tensor) -> Tensor:
        """Return (N, 256, Y, X)."""
        wide_NCYX, point_NCYX = self.points(images_NCYX).split(self.sizes, dim=1)
        pooled_NCYX = self.pooled(max_pool_neighbours(images_NCYX))
        return torch.cat([point_NCYX, self.middle(images_NCYX), self.wide(wide_NCYX), pooled_NCYX], dim=1)


class PackedImageBranch(nn.Module):
    """A `.network.ImageBranch` with packed layers in place of its own, the first run in parts."""

    def __init__(self, branch: Any, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.features = branch.features
        self.branch = branch
        branch.stem = PackedConvolution(branch.stem, dtype=dtype)
        branch.middle = nn.Sequential(*(PackedConvolution(part, dtype=dtype) for part in branch.middle))
        branch.inception = nn.Sequential(*(PackedInception(module, dtype=dtype) for module in branch.inception))

    def forward(self, images_NBYX: Tensor) -> Tensor:
        """Return (N, features), flattened pixel by pixel."""
        runs = torch.split(images_NBYX, _RUN) if images_NBYX.device.type == "cpu" else (images_NBYX,)
        flat_NP: Tensor = self.branch.finish(torch.cat([self.branch.begin(run_NBYX) for run_NBYX in runs]))
        return flat_NP


class PackedResidual(nn.Module):
    """A `.lean.Residual` block: what is added, and ReLU, within the second convolution."""

    def __init__(self, block: Any, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.first, self.second = (PackedConvolution(part, dtype=dtype) for part in (block.first, block.second))

    def forward(self, maps_NCYX: Tensor) -> Tensor:
        """Return (N, channels, Y, X)."""
        made_NCYX: Tensor = self.second(self.first(maps_NCYX), maps_NCYX)
        return made_NCYX


def pack_lean(branch: Any, *, dtype: torch.dtype) -> nn.Module:
    """Replace the layers of a `.lean.LeanBranch` by packed ones, in place."""
    branch.stem, branch.down = (PackedConvolution(part, dtype=dtype) for part in (branch.stem, branch.down))
    branch.shallow, branch.deep = (PackedResidual(part, dtype=dtype) for part in (branch.shallow, branch.deep))
    return branch  # type: ignore[no-any-return]


def max_pool_neighbours(images_NCYX: Tensor) -> Tensor:
    """Compute `.network.max_pool_same` faster, without gradients: the greater of two, twice."""
    across_NCYX = torch.empty_like(images_NCYX)
    torch.maximum(images_NCYX[..., :-1], images_NCYX[..., 1:], out=across_NCYX[..., :-1])
    across_NCYX[..., -1] = images_NCYX[..., -1]
    pooled_NCYX = torch.empty_like(images_NCYX)
    torch.maximum(across_NCYX[..., :-1, :], across_NCYX[..., 1:, :], out=pooled_NCYX[..., :-1, :])
    pooled_NCYX[..., -1, :] = across_NCYX[..., -1, :]
    return pooled_NCYX


def pack_network(network: N, precision: Precision) -> N:
    """Return a copy of a trained network for inference on the device it is on.

    Parameters
    ----------
    network : HybridNetwork or MaskedNetwork
        In evaluation mode.
    precision : {"float32", "bfloat16"}
        Of the image branch and the dense layer that reads it, which are nearly all of the work. Weights of bfloat16
        have 8 significant bits; sums are float32 in both.
    """
    # Layers are replaced within the copy; the network itself stays as it is, for training and for saving.
    packed = copy.deepcopy(network)
    image: Any = packed.image
    if image is None:  # nothing that is worth it
        return packed
    dtype = getattr(torch, precision)
    if isinstance(packed, HybridNetwork):
        packed.register_module("image", PackedImageBranch(image, dtype=dtype))
        join: Any = packed.join[0]
        packed.join[0] = PackedJoin(join, image.features, dtype=dtype)
    else:
        pack_lean(image, dtype=dtype)
        latents: Any = packed.latents
        latents[0] = PackedLinear(latents[0].weight, latents[0].bias, dtype=dtype)
    return packed


def _has_onednn(weight: Tensor) -> bool:
    if not all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS):
        return False
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    # oneDNN's kernels of bfloat16 need a processor that has it; torch's public layers serve the others.
    return weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
