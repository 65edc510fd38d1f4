"""Densities of redshift: what all of them do, binned ones, and what the networks' heads make of their outputs.

Gaussian mixtures are `photoz.estimators.mixture`.

Everything is in y, a target that the caller scales, and on whichever device the network runs.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from photoz.estimators.mixture import Mixture, compute_log_likelihood

LOG_WIDTHS = (-4.5, 1.5)
"""Natural logarithm of the least and the greatest width of a Gaussian, in units of the targets' spread: with the 0.08
of a bright sample 0.0009 and 0.36 in ln(1 + z), from a tenth of the best scatter known to all redshifts alike."""
BIN_REACH = 4.5
"""Bins cover the targets' mean and this many of their spread on either side."""


class Density(Protocol):
    """Densities of N galaxies in y."""

    def compute_cdf(self, y_NM: Tensor) -> Tensor:
        """Return the probability below each value, shape (N, M)."""

    def measure(self, y_NM: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability below each value and the density there, each of shape (N, M)."""

    def find_quantiles(self, levels_NQ: Tensor) -> Tensor:
        """Return the values below which the probabilities lie, shape (N, Q), rising where the levels do."""


def find_local_median(density: Density, start_N: Tensor, reach: float, *, steps: int = 6) -> Tensor:
    """Find the value y of the least expected loss min(|y' - y|, reach), shape (N,).

    There half of the probability within ``reach`` lies on either side: F(y) - F(y - reach) = F(y + reach) - F(y). A
    second peak farther away than ``reach`` does not pull on it, as it does on the median.

    Parameters
    ----------
    density : Density
        Of N galaxies.
    start_N : Tensor, shape (N,)
        Where the search starts: near.
    reach : float
        In units of the values.
    steps : int
        Of Newton's.
    """
    # The condition is 2 F(y) - F(y - reach) - F(y + reach) = 0: with these signs one product gives its left side, and
    # of the densities its slope.
    shifts_3 = start_N.new_tensor([-reach, 0.0, reach])
    signs_3 = start_N.new_tensor([-1.0, 2.0, -1.0])
    y_N = start_N
    for _ in range(steps):
        below_N3, density_N3 = density.measure(y_N.unsqueeze(1) + shifts_3)
        slope_N = (density_N3 @ signs_3).clamp_min(0.05)  # a maximum of the loss has a negative slope: walk off it
        step_N = (below_N3 @ signs_3) / slope_N
        # A longer step could leap to a second peak, which the local median is there to pass over.
        y_N = y_N - step_N.clamp(-reach / 2, reach / 2)
    return y_N


class BinnedDensity(NamedTuple):
    """Densities of N galaxies that are constant within bins: probabilities (N, B), edges (B + 1,)."""

    probabilities: Tensor
    edges: Tensor

    def compute_cdf(self, y_NM: Tensor) -> Tensor:
        """Return the probability below each value, shape (N, M)."""
        bin_NM, share_NM = self._locate(y_NM)
        # A value outside the bins is counted to the outermost one; its share, clamped, makes that 0 or 1.
        below_NM = (self.probabilities.cumsum(dim=1) - self.probabilities).gather(1, bin_NM)
        return below_NM + share_NM.clamp(0, 1) * self.probabilities.gather(1, bin_NM)

    def measure(self, y_NM: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability below each value and the density there, 0 outside the bins, each of shape (N, M)."""
        bin_NM, share_NM = self._locate(y_NM)
        density_NM = self.probabilities.gather(1, bin_NM) / (self.edges[1] - self.edges[0])
        return self.compute_cdf(y_NM), torch.where((share_NM < 0) | (share_NM > 1), 0.0, density_NM)

    def find_quantiles(self, levels_NQ: Tensor) -> Tensor:
        """Return the values below which the probabilities lie, shape (N, Q)."""
        above_NB = self.probabilities.cumsum(dim=1)
        bin_NQ = torch.searchsorted(above_NB, levels_NQ.contiguous()).clamp(0, above_NB.shape[1] - 1)
        inside_NQ = self.probabilities.gather(1, bin_NQ)
        # From the bin's upper edge, which the sum that was searched is of; an empty bin has no share to divide by.
        share_NQ = 1 - (above_NB.gather(1, bin_NQ) - levels_NQ) / inside_NQ.clamp_min(1e-12)
        y_NQ = self.edges[bin_NQ] + share_NQ.clamp(0, 1) * (self.edges[1] - self.edges[0])
        # Float32 sums and shares are rounded, so that the values of close levels could change places.
        return torch.cummax(y_NQ, dim=1).values

    def _locate(self, y_NM: Tensor) -> tuple[Tensor, Tensor]:
        position_NM = (y_NM - self.edges[0]) / (self.edges[1] - self.edges[0])
        # Not clamped with it: the position tells `measure` which values lie outside.
        bin_NM = position_NM.floor().clamp(0, len(self.edges) - 2)
        return bin_NM.long(), position_NM - bin_NM


def mix_gaussians(parameters_NKP: Tensor) -> Mixture:
    """Return the mean of the members' mixtures: K * C components a galaxy, from K outputs of 3 C numbers."""
    logits, centres, logs = parameters_NKP.chunk(3, dim=2)
    # Each member counts alike, so that all components together have a weight of 1.
    weights = torch.softmax(logits, dim=2) / parameters_NKP.shape[1]
    return Mixture(weights.flatten(1), centres.flatten(1), logs.clamp(*LOG_WIDTHS).exp().flatten(1))


def mix_bins(parameters_NKP: Tensor) -> BinnedDensity:
    """Return the mean of the members' binned densities, from K outputs of a number a bin."""
    return BinnedDensity(torch.softmax(parameters_NKP, dim=2).mean(dim=1), make_edges(parameters_NKP))


def make_edges(parameters_NKP: Tensor) -> Tensor:
    """Return the edges of the bins for which outputs of that shape stand."""
    return torch.linspace(-BIN_REACH, BIN_REACH, parameters_NKP.shape[2] + 1, device=parameters_NKP.device)


def compute_mixture_loss(parameters_NKP: Tensor, y_N: Tensor) -> Tensor:
    """Return the negative log likelihood of each galaxy under each member's mixture, shape (N, K)."""
    logits, centres, logs = parameters_NKP.chunk(3, dim=2)
    log_weights, y_N11 = torch.log_softmax(logits, dim=2), y_N[:, None, None]
    return 0.5 * math.log(math.tau) - compute_log_likelihood(log_weights, centres, logs.clamp(*LOG_WIDTHS), y_N11)


def compute_binned_loss(parameters_NKP: Tensor, y_N: Tensor) -> Tensor:
    """Return the negative log likelihood of each galaxy under each member's binned density, shape (N, K)."""
    edges = make_edges(parameters_NKP)
    width = edges[1] - edges[0]
    # A galaxy beyond the bins counts to the outermost: it would else have no likelihood, and the loss be infinite.
    bin_N = ((y_N - edges[0]) / width).floor().clamp(0, len(edges) - 2).long()
    logs = functional.log_softmax(parameters_NKP, dim=2)
    own = logs.gather(2, bin_N[:, None, None].expand(-1, logs.shape[1], 1)).squeeze(2)
    # The density within a bin is its probability over its width: so losses of heads with other bins, and mixtures,
    # compare.
    return torch.log(width) - own
