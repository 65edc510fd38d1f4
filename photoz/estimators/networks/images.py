"""Cutouts as our own networks read them: asinh of the flux over the sky's noise, and what is missing as a mask.

The paper's network has its images stretched band by band (`photoz.estimators.networks.scaling`), which takes fluxes and
colours from them and cuts the core off.
"""

import math

import torch
from torch import Tensor

from photoz.estimators.networks.scaling import find_limits

SCALE = 4.0
"""Of the images: asinh of the signal to noise of a pixel over it, so that galaxies' cores are about 2."""
LIMIT = 4.0
"""Pixels lie within it, a signal to noise of 4 million: what is beyond is a defect and must not drive a network."""
_ROWS = 3  # of which one serves to measure the noise: a third of the pixels tell it to 5 %
_MOST = math.sinh(LIMIT * SCALE)
_TO_SIGMA = 1.4826 / 2**0.5  # from the median absolute difference of two pixels to the spread of one, if normal


def compress_cutouts(cutouts_NBYX: Tensor) -> tuple[Tensor, Tensor]:
    """Compress cutouts to asinh(flux / noise), with the noise of each band of each cutout.

    Parameters
    ----------
    cutouts_NBYX : Tensor of float32, shape (N, B, Y, X)
        [flux] values that are not finite count as missing.

    Returns
    -------
    images_NCYX : Tensor of float32, shape (N, 2 B, Y, X)
        Channels last in memory: the bands, then where each has a pixel (1; else 0). Missing pixels are 0, and so is a
        band that has no noise.
    seen_NB : Tensor of bool, shape (N, B)
        Bands that hold a finite pixel.
    """
    n, bands, y, x = cutouts_NBYX.shape
    images_NCYX = cutouts_NBYX.new_empty(n, 2 * bands, y, x).contiguous(memory_format=torch.channels_last)
    finite_NBYX = torch.isfinite(cutouts_NBYX)
    noise_NB = measure_noise(cutouts_NBYX)
    # Over infinity a band without noise is 0; over 0 it would be NaN, and so would the whole galaxy.
    scale_NB = torch.where(noise_NB > 0, noise_NB, torch.inf)
    values_NBYX = compute_asinh(cutouts_NBYX / scale_NB[:, :, None, None]).div_(SCALE).clamp_(-LIMIT, LIMIT)
    images_NCYX[:, :bands] = torch.where(finite_NBYX, values_NBYX, 0.0)
    images_NCYX[:, bands:] = finite_NBYX
    return images_NCYX, finite_NBYX.flatten(2).any(dim=2)


def compute_asinh(values: Tensor) -> Tensor:
    """Compute asinh of values of any shape, of those beyond sinh(LIMIT x SCALE) that of this limit; NaN stays.

    On a CPU torch's own takes one number at a time, 117 µs of the 160 that a galaxy took here; this takes 20.

    References
    ----------
    asinh |x| = log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), which loses no digit near 0.
    """
    # Limited first, or the square of a defect would be infinite.
    size = values.abs().clamp_(max=_MOST)
    square = size * size
    size.add_(square / (square + 1.0).sqrt_().add_(1.0)).log1p_()
    return size.copysign_(values)


def measure_noise(cutouts_NBYX: Tensor) -> Tensor:
    """Measure the noise of a pixel [flux] in each band of each cutout, shape (N, B); NaN where there are no pixels.

    From the median absolute difference of pixels side by side, in which galaxies and sky, which are smooth, cancel.
    """
    rows_NBYX = cutouts_NBYX[:, :, ::_ROWS]
    steps_NBYX = (rows_NBYX[..., 1:] - rows_NBYX[..., :-1]).abs_()
    middle_M, _, _ = find_limits(steps_NBYX.flatten(2).flatten(0, 1), 0.5, 0.5)
    return _TO_SIGMA * middle_M.reshape(cutouts_NBYX.shape[:2])
