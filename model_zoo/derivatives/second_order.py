"""Layers whose second derivatives cost no more than necessary.

PyTorch's double backward of a convolution always computes the term of the weights, even if it is not wanted, with a
kernel that is slow for small images. Its double backward of batch normalisation in eval mode is a chain of small
operations. Here the backward of a convolution is a differentiable function with its own backward, and both are one
ordinary convolution kernel. Batch normalisation in eval mode is an affine map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_weights_wanted = True
_forward_kernels_wanted = False


@contextmanager
def only_input_gradients() -> Iterator[None]:
    """Leave out convolutions' weight gradients while a block runs.

    The block takes gradients with respect to images. A Python function cannot see which gradients a call of
    `torch.autograd.grad` asks for. Not for two threads that train at once.
    """
    global _weights_wanted  # noqa: PLW0603 - autograd's device threads must see it, so it is no context variable
    before, _weights_wanted = _weights_wanted, False
    try:
        yield
    finally:
        _weights_wanted = before


@contextmanager
def by_forward_kernels() -> Iterator[None]:
    """Write convolutions' gradients as convolutions while a compiler traces.

    The compiler knows the derivatives of convolutions. GPUs compute the gradients so, too. Not for two threads at once.
    """
    global _forward_kernels_wanted  # noqa: PLW0603 - as above
    before, _forward_kernels_wanted = _forward_kernels_wanted, True
    try:
        yield
    finally:
        _forward_kernels_wanted = before


class Geometry(NamedTuple):
    """Stride, padding, dilation and groups of a convolution."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def _apply(function: type[torch.autograd.Function], *arguments: object) -> Tensor:
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result


class _Convolve(torch.autograd.Function):
    """From x and w to the convolution x * w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, how: Geometry) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)
        ctx.how = how
        return F.conv2d(x, weight, None, *how)

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, weight_tangent: Tensor | None, _: None) -> Tensor:
        x, weight = ctx.saved_tensors
        terms = [] if x_tangent is None else [F.conv2d(x_tangent, weight, None, *ctx.how)]
        terms += [] if weight_tangent is None else [F.conv2d(x, weight_tangent, None, *ctx.how)]
        return torch.stack(terms).sum(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        to_input = _apply(_ToInput, gradient, weight, x.shape, ctx.how) if ctx.needs_input_grad[0] else None
        wanted = ctx.needs_input_grad[1] and _weights_wanted
        return to_input, _apply(_ToWeight, gradient, x, weight, ctx.how) if wanted else None, None


class _ToInput(torch.autograd.Function):
    """g, w to the gradient of <g, x * w> over x.

    It is linear in both.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.how = how
        forward = gradient.is_cuda or _forward_kernels_wanted
        return (_by_forward_kernels if forward else _by_backward_kernels)(gradient, weight, shape, how)

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, weight = ctx.saved_tensors
        to_gradient = _apply(_Convolve, along, weight, ctx.how) if ctx.needs_input_grad[0] else None
        wanted = ctx.needs_input_grad[1] and _weights_wanted
        return to_gradient, _apply(_ToWeight, gradient, along, weight, ctx.how) if wanted else None, None, None


