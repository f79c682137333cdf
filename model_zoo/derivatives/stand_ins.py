"""Smooth stand-ins of functions with kinks.

They tend to the function as their sharpness grows. Each takes what the function of torch takes, then the sharpness
`beta`. A function with one kink is a `Piece`; one with several is a sum of softplus, for which relu(w) = max(w, 0) is
written below. None says that there is no stand-in, since the function has no kink with these arguments, or jumps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from model_zoo.derivatives.pieces import Piece
from model_zoo.derivatives.second_order import softplus

Beta = float | Tensor
Found = Piece | Tensor | None
GUARD = 1e-3
"""Largest lower bound (above 0) that counts as a guard of a divisor, not as an activation."""
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def relu(u: Tensor, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return the positive part of u."""
    return Piece(u, slope=0, bend=1)


def leaky_relu(u: Tensor, negative_slope: float = 0.01, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return slope * u + (1 - slope) * relu(u)."""
    return Piece(u, slope=negative_slope, bend=1 - negative_slope)


def rrelu(
    u: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,  # noqa: ARG001
    *,
    beta: Beta,
) -> Found:
    """Return a leaky relu of the mean slope.

    None where slopes are drawn.
    """
    return None if training else leaky_relu(u, (lower + upper) / 2, beta=beta)


def prelu(u: Tensor, weight: Tensor, *, beta: Beta) -> Found:
    """Return a leaky relu with a slope for each channel."""
    slope = weight if weight.dim() == 0 or u.dim() < 2 else weight.view(-1, *[1] * (u.dim() - 2))
    return slope * u + (1 - slope) * softplus(u, beta)


def threshold(u: Tensor, threshold: float, value: float, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return value + relu(u - threshold) if value equals threshold.

    Otherwise it jumps.
    """
    return Piece(u, slope=0, offset=value, bend=1, at=threshold) if threshold == value else None


def elu(u: Tensor, alpha: float = 1.0, scale: float = 1.0, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return a scaled elu.

    alpha * elu_1(u) + (1 - alpha) * relu(u), scaled; elu_1 has no kink.
    """
    return None if alpha == 1 else scale * (alpha * F.elu(u) + (1 - alpha) * softplus(u, beta))


def selu(u: Tensor, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return the elu of its two constants."""
    return elu(u, SELU_ALPHA, SELU_SCALE, beta=beta)


def magnitude(u: Tensor, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return 2 relu(u) - u."""
    return Piece(u, slope=-1, bend=2)


def clamp(u: Tensor, min: Any = None, max: Any = None, *, beta: Beta) -> Found:  # noqa: A002
    """Return u + relu(min - u) - relu(u - max)."""
    if isinstance(min, int | float) and 0 < min <= GUARD:
        return None
    min, max = (None if isinstance(bound, float) and math.isinf(bound) else bound for bound in (min, max))  # noqa: A001
    if max is None:
        return maximum(u, min, beta=beta)
    if min is None:
        return minimum(u, max, beta=beta)
    return u + softplus(min - u, beta) - softplus(u - max, beta)


def hardtanh(u: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return a clamp."""
    return clamp(u, min_val, max_val, beta=beta)


def relu6(u: Tensor, inplace: bool = False, *, beta: Beta) -> Found:  # noqa: ARG001
    """Return a clamp."""
    return clamp(u, 0, 6, beta=beta)


def hardsigmoid(u: Tensor, inplace: bool = False, *, beta: Beta) -> Tensor:  # noqa: ARG001
    """Return (relu(u + 3) - relu(u - 3)) / 6."""
    return (softplus(u + 3, beta) - softplus(u - 3, beta)) / 6


def hardswish(u: Tensor, inplace: bool = False, *, beta: Beta) -> Tensor:  # noqa: ARG001
    """Return u * hardsigmoid(u)."""
    return u * hardsigmoid(u, beta=beta)


def softshrink(u: Tensor, lambd: float = 0.5, *, beta: Beta) -> Found:
    """Return relu(u - lambda) - relu(-u - lambda)."""
    return softplus(u - lambd, beta) - softplus(-u - lambd, beta)


def maximum(a: Any, b: Any, *, beta: Beta) -> Found:
    """Return b + relu(a - b)."""
    if not (isinstance(a, Tensor) and a.requires_grad):
        a, b = b, a
    return b + softplus(a - b, beta) if isinstance(b, Tensor) else Piece(a, slope=0, offset=b, bend=1, at=b)


def minimum(a: Any, b: Any, *, beta: Beta) -> Found:
    """Return b - relu(b - a)."""
    if not (isinstance(a, Tensor) and a.requires_grad):
        a, b = b, a
    return b - softplus(b - a, beta) if isinstance(b, Tensor) else Piece(a, bend=-1, at=b)


STAND_INS: dict[str, Callable[..., Found]] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "rrelu": rrelu,
    "prelu": prelu,
    "threshold": threshold,
    "elu": elu,
    "selu": selu,
    "hardtanh": hardtanh,
    "hardsigmoid": hardsigmoid,
    "hardswish": hardswish,
    "softshrink": softshrink,
    "abs": magnitude,
    "clamp": clamp,
    "clamp_min": lambda u, min, *, beta: clamp(u, min, beta=beta),  # noqa: A006
    "clamp_max": lambda u, max, *, beta: clamp(u, None, max, beta=beta),  # noqa: A006
    "maximum": maximum,
    "minimum": minimum,
}
"""From the name of torch's function, in-place form or method to its stand-in."""
