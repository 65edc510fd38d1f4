"""A spectroscopic table like GAMA DR4's gkvScienceCatv02, imperfect as such tables are.

Redshift errors of 50 km/s (GAMA's are 30 to 100: Liske et al. 2015, MNRAS 452, 2087), positions good to 0.1 arcsec, a
few low-quality rows of which half are wrong, a few second observations flagged as duplicates, a few stars.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from photoz.simulate.sky import Centre, Recipe, Sources, compute_extinction, make_rng

SPECTROSCOPIC_LIMIT = 20.2
"""[mag(AB)] of r: a little beyond the bright sample, so that some rows have no counterpart in it."""

_VELOCITY_ERROR = 50.0 / 299_792.458
_POSITION_ERROR = 0.1 / 3600  # deg
_LOW_QUALITY = 0.04
_DUPLICATES = 0.01
_STARS = 0.05  # of the stars of 17 < r < 20 that were taken for galaxies


def observe_spectra(
    recipe: Recipe, centre: Centre, sources: Sources, catalogue: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Observe a tile's sources spectroscopically.

    Parameters
    ----------
    recipe, centre, sources
        As in `photoz.simulate.catalogue.measure_sources`.
    catalogue : mapping of str to ndarray
        The same N sources as measured, row by row.

    Returns
    -------
    dict of str to ndarray
        Columns of the table.
    """
    # A stream of its own: the catalogue stays the same whether spectra are made or not.
    rng = make_rng(recipe.seed, centre, "spectra")
    extinction = compute_extinction(catalogue["RAJ2000"], catalogue["DECJ2000"], ("r",))[:, 0]
    magnitude = catalogue["MAG_AUTO"] - extinction
    chosen = rng.random(len(sources)) < np.where(sources.star, _STARS, recipe.simulation.spectroscopic_fraction)
    # By the measured magnitude: a selection by the true one would tell on which side of the limit it lies
    # (docs/benchmarks/simulated.md).
    chosen &= (magnitude < SPECTROSCOPIC_LIMIT) & ~(sources.star & (magnitude < 17))
    rows = np.flatnonzero(chosen)
    # Second observations get errors of their own, and `duplicate` marks the later row.
    again = rows[rng.random(len(rows)) < _DUPLICATES]
    every = np.concatenate([rows, again])
    redshift, quality = _measure_redshifts(rng, sources.redshift[every], recipe.simulation.highest_redshift)
    number = recipe.simulation.centres.index(centre)
    stretch = np.cos(np.radians(sources.dec[every]))
    return {
        # Room for ten million a tile, so that no two tiles give one number.
        "uberID": (np.int64(number + 1) * 10_000_000 + np.arange(len(every))).astype(np.int64),
        # About the true position: it is another instrument's astrometry, whose error is not the catalogue's.
        "RAcen": sources.ra[every] + _POSITION_ERROR * rng.standard_normal(len(every)) / stretch,
        "Deccen": sources.dec[every] + _POSITION_ERROR * rng.standard_normal(len(every)),
        "mag": magnitude[every].astype(np.float32),
        "R50": (catalogue["FLUX_RADIUS"][every] * recipe.survey.pixel_scale).astype(np.float32),
        "Z": redshift.astype(np.float32),
        "NQ": quality.astype(np.int16),
        "SC": np.where(magnitude[every] < 19.8, 7, 5).astype(np.int16),
        # KiDS-Bright's bits, `photoz.simulate.survey.MASKED_BITS`: that module imports this one, and not the other way.
        "starmask": ((catalogue["MASK"][every] & 28668) > 0).astype(np.int16),
        "duplicate": np.repeat([0, 1], [len(rows), len(again)]).astype(np.int16),
        "uberclass": np.where(sources.star[every], 2, 1).astype(np.int16),
    }


def _measure_redshifts(
    rng: np.random.Generator, true_N: npt.NDArray[np.float64], highest: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    number = len(true_N)
    # A velocity error v moves z by (1 + z) v / c.
    measured = true_N + _VELOCITY_ERROR * (1 + true_N) * rng.standard_normal(number)
    low = rng.random(number) < _LOW_QUALITY
    # Half of the low-quality ones are right: a cut on NQ costs good redshifts, too.
    wrong = low & (rng.random(number) < 0.5)
    # 1 and 2 fail NQ >= 3, by which reliable redshifts are chosen (photoz/survey/spectra.py).
    quality = np.where(low, rng.integers(1, 3, number), np.where(rng.random(number) < 0.1, 3, 4))
    return np.where(wrong, rng.uniform(0.01, highest, number), measured), quality
