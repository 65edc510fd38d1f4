"""Fluxes and errors as a network reads them: asinh magnitudes, colours, errors and which bands are missing.

A band that was observed and not detected has a flux, be it 0 or negative. Only a band that was not observed is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.estimators.photometric.base import Sample
from photoz.photometry import AB_ZEROPOINT, POGSON, Floats, fill_missing_magnitudes, fit_band_differences

_LIMIT = 8.0  # standard deviations: beyond, a value is a defect and must not drive a network
_KEYS = ("softening", "differences", "mean", "spread")


def compute_asinh_magnitudes(fluxes: Floats, softening: Floats) -> Floats:
    """Compute asinh magnitudes, which equal magnitudes for bright sources and stay finite at zero flux.

    Parameters
    ----------
    fluxes : ndarray of float
        [nJy] AB, of any sign; NaN gives NaN.
    softening : ndarray of float
        [nJy] the flux scale b below which they become linear; broadcast against ``fluxes``.

    Returns
    -------
    ndarray of float64
        [mag(AB)]

    References
    ----------
    Lupton, Gunn & Szalay 1999, AJ 118, 1406.

    Examples
    --------
    >>> compute_asinh_magnitudes(np.array([3631.0, 0.0, -1.0]), np.array(1.0)).round(3)
    array([22.5  , 31.4  , 31.923])
    """
    magnitudes: Floats = AB_ZEROPOINT - POGSON * (np.arcsinh(fluxes / (2 * softening)) + np.log(softening))
    return magnitudes


@dataclass(frozen=True, eq=False)
class FluxFeatures:
    """How F bands of fluxes and errors become 4 F - 1 features of zero mean and unit spread.

    Asinh magnitudes (missing ones filled from the neighbouring bands), colours of neighbouring bands, logarithms of the
    flux errors, and 1 where a band is missing.

    Parameters
    ----------
    softening_F : ndarray of float64
        [nJy] median flux error of each band.
    differences : ndarray of float64, shape (F - 1,)
        [mag] mean differences of neighbouring bands' asinh magnitudes.
    mean_C, spread_C : ndarray of float64
        Of the features of the training galaxies.
    """

    softening_F: Floats
    differences: Floats
    mean_C: Floats
    spread_C: Floats

    @classmethod
    def fit(cls, sample: Sample) -> Self:
        """Derive softening, differences and scaling from training galaxies."""
        fluxes_NF, errors_NF = _pair(sample.fluxes_NF, sample.errors_NF)
        known_NF = np.isfinite(errors_NF)
        # A band without any error gets a softening all the same: a tenth of the faintest flux that was detected, where
        # asinh magnitudes differ from magnitudes by a hundredth.
        detected_NF = np.isfinite(sample.magnitudes.magnitudes_NF)
        faintest_F = np.nanmin(np.where(detected_NF, fluxes_NF, np.nan), axis=0) / 10
        softening_F = np.array(
            [np.median(e[k]) if k.any() else f for e, k, f in zip(errors_NF.T, known_NF.T, faintest_F, strict=True)]
        )
        asinh_NF = compute_asinh_magnitudes(fluxes_NF, softening_F)
        # Two bands that no galaxy has together have no mean difference; 0 leaves the filled one at its neighbour's
        # magnitude.
        bare = cls(softening_F, np.nan_to_num(fit_band_differences(asinh_NF)), np.zeros(1), np.ones(1))
        raw_NC = bare._compute(fluxes_NF, errors_NF)
        spread_C = raw_NC.std(axis=0)
        # The mask of a band that no training galaxy lacks is constant: divided by its spread, the first galaxy that
        # lacks the band would stand at the limit of 8.
        return cls(softening_F, bare.differences, raw_NC.mean(axis=0), np.where(spread_C > 1e-6, spread_C, 1.0))

    def apply(self, fluxes_NF: Floats, errors_NF: Floats) -> npt.NDArray[np.float32]:
        """Compute the features.

        Parameters
        ----------
        fluxes_NF, errors_NF : ndarray of float, shape (N, F)
            [nJy] A flux that is NaN was not observed: filled from the neighbouring bands, and marked. An error that is
            NaN is taken for the band's median.

        Returns
        -------
        ndarray of float32, shape (N, 4 F - 1)
            Finite, within 8 standard deviations; rows without anything known give zeros.
        """
        scaled_NC = (self._compute(*_pair(fluxes_NF, errors_NF)) - self.mean_C) / self.spread_C
        # A mask that is rare in training may lie beyond 8 of its spreads; clipped, it is still the largest value of its
        # column.
        return np.clip(np.nan_to_num(scaled_NC, nan=0.0), -_LIMIT, _LIMIT).astype(np.float32)

    def _compute(self, fluxes_NF: Floats, errors_NF: Floats) -> Floats:
        missing_NF = np.isnan(fluxes_NF)
        filled_NF = fill_missing_magnitudes(
            compute_asinh_magnitudes(fluxes_NF, self.softening_F), np.asarray(self.differences, dtype=np.float64)
        )
        # In units of the median error, so that 0, which stands for an unknown one, is the typical error. Told so of
        # fluxes of 0, mlp lost nothing by faint u magnitudes that were taken away: CRPS 0.01538 for 0.01540
        # (docs/benchmarks/mlp-levers.md).
        logs_NF = np.log(np.clip(errors_NF / self.softening_F, 0.02, 50.0))
        colours = filled_NF[:, :-1] - filled_NF[:, 1:]
        return np.column_stack([filled_NF, colours, np.nan_to_num(logs_NF, nan=0.0), missing_NF])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays to save; `to_dict` has them as lists."""
        return dict(zip(_KEYS, (self.softening_F, self.differences, self.mean_C, self.spread_C), strict=True))

    def to_dict(self) -> dict[str, list[float]]:
        """Return plain lists, for a manifest."""
        return {key: values.tolist() for key, values in self.to_arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Rebuild what `to_arrays` or `to_dict` returned."""
        return cls(*(np.asarray(arrays[key], dtype=np.float64) for key in _KEYS))


def count_features(bands: int) -> int:
    """Return how many features so many bands give: F magnitudes, F - 1 colours, F errors and F masks."""
    return 4 * bands - 1


def select_distinct(features_NC: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Take the middle band's magnitude and the colours: with all magnitudes, a colour would count twice."""
    bands = (features_NC.shape[1] + 1) // 4
    return np.ascontiguousarray(features_NC[:, [bands // 2, *range(bands, 2 * bands - 1)]])


def _pair(fluxes_NF: Floats, errors_NF: Floats) -> tuple[Floats, Floats]:
    """Return both in float64, an error without its flux as NaN: it would be word of a band that there is none of."""
    fluxes_NF = np.asarray(fluxes_NF, dtype=np.float64)
    return fluxes_NF, np.where(np.isnan(fluxes_NF), np.nan, np.asarray(errors_NF, dtype=np.float64))
