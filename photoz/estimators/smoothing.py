"""Weights that take the survey's large-scale structure out of a training sample's n(z). Pure functions on arrays.

Galaxies cluster, so the redshifts of a small spectroscopic survey have spikes that the sky at large does not have. An
estimator trained on them learns the spikes as a prior and prints them on the redshifts it gives.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.optimize import brentq

from photoz.errors import TrainingError

LEAST, LARGEST = 0.1, 10.0
"""Bounds of a weight: beyond, a few galaxies would make the loss, or galaxies might as well be left out."""
_STEPS = 20  # of the histogram in one `width`
_FINE = 1.0  # step: the scale, a twentieth of `width`, down to which structure is taken out
_PRIOR = 2.0  # galaxies a step that are taken for smooth: of a few galaxies nobody can tell whether they cluster

Floats = npt.NDArray[np.floating[Any]]


def compute_smoothing_weights(z_N: npt.ArrayLike, *, width: float = 0.08) -> npt.NDArray[np.float64]:
    """Compute weights with which the redshift distribution of a training sample is smooth.

    Parameters
    ----------
    z_N : array_like of float, shape (N,)
        Spectroscopic redshifts.
    width : float
        [redshift] structures up to half as wide are taken out, down to a twentieth of it. The default is wider than
        walls and voids of galaxies (0.01 to 0.03) with the scatter of a good photometric redshift, and narrower than
        the n(z) of a bright sample (about 0.3).

    Returns
    -------
    ndarray of float64, shape (N,)
        Mean 1, each between 0.1 and 10.

    Raises
    ------
    TrainingError
        A redshift is not finite, or ``width`` is not positive.

    Notes
    -----
    The weight is a smooth density over the actual one, both from a histogram in steps of ``width`` / 20. The smooth one
    is a running median over ``width``, which a spike does not move, made smooth by a Gaussian of standard deviation
    ``width`` / 4. Where there are few galaxies the weight tends to the same for all.

    References
    ----------
    Hybrid-z (A&A 698, A276, 2025) thinned its training set until its n(z) was smooth, which keeps GAMA's large-scale
    structure out of the predictions. Weights do the same and lose no galaxy.

    Examples
    --------
    >>> even, spike = np.linspace(0.0, 0.5, 2000), np.full(500, 0.25)
    >>> weights = compute_smoothing_weights(np.concatenate([even, spike]))
    >>> bool(weights[:500].mean() > 3 * weights[-500:].mean())
    True
    """
    z_N = np.asarray(z_N, dtype=np.float64)
    if not np.isfinite(z_N).all() or not width > 0:
        raise TrainingError(
            f"{np.count_nonzero(~np.isfinite(z_N))} of {z_N.size} redshifts are not finite, width is {width} "
            "(redshift): leave those galaxies out, and give a positive width"
        )
    if z_N.size == 0:
        return np.empty(0)
    step = width / _STEPS
    place_N = ((z_N - z_N.min()) / step).astype(np.int64)
    counts = np.bincount(place_N).astype(np.float64)
    actual = gaussian_filter1d(counts, _FINE)
    # One more than the steps in a width: a running median needs a middle.
    smooth = gaussian_filter1d(median_filter(actual, size=_STEPS + 1), _STEPS / 4)
    # The prior in both: where there are no galaxies the ratio tends to 1 and does not divide by 0.
    return _bound(((smooth + _PRIOR) / (actual + _PRIOR))[place_N])


def _bound(weights_N: Floats) -> npt.NDArray[np.float64]:
    """Scale the weights so that their mean is 1 after they have been brought within the bounds."""

    def exceed(log_scale: float) -> float:
        return float(np.clip(weights_N * np.exp(log_scale), LEAST, LARGEST).mean() - 1)

    # At the one end every weight is clipped to the least, at the other to the largest, so that the mean crosses 1 in
    # between.
    low, high = -np.log(weights_N.max()), -np.log(weights_N.min())
    scale = np.exp(brentq(exceed, low + np.log(LEAST), high + np.log(LARGEST), xtol=1e-13))
    return np.asarray(np.clip(weights_N * scale, LEAST, LARGEST), dtype=np.float64)
