"""An ensemble of small networks, which mlp and the networks of images and magnitudes share, and one of mixtures."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from photoz.estimators.mixture import Mixture, compute_log_likelihood

_LOWEST, _HIGHEST = -5.5, 1.5  # natural logarithm of a component's width, in units of the targets' spread


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
        Fraction of the rows that lose bands in each epoch; see `photoz.estimators.mlp.lacking.drop_bands`.
    reach : float
        In ln(1 + z): the estimate is the value of the least expected min(|error|, reach); see `find_local_median`.
    dark_fraction : float
        Fraction of the magnitudes with a signal-to-noise ratio below 3 that count as not detected in each epoch.
    smooth_nz_width : float
        In redshift: the loss is weighted so that the training n(z) is smooth at this scale, which keeps the large-scale
        structure of the training field out of p(z); see `photoz.estimators.smoothing`. 0: not weighted.
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


class Ensemble(nn.Module):
    """K networks of the same shape evaluated together by batched matrix products.

    Parameters
    ----------
    inputs : int
        Numbers that each member reads.
    hidden : tuple of int
        Units of the hidden layers.
    outputs : int
        Numbers that each member gives.
    members : int
    dropout : float
        Fraction of the hidden units that a training step leaves out.
    """

    def __init__(
        self, inputs: int, hidden: tuple[int, ...], outputs: int, *, members: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        shapes = list(pairwise((inputs, *hidden, outputs)))
        # One tensor for all members: a loop over them would make as many small products in place of a batched one.
        self.weights = nn.ParameterList([torch.empty(members, *shape) for shape in shapes])
        self.biases = nn.ParameterList([torch.zeros(members, 1, shape[1]) for shape in shapes])
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """He's initialisation, small in the last layer."""
        for weight in self.weights:
            nn.init.normal_(weight, std=math.sqrt(2.0 / weight.shape[1]))
        self.weights[-1].mul_(0.3)

    def forward(self, features: Tensor) -> Any:
        """Return what each member gives, (K, N, P), of features (K, N, I) or (N, I)."""
        values = features if features.dim() == 3 else features.expand(len(self.biases[0]), -1, -1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            # In place only where no gradient is asked for: SiLU's needs its input.
            values = nn.functional.silu(torch.baddbmm(bias, values, weight), inplace=not torch.is_grad_enabled())
            if self.dropout:
                values = nn.functional.dropout(values, self.dropout, self.training)
        return torch.baddbmm(self.biases[-1], values, self.weights[-1])


@torch.no_grad()
def spread_components(bias: Tensor, components: int) -> None:
    """Set the biases, (..., P), of which the last 2 C give centres and widths of C Gaussians, so that they cover z.

    Centres are spread over the targets; the widths start at exp(-0.7), half of the targets' spread.
    """
    bias[..., -2 * components : -components] = torch.linspace(-1.5, 1.5, components)
    bias[..., -components:] = -0.7


class MixtureEnsemble(Ensemble):
    """An ensemble whose members give a mixture of Gaussians each.

    Parameters
    ----------
    inputs : int
        Features of a galaxy.
    recipe : EnsembleRecipe
    """

    def __init__(self, inputs: int, recipe: EnsembleRecipe) -> None:
        # A weight, a centre and a width for each Gaussian.
        outputs = 3 * recipe.components
        super().__init__(inputs, recipe.hidden, outputs, members=recipe.members, dropout=recipe.dropout)
        self.members = recipe.members
        spread_components(self.biases[-1], recipe.components)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights, centres and log widths, (K, N, C) each, of features (K, N, I) or (N, I)."""
        logits, centres, logs = super().forward(features).chunk(3, dim=2)
        # Without a lower limit a component can settle on one training galaxy with a width of 0 and a likelihood without
        # bound.
        return torch.log_softmax(logits, dim=2), centres, logs.clamp(_LOWEST, _HIGHEST)

    def mix(self, features_NI: Tensor) -> Mixture:
        """Return the mean of the members' mixtures: K * C components a galaxy, those of a member side by side."""
        log_weights, centres, logs = (values.transpose(0, 1).flatten(1) for values in self(features_NI))
        # All members' Gaussians as one mixture: the mean of densities is a density, where a mean of quantiles would
        # hide that members disagree.
        return Mixture(log_weights.exp() / len(self.biases[0]), centres, logs.exp())


def sum_losses(output: tuple[Tensor, Tensor, Tensor], targets_KN: Tensor, weights_KN: Tensor | None = None) -> Tensor:
    """Compute the mean negative log likelihood of the targets, summed over the members, without constants.

    Parameters
    ----------
    output : tuple of Tensor
        Of `MixtureEnsemble`, each of shape (K, N, C).
    targets_KN : Tensor, shape (K, N)
    weights_KN : Tensor, shape (K, N), optional
        Of the galaxies; none: all alike.

    Returns
    -------
    Tensor
        A scalar.
    """
    log_weights, centres, logs = output
    likelihoods = compute_log_likelihood(log_weights, centres, logs, targets_KN.unsqueeze(2))
    # Summed over members: each then has the gradients that it would have alone.
    return -(likelihoods if weights_KN is None else likelihoods * weights_KN).mean(dim=1).sum()
