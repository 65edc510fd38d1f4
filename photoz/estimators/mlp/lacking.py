"""Take bands away from training galaxies, so that a network learns what to say of galaxies that lack them.

In fluxes, before features are made of them, each galaxy once an epoch, and in a survey's patterns. The networks of
images and magnitudes drop inputs at each step (`.networks.dropping`), images too, beside the galaxies as they are.
"""

from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from photoz.estimators.photometric.base import Sample
from photoz.photometry import Floats, find_detected

Mask = npt.NDArray[np.bool_]


class HasFluxes(Protocol):
    """A dataclass with fluxes and errors of N galaxies in F bands [nJy], as those of `Sample`."""

    @property
    def fluxes_NF(self) -> Floats: ...
    @property
    def errors_NF(self) -> Floats: ...


P = TypeVar("P", bound=HasFluxes)

_FAINT = 3.0  # signal to noise


def drop_bands(sample: Sample, fraction: float, rng: np.random.Generator) -> Sample:
    """Remove bands from a random fraction of the galaxies, in the patterns in which galaxies lack them.

    Of the galaxies chosen, half lose one random band (no u band; a gap between detectors), a fifth every band redder
    and a tenth every band bluer than a random one (no near-infrared survey there), a fifth each band with a chance of
    a half. A galaxy that would lose its last detection keeps all.

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


def choose_dark(sample: HasFluxes, fraction: float, rng: np.random.Generator) -> Mask:
    """Choose a random fraction of the detections of a signal-to-noise ratio below 3, to be taken for not detected.

    Parameters
    ----------
    sample : Sample, or anything that has fluxes
    fraction : float
        In 0..1.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of bool, shape (N, F)
    """
    # NaN, an error that is not known, compares as False.
    faint_NF = find_detected(sample.fluxes_NF, sample.errors_NF) & (sample.fluxes_NF < _FAINT * sample.errors_NF)
    return np.asarray(faint_NF & (rng.random(faint_NF.shape) < fraction))


def remove_bands(sample: P, lost_NF: Mask) -> P:
    """Take bands from galaxies as if they had not been observed, unless a galaxy would have no detection left."""
    return put_fluxes(sample, np.nan, _spare(sample, lost_NF))


def darken_bands(sample: P, dark_NF: Mask) -> P:
    """Take fluxes from galaxies as if nothing had been detected there, unless a galaxy would have no detection left.

    They become 0 with an error that is not known, as a survey writes them that tells no limits.
    """
    return put_fluxes(sample, 0.0, _spare(sample, dark_NF))


def _spare(sample: HasFluxes, chosen_NF: Mask) -> Mask:
    """Return what is chosen, but for galaxies that have no detection elsewhere."""
    detected_NF = find_detected(sample.fluxes_NF, sample.errors_NF)
    kept_N1 = (detected_NF & ~chosen_NF).any(axis=1, keepdims=True)
    return np.asarray(chosen_NF & kept_N1)


def put_fluxes(sample: P, flux: float, chosen_NF: Mask) -> P:
    """Return the galaxies with one flux [nJy] in place of those chosen, whose errors are then not known."""
    changed: Any = sample  # a dataclass, which a Protocol cannot say
    return replace(  # type: ignore[no-any-return]
        changed,
        fluxes_NF=np.where(chosen_NF, flux, sample.fluxes_NF),
        errors_NF=np.where(chosen_NF, np.nan, sample.errors_NF),
    )
