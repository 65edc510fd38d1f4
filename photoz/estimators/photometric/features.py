"""Magnitudes and errors as a network reads them: asinh magnitudes, colours, errors and which bands are missing.

A band that was observed and not detected has a flux: none, with the band's typical error. Only a band that was not
observed is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from photoz.estimators.photometric.base import Floats, Sample
from photoz.photometry import fill_missing_magnitudes, fit_band_differences

POGSON = 2.5 / np.log(10)
_LIMIT = 8.0  # standard deviations: beyond, a value is a defect and must not drive a network
_KEYS = ("softening", "differences", "mean", "spread")


def compute_asinh_magnitudes(fluxes: Floats, softening: Floats) -> Floats:
    """Compute asinh magnitudes, which equal magnitudes for bright sources and stay finite at zero flux.

    Parameters
    ----------
    fluxes : ndarray of float
        [maggies] 1 is magnitude 0; NaN gives NaN.
    softening : ndarray of float
        [maggies] the flux scale b below which they become linear; broadcast against ``fluxes``.

    Returns
    -------
    ndarray of float64
        [mag(AB)]

    References
    ----------
    Lupton, Gunn & Szalay 1999, AJ 118, 1406.

    Examples
    --------
    >>> compute_asinh_magnitudes(np.array([1e-8, 0.0]), np.array(1e-10)).round(3)
    array([20., 25.])
    """
    magnitudes: Floats = -POGSON * (np.arcsinh(fluxes / (2 * softening)) + np.log(softening))
    return magnitudes


@dataclass(frozen=True, eq=False)
class FluxFeatures:
    """How F bands of magnitudes and errors become 4 F - 1 features of zero mean and unit spread.

    Asinh magnitudes (missing ones filled from the neighbouring bands), colours of neighbouring bands, logarithms of the
    flux errors, and 1 where a band is missing.

    Parameters
    ----------
    softening_F : ndarray of float64
        [maggies] median flux error of each band.
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
        fluxes_NF, errors_NF = compute_fluxes(sample.magnitudes_NF, sample.errors_NF)
        # A band without any error gets a softening all the same: a tenth of its faintest flux, where asinh magnitudes
        # differ from magnitudes by a hundredth.
        known_NF = np.isfinite(errors_NF)
        faintest_F = np.nanmin(fluxes_NF, axis=0) / 10
        softening_F = np.array(
            [np.median(e[k]) if k.any() else f for e, k, f in zip(errors_NF.T, known_NF.T, faintest_F, strict=True)]
        )
        asinh_NF = compute_asinh_magnitudes(fluxes_NF, softening_F)
        # Two bands that no galaxy has together have no mean difference; 0 leaves the filled one at its neighbour's
        # magnitude.
        bare = cls(softening_F, np.nan_to_num(fit_band_differences(asinh_NF)), np.zeros(1), np.ones(1))
        raw_NC = bare._compute(sample.magnitudes_NF, sample.errors_NF, sample.not_detected_NF)
        spread_C = raw_NC.std(axis=0)
        # The mask of a band that no training galaxy lacks is constant: divided by its spread, the first galaxy that
        # lacks the band would stand at the limit of 8.
        return cls(softening_F, bare.differences, raw_NC.mean(axis=0), np.where(spread_C > 1e-6, spread_C, 1.0))

    def apply(
        self, magnitudes_NF: Floats, errors_NF: Floats, not_detected_NF: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float32]:
        """Compute the features.

        Parameters
        ----------
        magnitudes_NF, errors_NF : ndarray of float, shape (N, F)
            [mag(AB)] NaN where there is none.
        not_detected_NF : ndarray of bool, shape (N, F), optional
            Where a missing magnitude stands for no detectable flux: taken as flux 0 with the band's median error. The
            other missing ones were not observed: filled from the neighbouring bands, and marked.

        Returns
        -------
        ndarray of float32, shape (N, 4 F - 1)
            Finite, within 8 standard deviations; rows without anything known give zeros.
        """
        scaled_NC = (self._compute(magnitudes_NF, errors_NF, not_detected_NF) - self.mean_C) / self.spread_C
        # A mask that is rare in training may lie beyond 8 of its spreads; clipped, it is still the largest value of its
        # column.
        return np.clip(np.nan_to_num(scaled_NC, nan=0.0), -_LIMIT, _LIMIT).astype(np.float32)

    def _compute(
        self, magnitudes_NF: Floats, errors_NF: Floats, not_detected_NF: npt.NDArray[np.bool_] | None
    ) -> Floats:
        fluxes_NF, flux_errors_NF = compute_fluxes(magnitudes_NF, errors_NF)
        if not_detected_NF is not None:
            dark_NF = not_detected_NF & ~np.isfinite(fluxes_NF)
            fluxes_NF = np.where(dark_NF, 0.0, fluxes_NF)
            # The softening is the band's median error. Told so, mlp lost nothing by faint u magnitudes that were taken
            # away: CRPS 0.01538 for 0.01540 (docs/benchmarks/mlp-levers.md).
            flux_errors_NF = np.where(dark_NF, self.softening_F, flux_errors_NF)
        missing_NF = ~np.isfinite(fluxes_NF)
        filled_NF = fill_missing_magnitudes(
            compute_asinh_magnitudes(fluxes_NF, self.softening_F), np.asarray(self.differences, dtype=np.float64)
        )
        # In units of the median error, so that 0, which stands for an unknown one, is the typical error.
        logs_NF = np.log(np.clip(flux_errors_NF / self.softening_F, 0.02, 50.0))
        colours = filled_NF[:, :-1] - filled_NF[:, 1:]
        return np.column_stack([filled_NF, colours, np.nan_to_num(logs_NF, nan=0.0), missing_NF])

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays to save."""
        return dict(zip(_KEYS, (self.softening_F, self.differences, self.mean_C, self.spread_C), strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Rebuild what `to_arrays` returned."""
        return cls(*(np.asarray(arrays[key], dtype=np.float64) for key in _KEYS))


def compute_fluxes(magnitudes: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Turn magnitudes and their errors into fluxes and flux errors [maggies]; NaN stays NaN.

    Examples
    --------
    >>> flux, error = compute_fluxes(np.array([20.0]), np.array([0.1]))
    >>> float(flux[0]), round(float(error[0] / flux[0]), 4)
    (1e-08, 0.0921)
    """
    fluxes = 10 ** (-0.4 * np.asarray(magnitudes, dtype=np.float64))
    return fluxes, fluxes * np.asarray(errors, dtype=np.float64) / POGSON
