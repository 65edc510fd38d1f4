"""Fit the recalibration of p(z) to galaxies held back for it, as they are and with inputs missing.

mlp has a way of its own (`photoz.estimators.mlp.unseen`), since it holds no galaxies back: each galaxy is judged by the
members that were not fitted to it.
"""

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators.base import Inputs, split_rows
from photoz.estimators.networks.dropping import empty_bands
from photoz.estimators.networks.layout import InputLayout
from photoz.estimators.networks.model import MaskedModel
from photoz.estimators.networks.preparation import View
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration

logger = logging.getLogger(__name__)

_ROWS = 64  # galaxies at a time: each is looked at some 25 times at once, and 9,216 numbers come from its image


def fit_recalibration(model: MaskedModel, galaxies: Iterable[tuple[Inputs, npt.NDArray[np.floating]]]) -> Recalibration:
    """Fit the recalibration to the raw PIT of galaxies, as they are and with inputs dropped.

    Parameters
    ----------
    model : MaskedModel
        One with densities.
    galaxies : iterable of (Inputs, ndarray of shape (N,))
        Inputs and redshifts of galaxies that the network has not seen.
    """
    parts = [
        part
        for inputs, z_spec_N in galaxies
        for rows in split_rows(len(inputs), _ROWS)
        for part in measure_pits(model, inputs.take(rows), z_spec_N[rows])
    ]
    # Only where there is no galaxy at all; too few of them are told apart by `Recalibration.fit`.
    if not parts:
        logger.warning("p(z) is not recalibrated: the training set has no split for it (crossmatch.fractions)")
        return Recalibration.identity()
    return Recalibration.fit(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def measure_pits(
    model: MaskedModel, inputs: Inputs, z_spec_N: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Yield raw PIT, coordinates and pattern numbers of galaxies as they are, and of each way to drop some inputs.

    Parameters
    ----------
    model : MaskedModel
        One with densities.
    inputs : Inputs
        Of N galaxies.
    z_spec_N : ndarray of float, shape (N,)
    """
    with torch.inference_mode():
        for views in _list_views(model, inputs):
            # `run` puts the views one after another, each with all galaxies.
            raw_VNKP = torch.stack(model.run(*views).chunk(len(views)))
            for view, raw_NKP in zip(views, raw_VNKP, strict=True):
                _, density = model.read(raw_NKP)
                assert density is not None  # the caller has asked
                # Coordinates as an estimate would have them: from the magnitudes that the view shows.
                magnitudes_NF = _hide(inputs.magnitudes.magnitudes_NF, view)
                coordinates_NC = make_coordinates(magnitudes_NF, model.layout.bands)
                yield model.compute_raw_pit(density, z_spec_N), coordinates_NC, model.number_view(view)


def _list_views(model: MaskedModel, inputs: Inputs) -> Iterator[list[View]]:
    """List what may be missing: bands, those without images, two bands; the image with each; all magnitudes.

    Then an image band, alone and with its magnitude: a band that was not observed. The views of a list share the work
    of the image branch.
    """
    whole = model.show(inputs)
    rows, bands = whole.photometry.fluxes_NF.shape
    one_FF = np.eye(bands, dtype=bool)
    choices = [np.zeros_like(one_FF[0]), *one_FF]
    unimaged = np.array(model.layout.find_unimaged(), dtype=bool)
    if unimaged.any():
        choices.append(unimaged)
    dropped = [np.broadcast_to(choice, (rows, bands)) for choice in choices]
    if bands > 2:
        # Pairs that change from galaxy to galaxy without a draw, so that the recalibration needs no seed.
        number = np.arange(rows)
        dropped.append(one_FF[number % bands] | one_FF[(number * 5 + 2) % bands])
    views = [whole._replace(photometry=whole.photometry.drop(each)) for each in dropped]
    if whole.seen_NB is None or whole.images_NBYX is None:
        yield views
        return
    # The pixels stay: the members get nothing from an image that is not seen, whatever it holds.
    views += [view._replace(seen_NB=torch.zeros_like(whole.seen_NB)) for view in views]
    views.append(whole._replace(photometry=whole.photometry.drop(np.ones_like(dropped[0]))))
    yield views
    # With one image band, "without this band" is "without the image", which is among the views already.
    if len(model.layout.image_bands) < 2:
        return
    for lost in _list_lost(model.layout):
        keep_B = torch.tensor([band not in lost for band in model.layout.image_bands], device=model.device)
        seen_NB = whole.seen_NB & keep_B
        images_NBYX = empty_bands(whole.images_NBYX, keep_B.expand_as(seen_NB))
        # Other views than those above, since the image branch has to run again for each image without a band.
        lost_F = np.array([band in lost for band in model.layout.bands])
        poorer = whole.photometry.drop(np.broadcast_to(lost_F, (rows, bands)))
        yield [View(each, images_NBYX, seen_NB) for each in (whole.photometry, poorer)]


def _list_lost(layout: InputLayout) -> list[tuple[str, ...]]:
    """List the image bands that an image may lack: each alone, and those that are missing together."""
    partial = tuple(band for band, may in zip(layout.image_bands, layout.find_partial(), strict=True) if may)
    each: list[tuple[str, ...]] = [(band,) for band in layout.image_bands]
    # All of them would be no image.
    return [*each, partial] if 1 < len(partial) < len(layout.image_bands) else each


def _hide(magnitudes_NF: npt.NDArray[np.floating], view: View) -> npt.NDArray[np.floating]:
    """Return the magnitudes that a view shows, NaN for the others."""
    return np.where(view.photometry.detected_NF, magnitudes_NF, np.nan)
