"""Fit the recalibration of an ensemble's p(z) to what its members say of galaxies that they were not fitted to.

The networks hold galaxies back for it (`photoz.estimators.networks.recalibrate`): each of their epochs sees every
training galaxy, in every member.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtr, ndtri

from photoz.estimators.mixture import Mixture, compute_pit, split_members
from photoz.estimators.mlp.ensemble import MixtureEnsemble
from photoz.estimators.mlp.lacking import choose_dark, choose_lost, darken_bands, remove_bands
from photoz.estimators.photometric.base import Sample
from photoz.estimators.photometric.features import FluxFeatures
from photoz.estimators.tensors import choose_device
from photoz.pdf.quantiles import make_coordinates
from photoz.pdf.recalibration import Recalibration
from photoz.photometry import Floats, Magnitudes
from photoz.telemetry import Progress

logger = logging.getLogger(__name__)

BLOCK = 2048  # galaxies a forward pass: their activations stay in the cache
FOLDS = 5
"""Parts of the training galaxies; each member is fitted without one of them and a share of the next."""
SHARES = 5
"""Of so many galaxies of a part, one is left out by a second member: of these it is seen how members agree."""
# A PIT of 0 or 1 has an infinite normal deviate; the recalibration (`photoz.pdf.pitmaps.EDGE`) cuts at the same place.
_EDGE = 1e-6
_FAR = 3.0  # deviates
_MEAN_WITHIN = 0.7971  # mean of min(|x|, 3) of a normal x: sqrt(2 / pi) (1 - exp(-4.5)) + 3 P(|x| > 3)
_LEAST = 300  # galaxies that a recalibration asks for, for a map of their own
_BITS = 62  # of a pattern's code, so that those of unknown patterns lie above it in an int64
_BASE = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio, as Fibonacci hashing multiplies by
_MOST = 10_000  # galaxies from which a band is removed: KS 0.009 by noise, and every band takes as many again


@dataclass(frozen=True, eq=False)
class EnsembleModel:
    """From photometry to mixtures: what the network reads, the network, and the scale of its target.

    Parameters
    ----------
    features : FluxFeatures
    network : MixtureEnsemble
    mean, spread : float
        ln(1 + z) = mean + spread times the mixtures' values.
    """

    features: FluxFeatures
    network: MixtureEnsemble
    mean: float
    spread: float

    def mix(self, fluxes_NF: Floats, errors_NF: Floats, size: int = BLOCK) -> Iterator[Mixture]:
        """Yield the mixtures of the galaxies; call in torch's inference mode.

        Parameters
        ----------
        fluxes_NF, errors_NF : ndarray of float, shape (N, F)
            [nJy] NaN where there is none.
        size : int
            Galaxies at a time.
        """
        return self.mix_features(self.features.apply(fluxes_NF, errors_NF), size)

    def mix_features(self, features_NC: npt.NDArray[np.float32], size: int = BLOCK) -> Iterator[Mixture]:
        """Yield the mixtures of galaxies whose features are known, ``size`` at a time."""
        device = choose_device()
        return (self.network.mix(block.to(device)) for block in torch.split(torch.from_numpy(features_NC), size))


def assign_folds(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Assign each galaxy to one of ``FOLDS * SHARES`` pieces of equal size at random, shape (count,)."""
    # A stream apart from the fit's, which starts from the seed alone.
    return np.asarray(np.random.default_rng([seed, FOLDS]).permutation(count) % (FOLDS * SHARES))


def find_unseen(fold_N: npt.NDArray[np.int64], member: int) -> npt.NDArray[np.bool_]:
    """Find the galaxies that a member is fitted without: a part, and the first share of the next one.

    Parameters
    ----------
    fold_N : ndarray of int64, shape (N,)
        Of `assign_folds`.
    member : int
        Counted from 0.

    Returns
    -------
    ndarray of bool, shape (N,)
        With fewer members than parts, some galaxies are seen by all of them.
    """
    part_N, share_N = np.divmod(fold_N, SHARES)
    return np.asarray((part_N == member % FOLDS) | ((part_N == (member + 1) % FOLDS) & (share_N == 0)))


