"""Galaxies with inputs dropped at random, so that a network learns to do without them.

On the network's device, images too, at each step beside the galaxies as they are; mlp loses magnitudes before features
are made of them (`photoz.estimators.mlp.lacking`).
"""

import torch
from torch import Tensor

from photoz.estimators.networks.masks import Photometry
from photoz.training.settings import Dropped


def drop_inputs(
    photometry: Photometry,
    seen_NB: Tensor | None,
    *,
    settings: Dropped,
    unimaged_F: Tensor,
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
    unimaged_F : Tensor of bool, shape (F,)
        The bands without images.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    Photometry, seen_NB
        A galaxy that would be left with nothing keeps all its magnitudes.
    """
    rows, bands = photometry.values_NF.shape
    # All draws at once and on the CPU: what is dropped follows from the seed, whichever device the network is on.
    draw_ND = torch.rand(rows, bands + 3, generator=generator).to(photometry.values_NF.device)
    dropped_NF = draw_ND[:, :bands] < settings.band
    dropped_NF |= (draw_ND[:, bands] < settings.unimaged).unsqueeze(1) & unimaged_F
    has_image_N = torch.zeros(rows, dtype=torch.bool, device=dropped_NF.device)
    if seen_NB is not None:
        seen_NB = seen_NB & (draw_ND[:, bands + 1] >= settings.image).unsqueeze(1)
        # After the image was dropped: only where it is still there may all magnitudes go.
        has_image_N = seen_NB.any(dim=1)
    dropped_NF |= ((draw_ND[:, bands + 2] < settings.photometry) & has_image_N).unsqueeze(1)
    # Bands that the survey lacks anyway count as well, so that none is left with the few it had.
    left_N = (torch.isfinite(photometry.values_NF) & ~dropped_NF).any(dim=1) | has_image_N
    return photometry.drop(dropped_NF & left_N.unsqueeze(1)), seen_NB


def drop_image_bands(
    images_NBYX: Tensor, seen_NB: Tensor, *, chance: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Empty one random band of some images, never the last one that an image has; returns images and bands seen.

    Parameters
    ----------
    images_NBYX : Tensor, shape (N, B, Y, X)
    seen_NB : Tensor of bool, shape (N, B)
        Image bands that are there.
    chance : float
        In 0..1, of an image to lose a band.
    generator : torch.Generator
        On the CPU.
    """
    rows, bands = seen_NB.shape
    draw_N2 = torch.rand(rows, 2, generator=generator).to(seen_NB.device)
    band_N = (draw_N2[:, 1] * bands).long().clamp(max=bands - 1)
    chosen_NB = torch.nn.functional.one_hot(band_N, bands).bool() & (draw_N2[:, :1] < chance)
    left_NB = seen_NB & ~chosen_NB
    left_NB = torch.where(left_NB.any(dim=1, keepdim=True), left_NB, seen_NB)
    # Pixels of 0 are what a band without an image has after scaling.
    return images_NBYX * left_NB[:, :, None, None], left_NB
