"""Gradient of the explained logit times the image."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.attributions._nodes import NodeMethod, Nodes
from bench.core.compute.rng import SampleRng


@dataclass(frozen=True, kw_only=True)
class InputXGradient(NodeMethod):
    """The image times its gradient, A(x) = x * dz_y/dx.

    x lies in [0, 1]. This is integrated gradients from black with one right-Riemann node.

    Source:
        Shrikumar et al. 2016 ("gradient * input"); attacked by Dombrowski et al. 2019.
        Differs: x in pixel units, where black gets nothing; codes on images in [-1, 1] leave grey at zero.
    """

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    @property
    def nodes_per_image(self) -> int:
        """One, the image itself."""
        return 1

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:  # noqa: ARG002
        """Return each (C, H, W) image as its own node and factor."""
        one = images.new_ones(1)
        return Nodes(images.unsqueeze(1), one, one, images)
