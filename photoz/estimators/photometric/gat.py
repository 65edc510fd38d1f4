"""Graph attention over the bands of a galaxy: `GatEstimator`."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from photoz.estimators.photometric.fitting import Recipe, SmallNetworkEstimator, make_defaults

RECIPE = Recipe(optimizer="adamw", learning_rate=1e-3, batch_size=256, weight_decay=1e-5)
"""The classroom project's: AdamW with rate 1e-3 and weight decay 1e-5."""


class GraphAttention(nn.Module):
    """Graph attention on graphs in which every node sees every node, itself included.

    Written for batches of small complete graphs, where no list of edges is needed; equal to torch-geometric's GATConv
    with the same weights on such graphs (a test compares them where it is installed).

    Parameters
    ----------
    inputs, outputs : int
        Features of a node before, and of each head after.
    heads : int
        Their outputs stand side by side.

    References
    ----------
    Veličković et al. 2018, Graph Attention Networks (arXiv 1710.10903), equations 1 to 5.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(inputs, heads * outputs, bias=False)
        # The paper's vector a, taken apart: the part for the node that looks and the part for the one looked at are
        # summed, which needs no pair of features side by side.
        self.source = nn.Parameter(torch.empty(heads, outputs))
        self.target = nn.Parameter(torch.empty(heads, outputs))
        self.bias = nn.Parameter(torch.zeros(heads * outputs))
        for weight in (self.linear.weight, self.source, self.target):
            nn.init.xavier_uniform_(weight)

    def forward(self, nodes_NGC: Tensor) -> Tensor:
        """Return new features of the G nodes of N graphs, shape (N, G, heads * outputs)."""
        values_NGHC = self.linear(nodes_NGC).unflatten(2, (self.heads, -1))
        from_NGH = (values_NGHC * self.source).sum(3)
        to_NGH = (values_NGHC * self.target).sum(3)
        # 0.2 is the slope of the paper and of GATConv.
        scores_NGGH = nn.functional.leaky_relu(to_NGH.unsqueeze(2) + from_NGH.unsqueeze(1), 0.2)
        weights_NGGH = torch.softmax(scores_NGGH, dim=2)  # over the nodes that are looked at
        seen_NGHC = torch.einsum("ntsh,nshc->nthc", weights_NGGH, values_NGHC)
        return seen_NGHC.flatten(2) + self.bias


class Gat(nn.Module):
    """A galaxy is a graph, a band a node that knows its magnitude and which band it is; two layers of attention.

    Parameters
    ----------
    bands : int
    width, heads : int
        Features a head, and heads of both layers.
    """

    def __init__(self, bands: int, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        # Not saved: it follows from the number of bands.
        self.register_buffer("which", torch.eye(bands), persistent=False)
        self.first = GraphAttention(1 + bands, width, heads)
        self.second = GraphAttention(heads * width, width, heads)
        self.read = nn.Sequential(nn.Linear(bands * heads * width, 64), nn.ELU(), nn.Linear(64, 1))

    def forward(self, features_NF: Tensor) -> Tensor:
        """Return one value a row, shape (N,)."""
        which_NGF = self.which.expand(len(features_NF), -1, -1)  # type: ignore[operator]
        nodes_NGC = torch.cat([features_NF.unsqueeze(2), which_NGF], dim=2)
        nodes_NGC = nn.functional.elu(self.first(nodes_NGC))
        nodes_NGC = nn.functional.elu(self.second(nodes_NGC))
        values: Tensor = self.read(nodes_NGC.flatten(1)).squeeze(1)
        return values


class GatEstimator(SmallNetworkEstimator):
    """The classroom project's graph attention network (its test MSE 0.0133, R² 0.759)."""

    name: ClassVar[str] = "gat"
    DEFAULTS: ClassVar[dict[str, Any]] = make_defaults(RECIPE)

    @staticmethod
    def make_network(bands: int) -> nn.Module:
        """Build `Gat`."""
        return Gat(bands)
