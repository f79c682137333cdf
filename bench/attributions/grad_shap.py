"""Expected gradients (GradientSHAP) over random baselines.

Each baseline is an image of one colour.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.attributions._nodes import MOST_NODES, NodeMethod, Nodes
from bench.core.compute.rng import SampleRng


@dataclass(frozen=True, kw_only=True)
class GradShap(NodeMethod):
    """Integrated gradients, averaged over random baselines.

    A(x) = E over baselines b and alpha ~ U(0, 1) of (x - b) * dz_y/dx at b + alpha (x - b). Each node has its own
    baseline, an image of one random colour. The alphas are the midpoints of T equal parts of [0, 1], in the order of
    the baselines. A sample always has the same baselines (common random numbers), so A is a fixed, differentiable
    function of x.

    Source:
        Lundberg, Lee 2017 (GradientExplainer of the shap package); Erion et al. 2021 (expected gradients).
        Differs: an attribution sees no data set, so that baselines are colours rather than training images; alphas are
        stratified rather than drawn; the sample's own baselines stay the same before and after an attack.
    """

    version: ClassVar[int] = 1

    nodes: int = Field(default=20, ge=1, le=MOST_NODES)
    """Points at which the gradient is taken, each with its own baseline."""

    @property
    def nodes_per_image(self) -> int:
        """The number of baselines."""
        return self.nodes

    def baselines(self, images: Tensor, rng: SampleRng) -> Tensor:
        """(N, T, C, 1, 1): the colours of the baselines."""
        channels = (images.shape[1], 1, 1)
        colors = [rng.fork("grad-shap", s).uniform(channels, 0, 1) for s in range(self.nodes)]
        return torch.stack(colors, dim=1).to(images)

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:
        """Return one point between each baseline and the image."""
        baselines = self.baselines(images, rng)
        alphas = (torch.arange(self.nodes).to(images) + 0.5) / self.nodes
        from_baseline = images.unsqueeze(1) - baselines
        points = baselines + alphas.view(1, -1, 1, 1, 1) * from_baseline
        return Nodes(points, images.new_full((self.nodes,), 1 / self.nodes), alphas, from_baseline)
