"""Take bands away from training galaxies, so that a network learns what to say of galaxies that lack them.

In magnitudes, before features are made of them, each galaxy once an epoch, and in a survey's patterns. The networks
drop inputs of each step on their device (`.networks.dropping`), images too, beside the galaxies as they are.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from photoz.estimators.photometric.base import Floats, Sample

Mask = npt.NDArray[np.bool_]

_FAINT = 2.5 / np.log(10) / 3  # [mag] error of a flux of three times its own error


def drop_bands(sample: Sample, fraction: float, rng: np.random.Generator) -> Sample:
    """Remove bands from a random fraction of the galaxies, in the patterns in which galaxies lack them.

    Of the galaxies chosen, half lose one random band (no u band; a gap between detectors), a fifth every band redder
    and a tenth every band bluer than a random one (no near-infrared survey there), a fifth each band with a chance of
    a half. A galaxy that would lose its last magnitude keeps all.

    Parameters
    ----------
    sample : Sample
    fraction : float
        In 0..1, of the galaxies.
    rng : numpy.random.Generator
    """
    # Drawn for all and then cut to a fraction: how many random numbers are drawn does not depend on the fraction.
    lost_NF = choose_lost(len(sample), len(sample.bands), rng)
    return remove_bands(sample, lost_NF & (rng.random((len(sample), 1)) < fraction))


def choose_lost(count: int, bands: int, rng: np.random.Generator) -> Mask:
    """Draw which bands each of some galaxies loses, as `drop_bands` has it.

    Parameters
    ----------
    count, bands : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (count, bands)
    """
    band_F = np.arange(bands)
    kind = rng.random((count, 1))
    one = band_F == rng.integers(bands, size=(count, 1))
    # From 1: a cut at 0 would take every band, and the galaxy keep all. With one band the upper end must still lie
    # above.
    cut = rng.integers(1, max(bands, 2), size=(count, 1))
    some = rng.random((count, bands)) < 0.5
    lost_NF: Mask = np.select([kind < 0.5, kind < 0.7, kind < 0.8], [one, band_F >= cut, band_F < cut], some)
    return lost_NF


def choose_dark(magnitudes_NF: Floats, errors_NF: Floats, fraction: float, rng: np.random.Generator) -> Mask:
    """Choose a random fraction of the magnitudes of a signal-to-noise ratio below 3, to be taken for not detected.

    Parameters
    ----------
    magnitudes_NF, errors_NF : ndarray of float, shape (N, F)
        [mag(AB)] NaN where there is none, which is never chosen.
    fraction : float
        In 0..1.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (N, F)
    """
    with np.errstate(invalid="ignore"):
        # The magnitude's error alone says what share of its flux a flux's error is. NaN compares as False.
        faint_NF = np.isfinite(magnitudes_NF) & (errors_NF > _FAINT)
    return np.asarray(faint_NF & (rng.random(magnitudes_NF.shape) < fraction))


def remove_bands(sample: Sample, lost_NF: Mask) -> Sample:
    """Take bands from galaxies as if they had not been observed, unless a galaxy would have none left."""
    kept_N = (np.isfinite(sample.magnitudes_NF) & ~lost_NF).any(axis=1)
    lost_NF = lost_NF & np.asarray(kept_N)[:, None]
    # A band that is taken away was not observed, so that it cannot have gone undetected.
    dark_NF = None if sample.not_detected_NF is None else sample.not_detected_NF & ~lost_NF
    return replace(sample, magnitudes_NF=np.where(lost_NF, np.nan, sample.magnitudes_NF), not_detected_NF=dark_NF)


def darken_bands(sample: Sample, dark_NF: Mask) -> Sample:
    """Take magnitudes from galaxies as if nothing had been detected there, unless a galaxy would have none left."""
    kept_N = (np.isfinite(sample.magnitudes_NF) & ~dark_NF).any(axis=1)
    dark_NF = dark_NF & np.asarray(kept_N)[:, None]
    before_NF = np.zeros_like(dark_NF) if sample.not_detected_NF is None else sample.not_detected_NF
    magnitudes_NF = np.where(dark_NF, np.nan, sample.magnitudes_NF)
    return replace(sample, magnitudes_NF=magnitudes_NF, not_detected_NF=before_NF | dark_NF)
