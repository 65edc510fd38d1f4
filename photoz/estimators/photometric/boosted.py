"""Gradient-boosted trees on magnitudes, colours and errors: `BoostedEstimator`, by LightGBM."""

import logging
from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from photoz.errors import EstimatorError
from photoz.estimators.photometric.base import Parts, PhotometricEstimator, Sample
from photoz.estimators.photometric.knn import count_threads
from photoz.optional import needs
from photoz.photometry import Floats, fill_missing_magnitudes, fit_band_differences
from photoz.telemetry import Progress

logger = logging.getLogger(__name__)

# LightGBM's own text format: its pickle would run code when it is read.
MODEL = "model.txt"


def import_lightgbm() -> Any:
    """Import LightGBM when it is asked for, so that the other estimators do without it.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    with needs("the boosted estimator", "lightgbm"):
        import lightgbm
    return lightgbm


def make_tree_features(magnitudes_NF: Floats, errors_NF: Floats, differences: Floats) -> Floats:
    """Return magnitudes, the colours of all pairs of bands, and errors, float32.

    Missing magnitudes are filled from the neighbouring bands, since a tree sends a NaN down the branch that some other
    galaxies took: without g, that left 79 % of real galaxies beyond 0.05. A missing error stays NaN.

    Parameters
    ----------
    magnitudes_NF, errors_NF : ndarray of float, shape (N, F)
        [mag(AB)] NaN where there is none.
    differences : ndarray of float64, shape (F - 1,)
        [mag] of `photoz.photometry.fit_band_differences`.
    """
    magnitudes_NF = fill_missing_magnitudes(magnitudes_NF, np.asarray(differences, dtype=np.float64))
    # All pairs: a tree cuts along one feature at a time, so that a colour it is not given takes it many cuts to make.
    pairs = list(combinations(range(magnitudes_NF.shape[1]), 2))
    colours = [magnitudes_NF[:, i] - magnitudes_NF[:, j] for i, j in pairs]
    return np.column_stack([magnitudes_NF, *colours, errors_NF]).astype(np.float32)


class BoostedEstimator(PhotometricEstimator[Any]):
    """Trees of LightGBM fitted to ln(1 + z) with a Huber loss; their number by early stopping on held-out rows.

    References
    ----------
    Ke et al. 2017, NeurIPS 30 (LightGBM).
    """

    name: ClassVar[str] = "boosted"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "max_trees": 1500,
        "patience": 50,
        "huber_delta": 0.02,
        "held_out": 0.15,
    }
    PACKAGES: ClassVar[tuple[str, ...]] = ("photoz", "numpy", "lightgbm")

    @classmethod
    def _fit(cls, sample: Sample, settings: dict[str, Any], seed: int) -> Parts:
        lightgbm = import_lightgbm()
        # From all galaxies, held-out ones too: means of colours hold no redshift.
        differences = fit_band_differences(sample.magnitudes.magnitudes_NF)
        parts = sample.split(settings["held_out"], seed)
        train, valid = (
            (
                make_tree_features(part.magnitudes.magnitudes_NF, part.magnitudes.errors_NF, differences),
                np.log1p(part.z_N),
            )
            for part in parts
        )
        fitted = lightgbm.Dataset(*train)
        # The reference makes it use the bins of the fitted rows; bins of its own would make its loss another one's.
        held = lightgbm.Dataset(*valid, reference=fitted)
        progress = Progress(logger, "boosted: tree", settings["max_trees"])
        booster = lightgbm.train(
            make_parameters(settings, seed),
            fitted,
            num_boost_round=settings["max_trees"],
            valid_sets=[held],
            callbacks=[
                lightgbm.early_stopping(settings["patience"], verbose=False),
                lambda state: progress.tell(state.iteration + 1),
            ],
        )
        # Only the trees up to the best one: the rest, `patience` of them, made the held-out loss no better.
        text = booster.model_to_string(num_iteration=booster.best_iteration)
        chosen = {**settings, "trees": booster.best_iteration}
        return Parts(sample.bands, chosen, {"differences": differences}, {MODEL: text})

    @classmethod
    def _make_model(cls, parts: Parts) -> Any:
        lightgbm = import_lightgbm()
        try:
            return lightgbm.Booster(model_str=parts.texts[MODEL])
        except lightgbm.basic.LightGBMError as error:
            raise EstimatorError(f"{MODEL} is damaged ({error}): train the estimator again") from error

    def _predict(self, magnitudes_NF: Floats, errors_NF: Floats) -> Floats:
        features_NF = make_tree_features(magnitudes_NF, errors_NF, self.parts.arrays["differences"])
        return np.asarray(np.expm1(self._model.predict(features_NF, num_threads=count_threads())))


def make_parameters(settings: Mapping[str, Any], seed: int) -> dict[str, str | float]:
    """Return LightGBM's parameters: one seed for all that is random, and sums in a fixed order."""
    own = ("learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction", "bagging_fraction")
    return {
        # LightGBM calls Huber's delta alpha. Early stopping goes by the absolute error, which outliers move less than
        # the squared one.
        "objective": "huber",
        "alpha": settings["huber_delta"],
        "metric": "l1",
        # Without a frequency LightGBM takes no notice of bagging_fraction.
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        # Else LightGBM times both layouts and takes the faster, so that sums come in another order from run to run.
        "force_row_wise": True,
        "num_threads": count_threads(),
        "verbosity": -1,
        **{key: settings[key] for key in own},
    }
