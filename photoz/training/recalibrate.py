"""After training: p(z) recalibrated on galaxies held back for it, with inputs missing too; the distance's reference."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from photoz.estimators.base import Inputs
from photoz.estimators.networks.colours import ColourDistance
from photoz.estimators.networks.folder import split_rows
from photoz.estimators.networks.hybrid import HybridEstimator, View
from photoz.inputs import make_inputs
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration
from photoz.settings.config import Config
from photoz.training.set import list_columns, read_split

logger = logging.getLogger(__name__)

_ROWS = 64  # galaxies at a time: each is looked at some 25 times at once, and 9,216 numbers come from its image


def calibrate_estimator(estimator: HybridEstimator, config: Config) -> HybridEstimator:
    """Return the estimator with the recalibration of its p(z) and the reference of its distance.

    Parameters
    ----------
    estimator : HybridEstimator
        Trained; without densities it is returned as it is.
    config : Config
        The training set's "calib" split gives the recalibration, its "train" split the distance.
    """
    if not estimator.gives_pdf:
        return estimator
    columns = list_columns(estimator.bands, images=bool(estimator.image_bands))
    tables = (table for table in read_split(config.locations.training, "calib", columns) if len(table))
    galaxies = ((make_inputs(table, estimator.bands), table["z_spec"].to_numpy()) for table in tables)
    distance = fit_distance(estimator, config)
    return replace(estimator, recalibration=fit_recalibration(estimator, galaxies), distance=distance)


def fit_distance(estimator: HybridEstimator, config: Config) -> ColourDistance:
    """Fit the distance from the training galaxies."""
    tables = read_split(config.locations.training, "train", [f"mag_{band}" for band in estimator.bands])
    blocks = [np.stack([column.to_numpy() for column in table.columns], axis=1) for table in tables]
    return ColourDistance.fit(np.concatenate(blocks), estimator.scaling, seed=config.run.seed)


def fit_recalibration(
    estimator: HybridEstimator, galaxies: Iterable[tuple[Inputs, npt.NDArray[np.floating]]]
) -> Recalibration:
    """Fit the recalibration to the raw PIT of galaxies, as they are and with inputs dropped.

    Parameters
    ----------
    estimator : HybridEstimator
        One with densities.
    galaxies : iterable of (Inputs, ndarray of shape (N,))
        Inputs and redshifts of galaxies that the network has not seen.
    """
    parts = [
        part
        for inputs, z_spec_N in galaxies
        for rows in split_rows(len(inputs), _ROWS)
        for part in measure_pits(estimator, inputs.take(rows), z_spec_N[rows])
    ]
    if not parts:
        logger.warning("p(z) is not recalibrated: the training set has no split for it (crossmatch.fractions)")
        return Recalibration.identity()
    return Recalibration.fit(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def measure_pits(
    estimator: HybridEstimator, inputs: Inputs, z_spec_N: npt.NDArray[np.floating]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Yield raw PIT, coordinates and pattern numbers of galaxies as they are, and of each way to drop some inputs."""
    with torch.inference_mode():
        for views in _list_views(estimator, inputs):
            raw_VNKP = torch.stack(estimator.run(*views).chunk(len(views)))
            for view, raw_NKP in zip(views, raw_VNKP, strict=True):
                _, density = estimator.read(raw_NKP)
                assert density is not None  # the caller has asked
                magnitudes_NF = _hide(inputs.magnitudes_NF, view)
                coordinates_NC = make_coordinates(magnitudes_NF, estimator.bands)
                yield estimator.compute_raw_pit(density, z_spec_N), coordinates_NC, estimator.number_patterns(view)


def _list_views(estimator: HybridEstimator, inputs: Inputs) -> Iterator[list[View]]:
    """List what may be missing: bands, those without images, two bands; the image with each; all magnitudes.

    Then an image band, alone and with its magnitude: a band that was not observed. The views of a list share the work
    of the image branch.
    """
    whole = estimator.show(inputs)
    rows, bands = whole.photometry.values_NF.shape
    one_FF = torch.eye(bands, dtype=torch.bool, device=estimator.device)
    choices = [torch.zeros_like(one_FF[0]), *one_FF]
    unimaged = torch.tensor(estimator.layout.find_unimaged(), device=estimator.device)
    if unimaged.any():
        choices.append(unimaged)
    dropped = [choice.expand(rows, bands) for choice in choices]
    if bands > 2:
        number = torch.arange(rows, device=estimator.device)
        dropped.append(one_FF[number % bands] | one_FF[(number * 5 + 2) % bands])
    views = [whole._replace(photometry=whole.photometry.drop(each)) for each in dropped]
    if whole.seen_NB is None or whole.images_NBYX is None:
        yield views
        return
    views += [view._replace(seen_NB=torch.zeros_like(whole.seen_NB)) for view in views]
    views.append(whole._replace(photometry=whole.photometry.drop(torch.ones_like(dropped[0]))))
    yield views
    if len(estimator.image_bands) < 2:
        return
    for place, band in enumerate(estimator.image_bands):
        keep_B = torch.arange(len(estimator.image_bands), device=estimator.device) != place
        images_NBYX, seen_NB = whole.images_NBYX * keep_B[:, None, None], whole.seen_NB & keep_B
        poorer = whole.photometry.drop(one_FF[estimator.bands.index(band)].expand(rows, bands))
        yield [View(each, images_NBYX, seen_NB) for each in (whole.photometry, poorer)]


def _hide(magnitudes_NF: npt.NDArray[np.float32], view: View) -> npt.NDArray[np.float32]:
    """Return the magnitudes that a view shows, NaN for the others."""
    return np.where(torch.isfinite(view.photometry.values_NF).cpu().numpy(), magnitudes_NF, np.nan)
