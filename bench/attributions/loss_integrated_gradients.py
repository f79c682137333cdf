"""Integrated gradients of the cross-entropy, by the trapezoid rule."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._completeness import gap_to_black
from bench.attributions._nodes import MOST_NODES, NodeMethod, Nodes
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Linearization


@dataclass(frozen=True, kw_only=True)
class LossIntegratedGradients(NodeMethod):
    """Integrated gradients of the cross-entropy instead of the logit.

    A(x) = x * integral over alpha in [0, 1] of dCE(z, y)/dx at alpha x; CE = -log softmax(z)_y. ART's tables measure
    this map, but their attack changes the map of the logit. The two maps differ, so the tables make a network look more
    robust than it is.

    Source:
        Singh et al. 2020, ART. Reference code: nupurkmr9/Attributional-Robustness, cifar/eval_model.py (101 nodes).
        Differs: nothing; the code's mean over channels is a protocol's heatmap rule, up to a factor.
    """

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    nodes: int = Field(default=101, ge=2, le=MOST_NODES)
    """Points of the path at which the gradient is taken."""

    @property
    def nodes_per_image(self) -> int:
        """The number of quadrature nodes, both ends included."""
        return self.nodes

    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) signed attribution of the cross-entropy of `labels`.

        It has a graph if `create_graph` is set.
        """
        return super().attribute(_Losses(model), images, labels, rng=rng, create_graph=create_graph)

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution and its exact pullback."""
        return super().linearize(_Losses(model), images, labels, rng=rng)

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:  # noqa: ARG002
        """Return the trapezoid rule's nodes on the line from black."""
        positions = torch.linspace(0, 1, self.nodes, dtype=torch.float64)
        weights = torch.full_like(positions, 1 / (self.nodes - 1))
        weights[[0, -1]] /= 2
        points = images.unsqueeze(1) * positions.to(images).view(1, -1, 1, 1, 1)
        return Nodes(points, weights.to(images), positions.to(images), images)

    def completeness_gap(self, model: nn.Module, images: Tensor, labels: Tensor, attribution: Tensor) -> Tensor:
        """(N,) |sum of A - (CE(x) - CE(black))|, in nats."""
        return gap_to_black(_Losses(model), images, labels, attribution)


class _Losses(nn.Module):
    """A model that returns cross-entropies in place of logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return -torch.log_softmax(self.model(images), dim=1)
