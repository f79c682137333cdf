"""Gradient averaged over noisy copies of the image."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.attributions._nodes import MOST_NODES, NodeMethod, Nodes
from bench.core.compute.rng import SampleRng


@dataclass(frozen=True, kw_only=True)
class Smoothgrad(NodeMethod):
    """The mean gradient over noisy copies of the image.

    A(x) = 1/T sum_s dz_y/dx at x + sigma n_s, n_s ~ N(0, I). A sample always has the same noise (common random
    numbers). So A is a fixed, differentiable function of x, and two maps differ only if the images do. A smaller number
    of nodes uses the first nodes of a larger number. The noisy copies are not clipped.

    Source:
        Smilkov et al. 2017.
        Differs: sigma in pixel units, not as a share of the image's range; the same noise before and after an attack.
    """

    version: ClassVar[int] = 1

    nodes: int = Field(default=20, ge=1, le=MOST_NODES)
    """Number of noisy copies of the image."""
    sigma: float = Field(default=0.1, gt=0)
    """Standard deviation of the noise, in pixel units."""

    @property
    def nodes_per_image(self) -> int:
        """The number of noisy copies."""
        return self.nodes

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:
        """Return the noisy copies of all images."""
        shape = tuple(images.shape[1:])
        noise = torch.stack([rng.fork("smoothgrad", s).normal(shape) for s in range(self.nodes)], dim=1)
        weights = images.new_full((self.nodes,), 1 / self.nodes)
        return Nodes(images.unsqueeze(1) + self.sigma * noise.to(images), weights, torch.ones_like(weights), None)
