"""A smooth ReLU6 whose value and two derivatives need one exponential each.

Layers with ReLU6 are wide and hardly compute: two nested softplus and their derivatives by autograd take several times
as long as the convolutions between them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model_zoo.derivatives.second_order import THRESHOLD

TOP = 6.0
HALF = TOP / 2
UNDERFLOW = 80.0
"""Largest exponent: exp(-80) vanishes in sums, and is still a normal number, which CPUs add quickly."""


def is_separate(beta: float | Tensor) -> bool:
    """Return whether the two kinks are far apart.

    Then at most one of them is round at each place.
    """
    return not isinstance(beta, Tensor) and beta * HALF > THRESHOLD


def plateau(u: Tensor, beta: float) -> Tensor:
    """Return 6 - softplus(6 - softplus(u)) where kinks are far apart.

    Any shape to the same shape. With w = 3 - |u - 3|, the distance to the nearer kink, positive between both, it is
    relu6(u) plus or minus log(1 + exp(-beta |w|)) / beta.
    """
    value: Tensor = _Plateau.apply(u, beta)  # type: ignore[no-untyped-call]
    return value


def _inward(u: Tensor, beta: float) -> Tensor:
    """Return beta w, positive between the kinks."""
    return (u - HALF).abs_().mul_(-beta).add_(beta * HALF)


class _Plateau(torch.autograd.Function):
    """From u to its value."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.beta = beta
        rounding = _inward(u, beta).abs_().clamp_(max=UNDERFLOW).neg_().exp_().log1p_().div_(beta)
        return u.clamp(0.0, TOP).add_(rounding.mul_((HALF - u).sign_()))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        if not hasattr(ctx, "slope"):  # kept for the second backward pass
            ctx.slope = _inward(u.detach(), ctx.beta).clamp_(min=-UNDERFLOW).sigmoid_()
        product: Tensor = _Slope.apply(gradient, u, ctx.slope, ctx.beta)  # type: ignore[no-untyped-call]
        return product, None


class _Slope(torch.autograd.Function):
    """From g and the slope s = sigmoid(beta w) to g s."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, u: Tensor, slope: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(gradient, u, slope)
        ctx.beta = beta
        return gradient * slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        gradient, u, slope = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return along * slope, None, None, None
        curved = torch.ops.aten.sigmoid_backward(along * gradient, slope)  # times s (1 - s)
        return along * slope, curved.mul_((HALF - u).sign_()).mul_(ctx.beta), None, None
