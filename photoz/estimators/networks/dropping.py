"""Galaxies with inputs dropped at random, so that a network learns to do without them.

At each step, images too, beside the galaxies as they are; mlp loses bands once an epoch
(`photoz.estimators.mlp.lacking`).
"""

import numpy as np
import torch
from torch import Tensor

from photoz.estimators.mlp.lacking import Mask, choose_dark, darken_bands
from photoz.estimators.networks.masks import Photometry
from photoz.training.settings import Dropped


def drop_inputs(
    photometry: Photometry,
    seen_NB: Tensor | None,
    *,
    settings: Dropped,
    unimaged_F: Mask,
    generator: torch.Generator,
) -> tuple[Photometry, Tensor | None]:
    """Drop bands, all bands without images, the image or the photometry, each at random and by itself.

    Parameters
    ----------
    photometry : Photometry
        Of N galaxies.
    seen_NB : Tensor of bool, shape (N, B), or None
        Image bands that are there.
    settings : Dropped
        Chances of each.
    unimaged_F : ndarray of bool, shape (F,)
        The bands without images.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Photometry, seen_NB
        A galaxy that would be left with nothing keeps all its magnitudes.
    """
    rows, bands = photometry.fluxes_NF.shape
    # All draws at once and on the CPU: what is dropped follows from the seed, whichever device the network is on.
    draw_ND = torch.rand(rows, bands + 3, generator=generator).numpy()
    dropped_NF = draw_ND[:, :bands] < settings.band
    dropped_NF |= (draw_ND[:, bands, None] < settings.unimaged) & unimaged_F
    has_image_N = np.zeros(rows, dtype=bool)
    if seen_NB is not None:
        seen_NB = seen_NB & torch.from_numpy(draw_ND[:, bands + 1, None] >= settings.image).to(seen_NB.device)
        # After the image was dropped: only where it is still there may all magnitudes go.
        has_image_N = seen_NB.any(dim=1).cpu().numpy()
    dropped_NF |= ((draw_ND[:, bands + 2] < settings.photometry) & has_image_N)[:, None]
    # Bands that the survey lacks anyway count as well, so that none is left with the few it had.
    dark_NF = choose_dark(photometry, settings.dark, np.random.default_rng(_draw_seed(generator)))
    darker = darken_bands(photometry, dark_NF)
    left_N = (darker.detected_NF & ~dropped_NF).any(axis=1) | has_image_N
    return darker.drop(dropped_NF & left_N[:, None]), seen_NB


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**62, (1,), generator=generator))


def drop_image_bands(
    images_NBYX: Tensor, seen_NB: Tensor, *, chance: float, generator: torch.Generator, together_B: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Empty one random band of some images, never the last one that an image has; returns images and bands seen.

    Bands that are missing together are one choice more.

    Parameters
    ----------
    images_NBYX : Tensor, shape (N, B, Y, X) or (N, 2 B, Y, X)
        Bands, and their masks where they have some.
    seen_NB : Tensor of bool, shape (N, B)
        Image bands that are there.
    chance : float
        In 0..1, of an image to lose a band.
    generator : torch.Generator
        On the CPU.
    together_B : Tensor of bool, shape (B,), or None
        Bands that are missing together.
    """
    rows, bands = seen_NB.shape
    draw_N2 = torch.rand(rows, 2, generator=generator).to(seen_NB.device)
    choices_CB = torch.eye(bands, dtype=torch.bool, device=seen_NB.device)
    if together_B is not None and together_B.any():
        choices_CB = torch.cat([choices_CB, together_B.unsqueeze(0)])
    choice_N = (draw_N2[:, 1] * len(choices_CB)).long().clamp(max=len(choices_CB) - 1)
    chosen_NB = choices_CB[choice_N] & (draw_N2[:, :1] < chance)
    left_NB = seen_NB & ~chosen_NB
    left_NB = torch.where(left_NB.any(dim=1, keepdim=True), left_NB, seen_NB)
    return empty_bands(images_NBYX, left_NB), left_NB


def empty_bands(images_NBYX: Tensor, kept_NB: Tensor) -> Tensor:
    """Empty image bands, and their masks where there are some: pixels of 0 are what a band without an image has."""
    kept_NC = kept_NB.repeat(1, images_NBYX.shape[1] // kept_NB.shape[1])
    return images_NBYX * kept_NC[:, :, None, None]
