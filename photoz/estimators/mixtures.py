"""An ensemble of mixture-density networks: the batched network, its fit, and figures of the mixtures it gives."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from photoz.schema import LEVELS

_LOWEST, _HIGHEST = -5.5, 1.5  # natural logarithm of a component's width, in units of the targets' spread


class Mixture(NamedTuple):
    """Gaussian mixtures of N galaxies: weights (summing to 1), centres and widths, each of shape (N, C)."""

    weights: Tensor
    centres: Tensor
    widths: Tensor


@dataclass(frozen=True)
class EnsembleRecipe:
    """Shape of the ensemble and how it is fitted; each default is the best of those in docs/benchmarks/mlp-levers.md.

    Parameters
    ----------
    members : int
        Networks, which differ by initial weights and by the order of the rows.
    hidden : tuple of int
        Units of the hidden layers.
    components : int
        Gaussians a member.
    epochs, batch_size : int
        A small sample is gone through more often, until ``least_steps``; a large one less often, to ``most_steps``.
    learning_rate, weight_decay : float
        Of AdamW; the rate rises for a tenth of the steps and falls by a cosine.
    average : float
        Decay of the running average of the weights, which is what is kept.
    dropout : float
        Fraction of the hidden units that a fit leaves out at each step.
    band_dropout : float
        Fraction of the rows that lose bands in each epoch; see `photoz.estimators.dropping.drop_bands`.
    reach : float
        In ln(1 + z): the estimate is the value of the least expected min(|error|, reach); see `find_local_median`.
    dark_fraction : float
        Fraction of the magnitudes with a signal-to-noise ratio below 3 that count as not detected in each epoch.
    smooth_nz_width : float
        In redshift: the loss is weighted so that the training n(z) is smooth at this scale, which keeps the large-scale
        structure of the training field out of p(z); see `photoz.deimprint.compute_smoothing_weights`. 0: not weighted.
    """

    members: int = 5
    hidden: tuple[int, ...] = (256, 256, 128)
    components: int = 5
    epochs: int = 40
    batch_size: int = 512
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    average: float = 0.998
    dropout: float = 0.0
    band_dropout: float = 0.1
    reach: float = 0.08
    dark_fraction: float = 0.2
    smooth_nz_width: float = 0.0
    least_steps: int = 400
    most_steps: int = 20_000


class MixtureEnsemble(nn.Module):
    """K networks of the same shape evaluated together by batched matrix products.

    Parameters
    ----------
    inputs : int
        Features of a galaxy.
    recipe : EnsembleRecipe
    """

    def __init__(self, inputs: int, recipe: EnsembleRecipe) -> None:
        super().__init__()
        self.members = recipe.members
        self.components = recipe.components
        self.dropout = recipe.dropout
        sizes = (inputs, *recipe.hidden, 3 * recipe.components)
        shapes = list(pairwise(sizes))
        self.weights = nn.ParameterList([torch.empty(recipe.members, *shape) for shape in shapes])
        self.biases = nn.ParameterList([torch.zeros(recipe.members, 1, shape[1]) for shape in shapes])
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """He's initialisation, small in the last layer, whose components start spread over the targets."""
        for weight in self.weights:
            nn.init.normal_(weight, std=math.sqrt(2.0 / weight.shape[1]))
        self.weights[-1].mul_(0.3)
        count = self.components
        self.biases[-1][:, :, count : 2 * count] = torch.linspace(-1.5, 1.5, count)
        self.biases[-1][:, :, 2 * count :] = -0.7

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights, centres and log widths, (K, N, C) each, of features (K, N, I) or (N, I)."""
        values = features if features.dim() == 3 else features.expand(len(self.biases[0]), -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = nn.functional.silu(torch.baddbmm(bias, values, weight), inplace=not torch.is_grad_enabled())
            if self.dropout:
                values = nn.functional.dropout(values, self.dropout, self.training)
        values = torch.baddbmm(self.biases[-1], values, self.weights[-1])
        logits, centres, logs = values.chunk(3, dim=2)
        return torch.log_softmax(logits, dim=2), centres, logs.clamp(_LOWEST, _HIGHEST)

    def mix(self, features_NI: Tensor) -> Mixture:
        """Return the mean of the members' mixtures: K * C components a galaxy, those of a member side by side."""
        log_weights, centres, logs = (values.transpose(0, 1).flatten(1) for values in self(features_NI))
        return Mixture(log_weights.exp() / len(self.biases[0]), centres, logs.exp())


