"""Tests whether second derivatives account for how a gradient changes.

One test asks for numbers, whatever the operators are. The other finds operators with a kink that Python code does not
show; they may stand in a scripted module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from model_zoo.derivatives.stand_ins import GUARD

NODES = ((0.06943184420297371, 0.1739274225687269), (0.33000947820757187, 0.3260725774312731))
"""(place, weight) pairs of the first half of the Gauss-Legendre rule with four nodes on [0, 1]."""

SHARPNESS = 2.0
"""Factor on a surrogate's sharpness where it foretells: a protocol's is too low for small bends of robust networks."""

PAIR = (0.21132486540518713, 0.7886751345948129)
"""Places of the Gauss-Legendre rule with two nodes, each of weight 1/2."""

USUAL = 3 * 32 * 32
"""Numbers of an image up to which directions need not be shortened."""

KINKED = frozenset(
    {"relu", "relu6", "leaky_relu", "rrelu_with_noise", "threshold", "hardtanh", "hardswish", "hardsigmoid", "prelu",
     "_prelu_kernel", "softshrink", "hardshrink", "abs"}
)  # fmt: skip
"""Operators that bend at one or more places, without the `_` of their in-place forms."""
PAIRS = frozenset({"maximum", "minimum", "fmax", "fmin"})
ATTENTION = ("scaled_dot_product", "native_multi_head_attention", "transformer_encoder_layer")


def shortening(images: Tensor) -> float:
    """Return the factor that shortens directions at (N, C, H, W) images.

    With more pixels, a step of the same size per pixel is a longer way, on which the gradient may change entirely. The
    factor keeps the way as long as in images of 32 x 32 pixels.
    """
    return min(1.0, math.sqrt(USUAL / images[0].numel()))


def unexplained(smooth: nn.Module, images: Tensor, directions: Tensor, parts: int = 1) -> float:
    """Return the share of a gradient's change that the Hessian misses.

    The prediction is the integral of Hessian-vector products. Between x and x + d the gradient g of the largest logit
    changes by the integral of H d. A kink that the second derivative does not know changes g and leaves H as it is.

    Args:
        smooth: a network with two derivatives.
        images: (N, C, H, W).
        directions: (N, C, H, W), the d.
        parts: number of parts of the way, each with its own quadrature. A network that bends more needs more parts.
    Returns:
        |g(x + d) - g(x) - integral of H d| / |g(x + d) - g(x)| in the Euclidean norm of all images; 0 where the
        gradient changes by less than a thousandth, or is no number.
    """
    with torch.no_grad():
        labels = smooth(images).argmax(1)
    first, last = gradient(smooth, images, labels), gradient(smooth, images + directions, labels)
    change = last - first
    if not change.isfinite().all() or change.norm() <= 1e-3 * first.norm():
        return 0.0
    known = torch.zeros_like(change)
    for place, weight in _quadrature(parts):
        known += weight * _product(smooth, images + place * directions, labels, directions)
    return float((change - known).norm() / change.norm())


def explained(model: nn.Module, smooth: nn.Module, images: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
    """(N,) share of the gradient's change that the surrogate predicts.

    The surrogate's second derivative predicts it. Between x and x + d the network's gradient changes by c, and the
    surrogate foretells the integral f of H d. The share is <c, f> / <c, c>: about 1 where the surrogate bends as the
    network does, about 0 where it is blind.

    Args:
        model: the network, with one derivative.
        smooth: its surrogate, with two.
        images: (N, C, H, W).
        labels: (N,) int64. The logits whose gradient is taken.
        directions: (N, C, H, W), the d.
    Returns:
        NaN where the gradient changes by less than a thousandth, or is no number.
    """
    first = gradient(model, images, labels)
    change = gradient(model, images + directions, labels) - first
    foretold = torch.zeros_like(change)
    for place in PAIR:
        foretold += _product(smooth, images + place * directions, labels, directions) / 2
    size, whole = (each.square().sum(3).sum(2).sum(1) for each in (change, first))
    share = (change * foretold).sum(3).sum(2).sum(1) / size
    return torch.where(size > 1e-6 * whole, share, torch.nan)


def _product(smooth: nn.Module, images: Tensor, labels: Tensor, directions: Tensor) -> Tensor:
    """(N, C, H, W) Hessian of logits times the directions.

    The logits are `labels`; 0 where there is no Hessian.
    """
    leaf = images.detach().requires_grad_()
    slope = gradient(smooth, leaf, labels, create_graph=True)
    if not slope.requires_grad:
        return torch.zeros_like(directions)
    return torch.autograd.grad(slope, leaf, directions, materialize_grads=True, allow_unused=True)[0]


def _quadrature(parts: int) -> Iterator[tuple[float, float]]:
    for part in range(parts):
        for place, weight in NODES:
            yield (part + place) / parts, weight / parts
            yield (part + 1 - place) / parts, weight / parts


def gradient(model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool = False) -> Tensor:
    """(N, C, H, W) gradient of the logits `labels`, (N,) int64."""
    with torch.enable_grad():
        leaf = images if images.requires_grad else images.detach().requires_grad_()
        explained = model(leaf).gather(1, labels.unsqueeze(1)).sum()
        (found,) = torch.autograd.grad(explained, leaf, create_graph=create_graph)
    return found


class Remainders(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A collector of operators with a kink among their numbers.

    Gradients flow through these operators.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinks: set[str] = set()
        self.attention = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch's compiler unimported.

        Its import takes seconds, and this mode never meets compiled code.
        """
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator and note its kink."""
        given = kwargs or {}
        name = func.overloadpacket.__name__
        self.attention |= any(part in name for part in ATTENTION)
        tensors = [argument for argument in args if isinstance(argument, Tensor)]
        depends = torch.is_grad_enabled() and any(t.requires_grad and t.is_floating_point() for t in tensors)
        if depends and _bends(name.removesuffix("_"), args, given):
            self.kinks.add(name)
        return func(*args, **given)


def _bends(name: str, args: Any, given: dict[str, Any]) -> bool:
    """Return whether an operator has a kink between its numbers."""
    if name in KINKED:
        return True
    if name == "elu":
        return len(args) > 1 and args[1] != 1
    if name in PAIRS:
        return _crosses(args[0] - args[1], 0.0)
    if name not in {"clamp", "clamp_min", "clamp_max"}:
        return False
    bounds = [*args[1:], *(given.get(key) for key in ("min", "max"))]
    return any(_crosses(args[0] - bound, 0.0) for bound in bounds if bound is not None)


@torch.no_grad()
def _crosses(values: Tensor, place: float) -> bool:
    """Return whether numbers lie on both sides of a place.

    Distances that guards of divisors make do not count.
    """
    return bool((values < place - GUARD).any()) and bool((values > place + GUARD).any())
