"""Mean redshift of the nearest training galaxies in scaled magnitudes: `KnnEstimator`."""

import os
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from photoz.errors import TrainingError
from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample, count_held
from photoz.photometry import Floats, fill_missing_magnitudes, fit_band_differences

SCALINGS = ("minmax", "standard", "robust")
CLASSROOM = {"minmax": 51, "standard": 31, "robust": 51}
"""Best number of neighbours that the classroom project found for each scaling of its six fluxes."""


def fit_scaling(values_NF: Floats, scaling: str) -> tuple[Floats, Floats]:
    """Compute shift and spread of each column, so that (values - shift) / spread is scaled.

    Parameters
    ----------
    values_NF : ndarray of float, shape (N, F)
        Finite.
    scaling : str
        "minmax" (minimum and range), "standard" (mean and standard deviation) or "robust" (median and interquartile
        range).

    Returns
    -------
    shift_F, spread_F : ndarray of float64
        A spread of 0 comes out as 1.

    Raises
    ------
    TrainingError
        There is no such scaling.

    Examples
    --------
    >>> fit_scaling(np.array([[0.0], [1.0], [4.0]]), "minmax")
    (array([0.]), array([4.]))
    """
    if scaling == "minmax":
        shift_F, spread_F = values_NF.min(axis=0), np.ptp(values_NF, axis=0)
    elif scaling == "standard":
        shift_F, spread_F = values_NF.mean(axis=0), values_NF.std(axis=0)
    elif scaling == "robust":
        low_F, shift_F, high_F = np.percentile(values_NF, [25, 50, 75], axis=0)
        spread_F = high_F - low_F
    else:
        raise TrainingError(f"no scaling is named {scaling!r}: choose of {list(SCALINGS)}")
    # A band of constant value would become NaN, and with it every distance.
    return shift_F, np.where(spread_F > 0, spread_F, 1.0)


def make_features(magnitudes_NF: Floats, features: str) -> Floats:
    """Return the magnitudes, or the middle band's magnitude and the colours of neighbouring bands.

    Examples
    --------
    >>> make_features(np.array([[20.0, 19.0, 18.5]]), "colours")
    array([[19. ,  1. ,  0.5]])
    """
    if features == "magnitudes":
        return magnitudes_NF
    # One magnitude besides the colours, for brightness tells of distance too; with all of them a colour would count
    # twice.
    middle = magnitudes_NF.shape[1] // 2
    return np.column_stack([magnitudes_NF[:, middle], -np.diff(magnitudes_NF, axis=1)])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The training galaxies to search in, their redshifts, shape (M,), and how many neighbours to take."""

    tree: cKDTree
    z_M: Floats
    count: int


class KnnEstimator(PhotometricEstimator[Neighbours]):
    """Mean redshift of the nearest neighbours; features, scaling and number are chosen on held-out rows.

    A missing magnitude is filled from the neighbouring bands first. The search is SciPy's k-d tree, built when the
    estimator is loaded; its cost grows with the logarithm of the training rows.
    """

    name: ClassVar[str] = "knn"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "features": ("magnitudes", "colours"),
        "scalings": SCALINGS,
        "neighbours": (5, 8, 11, 15, 21, 31, 51),
        "held_out": 0.2,
        "tuning_rows": 20_000,
    }
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "scipy")

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        magnitudes_NF = sample.magnitudes.magnitudes_NF
        differences = fit_band_differences(magnitudes_NF)
        filled_NF = fill_missing_magnitudes(magnitudes_NF, differences)
        # Filling fails where a band has no galaxy in common with its neighbours: a tree refuses NaN.
        known_N = np.isfinite(filled_NF).all(axis=1)
        filled_NF, z_N = filled_NF[known_N], np.asarray(sample.z_N, dtype=np.float64)[known_N]
        if len(z_N) < 2:
            raise TrainingError(f"no galaxy has all of {list(sample.bands)} or can be filled: leave a band out")
        choices = _measure_choices(filled_NF, z_N, settings, seed)
        best = min(choices, key=lambda choice: choices[choice])
        features, scaling, neighbours = best
        values_NF = make_features(filled_NF, features)
        shift_F, spread_F = fit_scaling(values_NF, scaling)
        chosen = {"features": features, "scaling": scaling, "neighbours": neighbours, "validation_mse": choices[best]}
        arrays = {
            "differences": differences,
            "shift": shift_F,
            "spread": spread_F,
            # Half the bytes on disk and in an engine's object store; searches are in float64.
            "points": ((values_NF - shift_F) / spread_F).astype(np.float32),
            "z": z_N.astype(np.float32),
        }
        return Parts(sample.bands, chosen, arrays)

    @classmethod
    def _make_model(cls, parts: Parts) -> Neighbours:
        z_M = np.asarray(parts.arrays["z"], dtype=np.float64)
        # The tree itself is not saved: scipy's can only be pickled.
        tree = cKDTree(np.asarray(parts.arrays["points"], dtype=np.float64))
        return Neighbours(tree, z_M, min(int(parts.settings["neighbours"]), len(z_M)))

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        arrays = self.parts.arrays
        filled_NF = fill_missing_magnitudes(magnitudes_NF, arrays["differences"])
        values_NF = make_features(filled_NF, self.parts.settings["features"])
        points_NF = (values_NF - arrays["shift"]) / arrays["spread"]
        z_N = np.full(len(points_NF), np.nan)
        known = np.flatnonzero(np.isfinite(points_NF).all(axis=1))
        nearest_NK = _find(self._model.tree, points_NF[known], self._model.count)
        z_N[known] = self._model.z_M[nearest_NK].mean(axis=1)
        return z_N


def _measure_choices(
    filled_NF: Floats, z_N: Floats, settings: dict[str, Any], seed: int
) -> dict[tuple[str, str, int], float]:
    """Mean squared error on held-out rows for each choice of features, scaling and number of neighbours."""
    # Each choice costs a tree and a search, so a random part of a large sample decides.
    order = np.random.default_rng(seed).permutation(len(z_N))[: settings["tuning_rows"]]
    held = count_held(settings["held_out"], len(order))
    valid, train = order[:held], order[held:]
    # A tree gives index n for neighbours that a small sample does not have, which would be out of range.
    counts = sorted({min(int(k), len(train)) for k in settings["neighbours"]})
    errors = {}
    for features, scaling in product(settings["features"], settings["scalings"]):
        values_NF = make_features(filled_NF, features)
        shift_F, spread_F = fit_scaling(values_NF, scaling)
        points_NF = (values_NF - shift_F) / spread_F
        nearest_NK = _find(cKDTree(points_NF[train]), points_NF[valid], counts[-1])
        # Neighbours come nearest first, so one search for the largest number gives the means for all smaller ones.
        means_NK = np.cumsum(z_N[train][nearest_NK], axis=1) / np.arange(1, counts[-1] + 1)
        for k in counts:
            errors[features, scaling, k] = float(np.mean((means_NK[:, k - 1] - z_N[valid]) ** 2))
    return errors


def _find(tree: cKDTree, points_NF: Floats, k: int) -> npt.NDArray[np.intp]:
    """Row numbers of the k nearest, nearest first, shape (N, k)."""
    _, nearest = tree.query(points_NF, k=k, workers=count_threads())
    # With k = 1 scipy drops the second axis.
    return np.asarray(nearest, dtype=np.intp).reshape(len(points_NF), k)


def count_threads() -> int:
    """Return the threads a search may take: $OMP_NUM_THREADS (which Ray and Dask set), else the CPUs we may run on."""
    # cpu_count would give all CPUs of the machine, also where the process is bound to two of them.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else len(os.sched_getaffinity(0))