class _ToWeight(torch.autograd.Function):
    """g, x to the gradient of <g, x * w> over w.

    It is linear in both; `weight` only lends its shape.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, weight: Tensor, how: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, x)
        ctx.how, ctx.shape = how, weight.shape
        return _adjoints(gradient, x, weight, how, (False, True))[1]

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, x = ctx.saved_tensors
        to_gradient = _apply(_Convolve, x, along, ctx.how) if ctx.needs_input_grad[0] else None
        to_x = _apply(_ToInput, gradient, along, x.shape, ctx.how) if ctx.needs_input_grad[1] else None
        return to_gradient, to_x, None, None


def _by_backward_kernels(gradient: Tensor, weight: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
    """(N, inputs, H, W) gradient of <gradient, x * weight> over x.

    `shape` is the shape of x.
    """
    x = gradient.new_empty(1).expand(shape)  # only its shape counts
    return _adjoints(gradient, x, weight, how, (True, False))[0]


def _by_forward_kernels(gradient: Tensor, weight: Tensor, shape: torch.Size, how: Geometry) -> Tensor:
    """Return the same by a convolution with the turned kernel.

    On GPUs this is faster, and needs no copy of x.
    """
    kernel = weight.shape[2:]
    whole = [d * (k - 1) - p for d, k, p in zip(how.dilation, kernel, how.padding, strict=True)]
    if set(how.stride) == {1} and how.groups == 1 and min(whole) >= 0:
        return F.conv2d(gradient, weight.transpose(0, 1).flip(2, 3), None, 1, whole, how.dilation)
    reached = [
        (g - 1) * s - 2 * p + d * (k - 1) + 1
        for g, s, p, d, k in zip(gradient.shape[2:], how.stride, how.padding, how.dilation, kernel, strict=True)
    ]
    beyond = [side - last for side, last in zip(shape[2:], reached, strict=True)]
    return F.conv_transpose2d(gradient, weight, None, how.stride, how.padding, beyond, how.groups, how.dilation)


def _adjoints(gradient: Tensor, x: Tensor, weight: Tensor, how: Geometry, wanted: tuple[bool, bool]) -> list[Tensor]:
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, how.stride, how.padding, how.dilation, False, (0, 0), how.groups, (*wanted, False)
    )
    return cast("list[Tensor]", found)


class Convolution(nn.Module):
    """The convolution of an `nn.Conv2d`, sharing its parameters.

    It has the dtype of autocast where that is on.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        assert not isinstance(layer.padding, str)
        self.weight, self.bias = layer.weight, layer.bias
        self.how = Geometry(layer.stride, layer.padding, layer.dilation, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        weight, device = self.weight, x.device.type
        if torch.is_autocast_enabled(device):
            x, weight = (t.to(torch.get_autocast_dtype(device)) for t in (x, weight))
        convolved: Tensor = _apply(_Convolve, x, weight, self.how)
        return convolved if self.bias is None else convolved + self.bias.view(1, -1, 1, 1)


class Normalization(nn.Module):
    """The batch normalisation of an `nn.BatchNorm2d`, sharing its parameters.

    In eval mode it is an affine map.
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        if not self.is_affine:
            normalized: Tensor = self.layer(x)
            return normalized
        scale, shift = self.affine()
        return x * scale + shift

    @property
    def is_affine(self) -> bool:
        """Return whether the layer does not look at the batch."""
        layer = self.layer
        return not (layer.training or layer.running_mean is None or layer.running_var is None)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift, (1, C, 1, 1), of a fixed normalisation.

        Such a normalisation does not look at the batch.
        """
        layer = self.layer
        assert layer.running_mean is not None
        assert layer.running_var is not None
        scale = torch.rsqrt(layer.running_var + layer.eps)
        scale = scale if layer.weight is None else scale * layer.weight
        shift = -layer.running_mean * scale if layer.bias is None else layer.bias - layer.running_mean * scale
        return scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)


THRESHOLD = 20.0
"""Value of beta u above which torch's softplus is the identity."""


def softplus(u: Tensor, beta: float | Tensor) -> Tensor:
    """Return log(1 + exp(beta u)) / beta, in any shape.

    On GPUs its second derivative needs fewer passes over memory. A beta that is a tensor, (), is one that a compiled
    graph leaves open.
    """
    if isinstance(beta, Tensor):
        return F.softplus(beta * u, 1.0, THRESHOLD) / beta
    return _apply(_Softplus, u, beta) if u.is_cuda else F.softplus(u, beta, THRESHOLD)


def _slope(gradient: Tensor, u: Tensor, beta: float) -> Tensor:
    """Return the gradient times the slope of softplus at u, a sigmoid."""
    product: Tensor = torch.ops.aten.softplus_backward(gradient, u, beta, THRESHOLD)
    return product


class _Softplus(torch.autograd.Function):
    """From u to softplus(u)."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)
        ctx.beta = beta
        return F.softplus(u, beta, THRESHOLD)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (u,) = ctx.saved_tensors
        return _slope(tangent, u, ctx.beta)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return _apply(_SoftplusSlope, gradient, u, ctx.beta), None


class _SoftplusSlope(torch.autograd.Function):
    """g, u to g times the slope s at u.

    As ds/du = beta s (1 - s), s itself needs no pass.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, u: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(gradient, u)
        ctx.beta = beta
        return _slope(gradient, u, beta)

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor, Tensor | None, None]:
        gradient, u = ctx.saved_tensors
        to_gradient = _slope(along, u, ctx.beta)
        if not ctx.needs_input_grad[1]:
            return to_gradient, None, None
        product = to_gradient * gradient
        return to_gradient, (product - _slope(product, u, ctx.beta)) * ctx.beta, None


def second_order(layer: nn.Module) -> nn.Module | None:
    """Return a layer's counterpart with cheap second derivatives, or None."""
    if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return Convolution(layer)
    if type(layer) is nn.BatchNorm2d:
        return Normalization(layer)
    return None
