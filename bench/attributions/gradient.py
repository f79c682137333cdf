"""Gradient of the explained logit with respect to the pixels (saliency map)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._nodes import NodeMethod, Nodes
from bench.core.compute.chunks import forward
from bench.core.compute.rng import SampleRng


@dataclass(frozen=True, kw_only=True)
class Gradient(NodeMethod):
    """The gradient of the logit before softmax, A(x) = dz_y/dx.

    Source:
        Simonyan, Vedaldi, Zisserman 2014; "simple gradient" of Ghorbani, Abid, Zou 2019.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    @property
    def nodes_per_image(self) -> int:
        """One, the image itself."""
        return 1

    def attribute_with_logits(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rng: SampleRng,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) attribution and (N, K) logits, from one pass."""
        gradients: list[Tensor] = []
        logits: list[Tensor] = []
        for part in self.slices(len(images), images.device):
            leaf = images[part].detach().requires_grad_()
            with torch.enable_grad():
                logits.append(forward(model, leaf))
                explained = logits[-1].gather(1, labels[part].unsqueeze(1))
            gradients += torch.autograd.grad(explained.sum(), leaf)
        return torch.cat(gradients), torch.cat(logits).detach()

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:  # noqa: ARG002
        """Return each (C, H, W) image as its own node."""
        one = images.new_ones(1)
        return Nodes(images.unsqueeze(1), one, one, None)
