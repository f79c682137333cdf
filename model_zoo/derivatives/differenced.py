"""Second derivatives of any network, from differences of its gradients.

Attacks use them where no surrogate bends as the network does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.derivatives.surrogate import StandIn

STEP = 16 / 255
"""Largest move of a pixel to each end of a difference, at a protocol's sharpness.

Shorter ones found less on an adversarially trained network, longer ones less on a natural one.
"""


class Differenced(StandIn):
    """A network with its own gradient, and differences instead of a Hessian.

    The Hessian times v is (g(x + s v) - g(x - s v)) / (2 s), where g is the network's gradient and s is such that no
    pixel moves further than 1 / beta. It needs no name of an operator: whatever changes the gradient within that
    distance is seen. A sharper copy takes shorter steps.

    Source:
        Wide differences that average over kinks: Athalye, Carlini, Wagner 2018 (attacks that need no true derivative).
        Differs: the difference replaces second derivatives, not first ones.
    """

    def __init__(self, network: nn.Module, reason: str = "") -> None:
        super().__init__(1 / STEP)
        self.network, self.reason = network, reason

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K) logits, with two derivatives."""
        logits: Tensor = _Logits.apply(images, self.network, 1 / self.beta)  # type: ignore[no-untyped-call]
        return logits


class _Logits(torch.autograd.Function):
    """The network's logits."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, network: nn.Module, step: float | Tensor) -> Tensor:
        ctx.save_for_backward(images)
        ctx.network, ctx.step = network, step
        logits: Tensor = network(images)
        return logits

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (images,) = ctx.saved_tensors
        slope: Tensor = _Slope.apply(images, upstream[0], ctx.network, ctx.step)  # type: ignore[no-untyped-call]
        return slope, None, None


class _Slope(torch.autograd.Function):
    """The gradient of <logits, upstream>."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, upstream: Tensor, network: nn.Module, step: float | Tensor) -> Tensor:
        ctx.save_for_backward(images, upstream)
        ctx.network, ctx.step = network, step
        return _slope(network, images, upstream)[1]

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Tensor, Tensor, None, None]:
        images, upstream = ctx.saved_tensors
        (vector,) = vectors
        furthest = vector.abs().flatten(1).amax(1).clamp(min=torch.finfo(vector.dtype).tiny)
        scale = (torch.as_tensor(ctx.step).to(furthest) / furthest).view(-1, 1, 1, 1)
        ends = [_slope(ctx.network, images + sign * scale * vector, upstream) for sign in (1, -1)]
        (up, rising), (down, falling) = ends
        return (rising - falling) / (2 * scale), (up - down) / (2 * scale.view(-1, 1)), None, None


def _slope(network: nn.Module, images: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and the gradient of <logits, upstream>, without a graph."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        logits = network(leaf)
        (slope,) = torch.autograd.grad(logits, leaf, upstream)
    return logits.detach(), slope
