"""Integrated gradients, differentiated as in ART's published attack.

The direct term of the product rule is missing.
"""

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
class ArtIntegratedGradients(NodeMethod):
    """Integrated gradients, differentiated without the direct term.

    A(x) = x * (1/m) sum_{i=1..m} dz_y/dx at (i/m) x. The derivative is that of the sum only, not of the factor x.
    Searches use it to repeat published numbers. Its value is integrated gradients with right-Riemann nodes.

    Source:
        Singh et al. 2020, ART. Reference code: nupurkmr9/Attributional-Robustness, cifar/eval_model.py.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False
    exact_pullback: ClassVar[bool] = False

    nodes: int = Field(default=100, ge=1, le=MOST_NODES)
    """Points of the path at which the gradient is taken."""

    @property
    def nodes_per_image(self) -> int:
        """The number of quadrature nodes."""
        return self.nodes

    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) signed attribution of logit `labels` at `images`.

        It has a graph if `create_graph` is set.
        """
        return images.detach() * super().attribute(model, images, labels, rng=rng, create_graph=create_graph)

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution and the pullback without the direct term."""
        average = super().linearize(model, images, labels, rng=rng)
        return Linearization(images * average.attribution, lambda cotangent: average.pullback(cotangent * images))

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:  # noqa: ARG002
        """Return the nodes on each image's line from black.

        Their gradients are averaged and not yet multiplied by the image.
        """
        positions = torch.arange(1, self.nodes + 1, dtype=torch.float64).to(images) / self.nodes
        points = images.unsqueeze(1) * positions.view(1, -1, 1, 1, 1)
        return Nodes(points, torch.full_like(positions, 1 / self.nodes), positions, None)

    def completeness_gap(self, model: nn.Module, images: Tensor, labels: Tensor, attribution: Tensor) -> Tensor:
        """(N,) |sum of A - (z_y(x) - z_y(black))|, in logits."""
        return gap_to_black(model, images, labels, attribution)
