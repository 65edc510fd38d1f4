"""Photometry that tests make up in magnitudes, as the fluxes that photoz takes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from photoz.estimators import Inputs
from photoz.estimators.photometric.base import Sample
from photoz.photometry import compute_fluxes_from_magnitudes
from photoz.schema import name_fluxes


def make_inputs(
    magnitudes_NF: npt.ArrayLike,
    errors_NF: npt.ArrayLike = 0.1,
    cutouts_NBYX: np.ndarray | None = None,
    flags_N: np.ndarray | None = None,
) -> Inputs:
    """Make inputs of magnitudes and errors [mag], NaN where not observed; without flags unless they are given."""
    fluxes_NF, fluxerrs_NF = convert(magnitudes_NF, errors_NF)
    flags_N = np.zeros(len(fluxes_NF), np.int32) if flags_N is None else flags_N
    return Inputs(fluxes_NF.astype(np.float32), fluxerrs_NF.astype(np.float32), cutouts_NBYX, flags_N)


def make_sample(
    bands: Sequence[str], magnitudes_NF: npt.ArrayLike, errors_NF: npt.ArrayLike, z_N: np.ndarray
) -> Sample:
    """Make a sample of magnitudes and errors [mag]."""
    return Sample(tuple(bands), *convert(magnitudes_NF, errors_NF), z_N)


def make_preparation(
    kind: type[Any], bands: Sequence[str], magnitudes_NF: npt.ArrayLike | None = None, errors_NF: npt.ArrayLike = 0.1
) -> Any:
    """Fit an estimator's preparation to magnitudes and errors [mag]; by default to some about 20."""
    if magnitudes_NF is None:
        magnitudes_NF = np.random.default_rng(0).normal(20, 1, (200, len(bands)))
    z_N = np.full(len(np.asarray(magnitudes_NF)), 0.1)
    return kind.PREPARATION.fit(make_sample(bands, magnitudes_NF, errors_NF, z_N))


def make_columns(
    bands: Sequence[str], magnitudes_NF: npt.ArrayLike, errors_NF: npt.ArrayLike = 0.1
) -> dict[str, np.ndarray]:
    """Make the columns of fluxes and errors of the source catalogue, float32, by name."""
    columns_NF = (values.astype(np.float32) for values in convert(magnitudes_NF, errors_NF))
    return {
        name: values
        for band, *pair in zip(bands, *(each.T for each in columns_NF), strict=True)
        for name, values in zip(name_fluxes(band), pair, strict=True)
    }


def convert(magnitudes_NF: npt.ArrayLike, errors_NF: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Turn magnitudes and errors [mag] into fluxes and errors [nJy], float64."""
    magnitudes = np.asarray(magnitudes_NF, dtype=np.float64)
    return compute_fluxes_from_magnitudes(magnitudes, np.broadcast_to(errors_NF, magnitudes.shape))


def lose(inputs: Inputs, rows: Any, bands: Any = slice(None), *, flux: float = np.nan) -> Inputs:
    """Return the inputs without some rows' fluxes in some bands: not observed, or of another flux without an error."""
    fluxes_NF, errors_NF = inputs.fluxes_NF.copy(), inputs.errors_NF.copy()
    fluxes_NF[rows, bands], errors_NF[rows, bands] = flux, np.nan
    return replace(inputs, fluxes_NF=fluxes_NF, errors_NF=errors_NF)
