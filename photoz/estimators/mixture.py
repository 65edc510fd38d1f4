"""Gaussian mixtures of many galaxies: their probabilities, densities, medians and quantiles."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from photoz.pdf.cubics import rise_cubically
from photoz.schema import LEVELS

_LEAST = -80.0  # exponents below give numbers so small that a CPU takes ten times as long for them


class Mixture(NamedTuple):
    """Gaussian mixtures of N galaxies: weights (summing to 1), centres and widths, each of shape (N, C).

    It is a `photoz.estimators.density.Density`.
    """

    weights: Tensor
    centres: Tensor
    widths: Tensor

    def compute_cdf(self, y_NM: Tensor) -> Tensor:
        """Return the probability below each value, shape (N, M)."""
        return measure_cdf(self, y_NM)

    def measure(self, y_NM: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability below each value and the density there, each of shape (N, M)."""
        return measure(self, y_NM)

    def find_quantiles(self, levels_NQ: Tensor) -> Tensor:
        """Return the values below which the probabilities lie, shape (N, Q), rising where the levels do."""
        return find_quantiles(self, levels_NQ)


def compute_log_likelihood(log_weights: Tensor, centres: Tensor, logs: Tensor, y: Tensor) -> Tensor:
    """Compute the log likelihood of targets under mixtures, without the constant -log(2 pi) / 2.

    Parameters
    ----------
    log_weights, centres, logs : Tensor, shape (..., C)
        Logarithms of the weights, centres, logarithms of the widths.
    y : Tensor
        Targets, broadcast against the others; its last axis has length 1.

    Returns
    -------
    Tensor, shape (...)
    """
    pulls = (y - centres) * torch.exp(-logs)
    return torch.logsumexp(log_weights - logs - 0.5 * pulls**2, dim=-1)


