"""After training: what the training set says that the trained network's weights do not."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt

from photoz.estimators.base import Inputs
from photoz.estimators.networks.base import NetworkEstimator
from photoz.inputs import make_inputs
from photoz.training.set import list_columns, read_photometry, read_split


def calibrate_estimator(estimator: NetworkEstimator, training: str, *, seed: int) -> NetworkEstimator:
    """Return the estimator with the recalibration of its p(z) and the reference of its distance, if it has them.

    Parameters
    ----------
    estimator : NetworkEstimator
        Trained.
    training : str
        ``locations.training``: the set's splits "calib" and "valid" give the recalibration, "train" the distance.
    seed : int
    """
    # Both are read when they are asked for: an estimator without p(z) reads neither.
    # Those that ended the training, too: they chose one epoch, which takes next to nothing off their PIT, and with the
    # few hundred of "calib" alone chance puts the 68 % interval 2 points off (docs/benchmarks/pdf.md).
    galaxies = chain.from_iterable(read_galaxies(estimator, training, split) for split in ("calib", "valid"))
    # "train" and not "calib": how far a galaxy is from what the network has seen is asked, and it saw these.
    fluxes = read_photometry(training, "train", estimator.bands)
    return estimator.calibrate(galaxies, fluxes, seed=seed)


def read_galaxies(
    estimator: NetworkEstimator, training: str, split: str
) -> Iterator[tuple[Inputs, npt.NDArray[np.floating]]]:
    """Read inputs and redshifts of one split of the training set, a row group at a time.

    Parameters
    ----------
    estimator : NetworkEstimator
        Whose inputs they are to be.
    training : str
        ``locations.training``.
    split : str
        "train", "valid", "calib" or "test".
    """
    columns = list_columns(estimator.bands, images=bool(estimator.image_bands))
    for table in read_split(training, split, columns):
        # A row group may hold no galaxy of the split.
        if len(table):
            yield make_inputs(table, estimator.bands), table["z_spec"].to_numpy()