def split_members(mixture: Mixture, members: int) -> Mixture:
    """Take the mean of K mixtures apart: N * K mixtures, those of a galaxy one after the other."""
    weights, centres, widths = (values.reshape(len(values) * members, values.shape[1] // members) for values in mixture)
    return Mixture(weights * members, centres, widths)


def compute_loss(output: tuple[Tensor, Tensor, Tensor], targets_KN: Tensor, weights_KN: Tensor | None = None) -> Tensor:
    """Return the mean (weighted) negative log likelihood of the targets, summed over the members, without constants."""
    log_weights, centres, logs = output
    pulls = (targets_KN.unsqueeze(2) - centres) * torch.exp(-logs)
    likelihoods = torch.logsumexp(log_weights - logs - 0.5 * pulls**2, dim=2)
    return -(likelihoods if weights_KN is None else likelihoods * weights_KN).mean(dim=1).sum()


def compute_cdf(mixture: Mixture, values_N: Tensor) -> Tensor:
    """Return the probability below a value of each galaxy, shape (N,)."""
    pulls = (values_N.unsqueeze(1) - mixture.centres) / mixture.widths
    probability: Tensor = (mixture.weights * torch.special.ndtr(pulls)).sum(dim=1)
    return probability


def compute_density(mixture: Mixture, values_Z: Tensor) -> Tensor:
    """Return the density at each of the values, shape (N, Z)."""
    pulls = (values_Z[None, :, None] - mixture.centres.unsqueeze(1)) / mixture.widths.unsqueeze(1)
    scale = mixture.weights / mixture.widths / math.sqrt(2 * math.pi)
    return (torch.exp(-0.5 * pulls**2) * scale.unsqueeze(1)).sum(dim=2)


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
    slopes = shares / torch.diff(levels_NQ, dim=1).clamp_min(1e-7)
    ends = slopes[:, 0] * middles[:, 0] + slopes[:, -1] * (1 - middles[:, -1])
    slopes = slopes / (torch.trapezoid(slopes, middles, dim=1) + ends).unsqueeze(1)
    cdf = _measure_cdf(mixture, values_Z.expand(len(levels_NQ), -1)).contiguous()
    upper = torch.searchsorted(middles.contiguous(), cdf).clamp(1, middles.shape[1] - 1)
    low, high = middles.gather(1, upper - 1), middles.gather(1, upper)
    share = ((cdf - low) / (high - low)).clamp(0, 1)
    return compute_density(mixture, values_Z) * torch.lerp(slopes.gather(1, upper - 1), slopes.gather(1, upper), share)


def find_median(mixture: Mixture, *, steps: int = 7) -> Tensor:
    """Find the median of each mixture, shape (N,), to some 1e-4 of a width.

    Newton's steps, held within a bracket that shrinks at each (Numerical Recipes, 3rd edition, section 9.4).
    """
    low = (mixture.centres - 5 * mixture.widths).amin(dim=1)
    high = (mixture.centres + 5 * mixture.widths).amax(dim=1)
    value = (mixture.weights * mixture.centres).sum(dim=1)
    scale = mixture.weights / mixture.widths / math.sqrt(2 * math.pi)
    for _ in range(steps):
        pulls = (value.unsqueeze(1) - mixture.centres) / mixture.widths
        excess = (mixture.weights * torch.special.ndtr(pulls)).sum(dim=1) - 0.5
        slope = (torch.exp(-0.5 * pulls**2) * scale).sum(dim=1)
        low, high = torch.where(excess < 0, value, low), torch.where(excess < 0, high, value)
        newton = value - excess / slope.clamp_min(1e-12)
        value = torch.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
    return value


def find_local_median(mixture: Mixture, reach: float, *, steps: int = 5) -> Tensor:
    """Find the value y of the least expected loss min(|y' - y|, reach), shape (N,).

    There half of the probability within ``reach`` lies on either side: F(y) - F(y - reach) = F(y + reach) - F(y). A
    second peak farther away than ``reach`` does not pull on it, as it does on the median, where the search starts.
    """
    value = find_median(mixture)
    shifts = value.new_tensor([-reach, 0.0, reach])
    signs = value.new_tensor([-1.0, 2.0, -1.0])
    scale = (mixture.weights / mixture.widths / math.sqrt(2 * math.pi)).unsqueeze(1)
    for _ in range(steps):
        points = (value.unsqueeze(1) + shifts).unsqueeze(2)
        pulls = (points - mixture.centres.unsqueeze(1)) / mixture.widths.unsqueeze(1)
        excess = (mixture.weights.unsqueeze(1) * torch.special.ndtr(pulls)).sum(dim=2) @ signs
        slope = (torch.exp(-0.5 * pulls**2) * scale).sum(dim=2) @ signs
        step = excess / slope.clamp_min(0.05)  # a maximum of the loss has a negative slope: walk off it
        value = value - step.clamp(-reach / 2, reach / 2)
    return value


def find_quantiles(mixture: Mixture, levels_NQ: Tensor, *, tolerance: float = 2e-3, most_steps: int = 40) -> Tensor:
    """Find the values below which given shares of each mixture lie.

    The cumulative density on a grid about the mean brackets each value; Newton's steps within the bracket follow until
    no value of a galaxy moves by more than ``tolerance``, which leaves an error far below it.

    Parameters
    ----------
    mixture : Mixture
        Of N galaxies.
    levels_NQ : Tensor, shape (N, Q)
        Within (0, 1), rising.
    tolerance : float
        Of the last step, in units of the values. The default leaves less than 4e-5 in redshift on real galaxies.
    most_steps : int
        A bracket halves at least at each step.

    Returns
    -------
    Tensor, shape (N, Q)
        Not falling along a row.
    """
    low, high, value = _bracket(mixture, levels_NQ)
    found = torch.empty_like(value)
    rows = torch.arange(len(value), device=value.device)
    for _ in range(most_steps):
        excess, slope = _measure_excess(mixture, value, levels_NQ)
        low, high = torch.where(excess < 0, value, low), torch.where(excess < 0, high, value)
        newton = value - excess / slope.clamp_min(1e-12)
        outside = (newton < low - tolerance) | (newton > high + tolerance)
        newton = torch.where(outside, 0.5 * (low + high), newton)
        moving = ((newton - value).abs() > tolerance).any(dim=1)
        found[rows] = value = newton
        if not moving.any():
            break
        rows, low, high, value, levels_NQ = (part[moving] for part in (rows, low, high, value, levels_NQ))
        mixture = Mixture(*(part[moving] for part in mixture))
    return found.cummax(dim=1).values


_SPACING = torch.sinh(torch.linspace(-3.2, 3.2, 32)) * 0.8  # standard deviations from the mean: to 10, dense within 2


def _bracket(mixture: Mixture, levels_NQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return values below and above each quantile, and a guess between them."""
    weights, centres, widths = mixture
    mean = (weights * centres).sum(dim=1, keepdim=True)
    spread = (weights * (widths**2 + (centres - mean) ** 2)).sum(dim=1, keepdim=True).sqrt()
    ends = (centres - 6 * widths).amin(dim=1, keepdim=True), (centres + 6 * widths).amax(dim=1, keepdim=True)
    inner = mean + spread * _SPACING.to(mean)
    grid = torch.cat([ends[0].minimum(inner[:, :1] - spread), inner, ends[1].maximum(inner[:, -1:] + spread)], dim=1)
    cdf = torch.cat([torch.zeros_like(mean), _measure_cdf(mixture, inner), torch.ones_like(mean)], dim=1)
    upper = torch.searchsorted(cdf, levels_NQ).clamp(1, grid.shape[1] - 1)
    low, high, below, above = (
        values.gather(1, index) for values, index in ((grid, upper - 1), (grid, upper), (cdf, upper - 1), (cdf, upper))
    )
    return low, high, low + (high - low) * ((levels_NQ - below) / (above - below).clamp_min(1e-9)).clamp(0.02, 0.98)


def _measure_cdf(mixture: Mixture, values_NQ: Tensor) -> Tensor:
    scale = math.sqrt(0.5) / mixture.widths
    pulls = torch.addcmul(-(mixture.centres * scale).unsqueeze(1), values_NQ.unsqueeze(2), scale.unsqueeze(1))
    return 0.5 + 0.5 * (torch.erf_(pulls) * mixture.weights.unsqueeze(1)).sum(dim=2)


def _measure_excess(mixture: Mixture, values_NQ: Tensor, levels_NQ: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the probability below the values exceeds the levels, and the density there."""
    scale = math.sqrt(0.5) / mixture.widths
    pulls = torch.addcmul(-(mixture.centres * scale).unsqueeze(1), values_NQ.unsqueeze(2), scale.unsqueeze(1))
    cdf = 0.5 + 0.5 * (torch.erf(pulls) * mixture.weights.unsqueeze(1)).sum(dim=2)
    heights = (mixture.weights * scale / math.sqrt(math.pi)).unsqueeze(1)
    return cdf - levels_NQ, (torch.exp_(pulls.square_().neg_()) * heights).sum(dim=2)