def fit_recalibration(model: EnsembleModel, sample: Sample, fold_N: npt.NDArray[np.int64], seed: int) -> Recalibration:
    """Fit the recalibration to what members say of the galaxies that each was fitted without.

    The galaxies count as they are, and again with each band removed in turn, with bands removed at random and with
    faint bands not detected, so that galaxies that lack bands have maps of their own.

    Parameters
    ----------
    model : EnsembleModel
    sample : Sample
        What the ensemble was fitted to.
    fold_N : ndarray of int64
        Of `assign_folds`.
    seed : int
        Of the choice of galaxies that lose bands, and of the bands.
    """
    rng = np.random.default_rng([seed, FOLDS + 1])
    bands = len(sample.bands)
    parts = [(sample, fold_N)]
    for band in range(bands):
        rows = np.sort(rng.permutation(len(sample))[:_MOST])
        lost_NF = np.broadcast_to(np.arange(bands) == band, (len(rows), bands))
        parts.append((remove_bands(sample.take(rows), lost_NF), fold_N[rows]))
    parts.append((remove_bands(sample, choose_lost(len(sample), bands, rng)), fold_N))
    dark_NF = choose_dark(sample, 0.5, rng)
    rows = np.flatnonzero(dark_NF.any(axis=1))
    parts.append((darken_bands(sample.take(rows), dark_NF[rows]), fold_N[rows]))
    # A bright sample has nothing below a signal-to-noise ratio of 3.
    parts = [part for part in parts if len(part[0])]
    progress = Progress(logger, "mlp: recalibrating by galaxy", sum(len(part) for part, _ in parts))
    pits: list[npt.NDArray[np.float64]] = []
    for part in parts:
        progress.tell(sum(map(len, pits)))
        pits.append(compute_unseen_pit(model, *part))
    pit_N = np.concatenate(pits)
    derived = [part.magnitudes for part, _ in parts]
    coordinates_NC = np.concatenate([make_coordinates(each.magnitudes_NF, sample.bands) for each in derived])
    lacking_NB = np.concatenate([find_lacking(each) for each in derived])
    known_N = np.isfinite(pit_N)
    codes, counts = np.unique(_encode(lacking_NB[known_N]), return_counts=True)
    pattern_N = code_patterns(lacking_NB[known_N], codes[counts >= _LEAST])
    return Recalibration.fit(pit_N[known_N], coordinates_NC[known_N], pattern_N)


def find_lacking(magnitudes: Magnitudes) -> npt.NDArray[np.bool_]:
    """Find what was not observed, then what was not detected, shape (N, 2 F)."""
    dark_NF = magnitudes.not_detected_NF
    return np.concatenate([np.isnan(magnitudes.magnitudes_NF) & ~dark_NF, dark_NF], axis=1)