def split_members(mixture: Mixture, members: int) -> Mixture:
    """Take the mean of K mixtures apart: N * K mixtures, those of a galaxy one after the other."""
    # `MixtureEnsemble.mix` lays a member's components side by side, which this relies on.
    weights, centres, widths = (values.reshape(len(values) * members, values.shape[1] // members) for values in mixture)
    return Mixture(weights * members, centres, widths)


def compute_pit(mixture: Mixture, values_N: Tensor) -> Tensor:
    """Return the probability below a value of each galaxy, shape (N,), as exact in the lower tail as in the middle.

    `measure_cdf`, which is vectorised, knows no probability below 6e-8; a recalibration reads PIT down to 1e-6.
    """
    pulls = (values_N.unsqueeze(1) - mixture.centres) / mixture.widths
    probability: Tensor = (mixture.weights * torch.special.ndtr(pulls)).sum(dim=1)
    return probability


def compute_density(mixture: Mixture, values_Z: Tensor) -> Tensor:
    """Return the density at each of the values, shape (N, Z)."""
    pulls = (values_Z[None, :, None] - mixture.centres.unsqueeze(1)) / mixture.widths.unsqueeze(1)
    scale = mixture.weights / mixture.widths / math.sqrt(2 * math.pi)
    # In place: of a grid of hundreds of redshifts and 25 Gaussians each copy is some 10,000 numbers a galaxy.
    heights = torch.exp_(pulls.square_().mul_(-0.5).clamp_(min=_LEAST))
    return (heights * scale.unsqueeze(1)).sum(dim=2)


def compute_mapped_density(mixture: Mixture, values_Z: Tensor, levels_NQ: Tensor) -> Tensor:
    """Return the density at each of the values after a recalibration, shape (N, Z).

    Parameters
    ----------
    mixture : Mixture
        Of the cumulative density F.
    values_Z : Tensor
    levels_NQ : Tensor, shape (N, Q)
        F where the calibrated cumulative density H(F) is `photoz.schema.LEVELS`.

    Notes
    -----
    The density is that of the mixture times H'(F). H' is linear between the middles of the levels, where it has the
    mean slope there, constant beyond, and scaled to an integral of 1.
    """
    shares = torch.diff(levels_NQ.new_tensor(LEVELS))
    middles = 0.5 * (levels_NQ[:, 1:] + levels_NQ[:, :-1])
    # Levels strictly rise in float64, and may meet once they are float32.
    slopes = shares / torch.diff(levels_NQ, dim=1).clamp_min(1e-7)
    # Below the first middle and above the last H' is constant; the trapezoids know nothing of these ends.
    ends = slopes[:, 0] * middles[:, 0] + slopes[:, -1] * (1 - middles[:, -1])
    slopes = slopes / (torch.trapezoid(slopes, middles, dim=1) + ends).unsqueeze(1)
    cdf = measure_cdf(mixture, values_Z.expand(len(levels_NQ), -1)).contiguous()
    upper = torch.searchsorted(middles.contiguous(), cdf).clamp(1, middles.shape[1] - 1)
    low, high = middles.gather(1, upper - 1), middles.gather(1, upper)
    share = ((cdf - low) / (high - low)).clamp(0, 1)
    return compute_density(mixture, values_Z) * torch.lerp(slopes.gather(1, upper - 1), slopes.gather(1, upper), share)


def find_median(mixture: Mixture, *, steps: int = 7) -> Tensor:
    """Find the median of each mixture, shape (N,), to some 1e-4 of a width.

    Newton's steps, held within a bracket that shrinks at each (Numerical Recipes, 3rd edition, section 9.4).
    """
    # Half of the probability lies below the median, so the outermost component's 5 widths bracket it with room to
    # spare.
    low = (mixture.centres - 5 * mixture.widths).amin(dim=1, keepdim=True)
    high = (mixture.centres + 5 * mixture.widths).amax(dim=1, keepdim=True)
    value = (mixture.weights * mixture.centres).sum(dim=1, keepdim=True)
    for _ in range(steps):
        low, high, value, _ = _step(mixture, low, high, value, 0.5)
    return value.squeeze(1)


def find_quantiles(mixture: Mixture, levels_NQ: Tensor, *, tolerance: float = 1e-3, most_steps: int = 40) -> Tensor:
    """Find the values below which given shares of each mixture lie.

    Cumulative density and density on a grid about the mean bracket each value and give a first guess, which one of
    Newton's steps improves. Where it moved a galaxy's values by more than ``tolerance``, further steps within the
    bracket follow until none does, which leaves an error far below it.

    Parameters
    ----------
    mixture : Mixture
        Of N galaxies.
    levels_NQ : Tensor, shape (N, Q)
        Within (0, 1), rising.
    tolerance : float
        Of the last step, in units of the values. The default leaves less than 4e-5 in redshift, with the
        narrowest Gaussians that a network gives too.
    most_steps : int
        A bracket halves at least at each step.

    Returns
    -------
    Tensor, shape (N, Q)
        Not falling along a row.
    """
    parts = zip(*(torch.split(values, _PART) for values in (*mixture, levels_NQ)), strict=True)
    firsts = [_guess(Mixture(*part), levels) for *part, levels in parts]
    # torch.cat takes no empty list, and an empty partition has no galaxies.
    if not firsts:
        return torch.empty_like(levels_NQ)
    low, high, value, moved = (torch.cat(values) for values in zip(*firsts, strict=True))
    for _ in range(most_steps - 1):
        # Few galaxies need more than the first step, so that only those go on.
        rows = torch.nonzero((moved > tolerance).any(dim=1)).squeeze(1)
        if not len(rows):
            break
        few = Mixture(*(part[rows] for part in mixture))
        stepped = _step(few, low[rows], high[rows], value[rows], levels_NQ[rows])
        for whole, part in zip((low, high, value, moved), stepped, strict=True):
            whole[rows] = part
    # Each quantile is found for itself, to within a tolerance, so that two close ones could change places.
    return value.cummax(dim=1).values


_PART = 1024  # galaxies whose quantiles are searched together: 32 values of 25 Gaussians each stay in the cache
_SPACING = torch.sinh(torch.linspace(-3.2, 3.2, 32)) * 0.8  # standard deviations from the mean: to 10, dense within 2


def _guess(mixture: Mixture, levels_NQ: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bracket each quantile, guess it between and take one step: low, high, value and by how much it moved."""
    weights, centres, widths = mixture
    mean = (weights * centres).sum(dim=1, keepdim=True)
    # The law of total variance: of the components' own and between their centres.
    spread = (weights * (widths**2 + (centres - mean) ** 2)).sum(dim=1, keepdim=True).sqrt()
    ends = (centres - 6 * widths).amin(dim=1, keepdim=True), (centres + 6 * widths).amax(dim=1, keepdim=True)
    inner = mean + spread * _SPACING.to(mean)
    # The ends go wherever a component reaches: a far narrow one may lie outside ten spreads of all together.
    grid = torch.cat([ends[0].minimum(inner[:, :1] - spread), inner, ends[1].maximum(inner[:, -1:] + spread)], dim=1)
    below, density = measure(mixture, inner)
    none = torch.zeros_like(mean)
    # 0 and 1 at the ends by decree, so that every level lies in some cell.
    cdf, pdf = torch.cat([none, below, none + 1], dim=1), torch.cat([none, density, none], dim=1)
    upper = torch.searchsorted(cdf, levels_NQ.contiguous()).clamp(1, grid.shape[1] - 1)
    low, below, before = (values.gather(1, upper - 1) for values in (grid, cdf, pdf))
    high, above, after = (values.gather(1, upper) for values in (grid, cdf, pdf))
    value = low + _interpolate(high - low, above - below, levels_NQ - below, before, after)
    return _step(mixture, low, high, value, levels_NQ)


def _interpolate(width: Tensor, rise: Tensor, wanted: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Interpolate the inverse of a cumulative density between two points of a grid, by a cubic that does not fall.

    Its slopes at the ends are those of the inverse, at most three times the mean one.
    """
    share = (wanted / rise.clamp_min(1e-9)).clamp(0.0, 1.0)
    first, last = (torch.minimum(rise / density.clamp_min(1e-9), 3 * width) for density in (before, after))
    risen: Tensor = rise_cubically(share, width, first, last)
    return risen


def _step(
    mixture: Mixture, low: Tensor, high: Tensor, value: Tensor, levels: Tensor | float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take one of Newton's steps towards the levels, or halve the bracket where it leads out of it or across.

    Returns the bracket, the values and by how much they moved.
    """
    cdf, density = measure(mixture, value)
    excess = cdf - levels
    # The bracket closes in at every step, also where Newton's goes astray: a plateau between two peaks has hardly any
    # density.
    low, high = torch.where(excess < 0, value, low), torch.where(excess < 0, high, value)
    # The density is 0 between far components: held, the step leads out of the bracket, which is then halved.
    newton = value - excess / density.clamp_min(1e-12)
    outside = (newton < low - _SLACK) | (newton > high + _SLACK)
    # Between two steep flanks the steps go from one end of the bracket to the other and back for ever.
    outside |= (newton - value).abs() > torch.maximum(0.99 * (high - low), 10 * _SLACK * torch.ones_like(high))
    stepped = torch.where(outside, 0.5 * (low + high), newton)
    return low, high, stepped, (stepped - value).abs()


_SLACK = 2e-3  # beyond the bracket, whose ends a rounded probability may have moved to the wrong side


def measure_cdf(mixture: Mixture, values_NQ: Tensor) -> Tensor:
    """Return the probability below values, shape (N, Q)."""
    # addcmul makes the pulls in one pass over memory: (y - centre) scale as y scale - centre scale.
    scale = math.sqrt(0.5) / mixture.widths
    pulls = torch.addcmul(-(mixture.centres * scale).unsqueeze(1), values_NQ.unsqueeze(2), scale.unsqueeze(1))
    return 0.5 + 0.5 * (torch.erf_(pulls) * mixture.weights.unsqueeze(1)).sum(dim=2)


def measure(mixture: Mixture, values_NQ: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probability below values and the density there, each of shape (N, Q)."""
    scale = math.sqrt(0.5) / mixture.widths
    pulls = torch.addcmul(-(mixture.centres * scale).unsqueeze(1), values_NQ.unsqueeze(2), scale.unsqueeze(1))
    # erf, which is vectorised, in place of ndtr, which is not.
    cdf = 0.5 + 0.5 * (torch.erf(pulls) * mixture.weights.unsqueeze(1)).sum(dim=2)
    heights = (mixture.weights * scale / math.sqrt(math.pi)).unsqueeze(1)
    return cdf, (torch.exp_(pulls.square_().neg_().clamp_(min=_LEAST)) * heights).sum(dim=2)