def code_patterns(lacking_NB: npt.NDArray[np.bool_], known_P: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Code what galaxies lack: bit i for column i (`_encode`) where that pattern is known, else by how many are set.

    The networks' patterns (`photoz.estimators.networks.masks.number_patterns`) are numbered otherwise, by what is
    likely to be missing together; folders hold these numbers, so that neither can take the other's.

    Examples
    --------
    >>> lacking_NB = np.array([[False, False], [True, False], [True, True]])
    >>> code_patterns(lacking_NB, np.array([0, 1])).tolist()
    [0, 1, 6]
    """
    code_N = _encode(lacking_NB)
    others = 1 << min(lacking_NB.shape[1], _BITS)
    return np.where(np.isin(code_N, known_P), code_N, others + lacking_NB.sum(axis=1))


def _encode(lacking_NB: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return a number below 2**62 for each row: bit i for column i, while there are bits enough."""
    count = lacking_NB.shape[1]
    if count <= _BITS:
        return np.asarray(lacking_NB @ (1 << np.arange(count, dtype=np.int64)))
    # More than 31 bands, two columns each. Sums of powers of an odd number, whose remainders tell the patterns of a
    # sample apart but by a chance of 1 in 10**12 of a thousand of them.
    powers = np.array([pow(_BASE, i, 1 << _BITS) for i in range(count)], dtype=np.uint64)
    return np.asarray((lacking_NB @ powers) & np.uint64((1 << _BITS) - 1), dtype=np.int64)


def compute_unseen_pit(model: EnsembleModel, sample: Sample, fold_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Compute PIT as of the ensemble, from the members that were fitted without each galaxy; NaN where none was.

    One member is less sure where to put a galaxy than five, so its PIT spreads more. By how much is seen in galaxies
    that two members were fitted without (`measure_spread`): as normal deviates, PITs are scaled by that.

    Parameters
    ----------
    model : EnsembleModel
    sample : Sample
        Of N galaxies.
    fold_N : ndarray of int64, shape (N,)
        Of `assign_folds`.

    Returns
    -------
    ndarray of float64, shape (N,)
    """
    pit_NK = compute_member_pits(model, sample)
    members = pit_NK.shape[1]
    unseen_NK = np.stack([find_unseen(fold_N, member) for member in range(members)], axis=1)
    counts_N = unseen_NK.sum(axis=1)
    with np.errstate(invalid="ignore"):
        # 0 / 0 where no member left the galaxy out: NaN, and no warning for it.
        pit_N = np.where(unseen_NK, pit_NK, 0.0).sum(axis=1) / counts_N
    # Without it the recalibrated p(z) were too wide: 96.0 % of galaxies in the 95 % interval, 95.2 % with it
    # (docs/benchmarks/mlp-levers.md).
    spread = measure_spread(pit_NK, unseen_NK)
    scale_N = spread.compare(members) / spread.compare(np.maximum(counts_N, 1))
    return np.asarray(ndtr(scale_N * ndtri(np.clip(pit_N, _EDGE, 1 - _EDGE))))


@dataclass(frozen=True)
class Spread:
    """How PIT spreads, as normal deviates, of galaxies that members have not seen.

    Parameters
    ----------
    one : float
        Variance for one member.
    own : float
        The part of it that is the member's own, by which members differ.
    """

    one: float
    own: float

    def compare(self, members: Any) -> Any:
        """Return by how much the PIT of so many members together spreads less than that of one.

        The mean of M numbers varies by own / M where each varies by ``own``; and the mean of M densities is wider than
        one of them, by what they lie about their mean.
        """
        gone = self.own * (1 - 1 / members)
        return np.sqrt((self.one - gone) / self.one / (1 + gone))


def measure_spread(pit_NK: npt.NDArray[np.float64], unseen_NK: npt.NDArray[np.bool_]) -> Spread:
    """Measure how PIT spreads, on galaxies that several members have not seen, by these alone and together.

    Members that have seen a galaxy agree on it more than they would: by them p(z) came out too wide, the more, the
    fewer galaxies there were to fit to.

    Parameters
    ----------
    pit_NK : ndarray of float64, shape (N, K)
    unseen_NK : ndarray of bool, shape (N, K)
        Whether each member was fitted without the galaxy.
    """
    several_N = unseen_NK.sum(axis=1) >= 2
    # With one member there is no ensemble to compare it with.
    if not several_N.any():
        return Spread(1.0, 0.0)
    pit_NK, unseen_NK = pit_NK[several_N], unseen_NK[several_N]
    counts_N = unseen_NK.sum(axis=1)
    together_N = np.where(unseen_NK, pit_NK, 0.0).sum(axis=1) / counts_N
    one, together = _measure_variance(pit_NK[unseen_NK]), _measure_variance(together_N)
    # `Spread.compare` squared is together / one: solved for what is the member's own.
    gone = (one - together) / (1 + together)
    return Spread(one, float(np.clip(gone / (1 - 1 / np.median(counts_N)), 0.0, 0.9 * one)))


def _measure_variance(pit_M: npt.NDArray[np.float64]) -> float:
    """Measure the variance of PITs as normal deviates, by their mean absolute value within 3."""
    # A few outliers would decide a variance, and of these ensembles mend more than of the galaxies between.
    absolute_M = np.minimum(np.abs(ndtri(np.clip(pit_M, _EDGE, 1 - _EDGE))), _FAR)
    return float((absolute_M.mean() / _MEAN_WITHIN) ** 2)


def compute_member_pits(model: EnsembleModel, sample: Sample) -> npt.NDArray[np.float64]:
    """Compute the probability below the true redshift in the raw p(z) of each member, shape (N, K)."""
    y_N = (np.log1p(np.asarray(sample.z_N, dtype=np.float64)) - model.mean) / model.spread
    targets = torch.from_numpy(y_N.astype(np.float32)).to(choose_device())
    total = model.network.members
    with torch.inference_mode():
        mixtures = model.mix(sample.fluxes_NF, sample.errors_NF)
        pits = [
            compute_pit(split_members(mixture, total), block.repeat_interleave(total)).view(-1, total).double().cpu()
            for mixture, block in zip(mixtures, torch.split(targets, BLOCK), strict=True)
        ]
    return torch.cat(pits).numpy()
