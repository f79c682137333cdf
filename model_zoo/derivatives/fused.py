"""Normalisation and softplus as one function, for GPUs.

A GPU reads and writes memory once for both, in each derivative. Between the convolutions of a wide network lie passes
over memory: scale, shift, softplus, and several for each of their derivatives, together as long as the convolutions.
Here value, slope and second derivative are one kernel each, compiled at first use by the CUDA runtime compiler that
torch brings along (`torch.cuda.jiterator`), and compared with the plain formulas before they are trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from model_zoo.derivatives.call_sites import traced
from model_zoo.derivatives.second_order import THRESHOLD, Normalization
from model_zoo.derivatives.surrogate import Softplus


class Kernels(NamedTuple):
    """Functions for the value and two derivatives of softplus.

    They take x (N, C, H, W), scale s and shift t (1, C, 1, 1), and beta; with z = beta (s x + t).
    """

    value: Callable[..., Tensor]
    """x, s, t, beta to a(x) = softplus(z) / beta."""
    slope: Callable[..., Tensor]
    """g, x, s, t, beta to g a'(x) = g s sigmoid(z)."""
    curve: Callable[..., tuple[Tensor, Tensor]]
    """v, g, x, s, t, beta to v a'(x) and v g a''(x), with a''(x) = beta s^2 sigmoid(z) (1 - sigmoid(z))."""


def _value(x: Tensor, scale: Tensor, shift: Tensor, beta: float) -> Tensor:
    return F.softplus(torch.addcmul(shift, x, scale), beta, THRESHOLD)


def _slope(gradient: Tensor, x: Tensor, scale: Tensor, shift: Tensor, beta: float) -> Tensor:
    u = torch.addcmul(shift, x, scale)
    product: Tensor = torch.ops.aten.softplus_backward(gradient * scale, u, beta, THRESHOLD)
    return product


def _curve(along: Tensor, gradient: Tensor, x: Tensor, *affine: Any) -> tuple[Tensor, Tensor]:
    scale, shift, beta = affine
    to_gradient = _slope(along, x, scale, shift, beta)
    product, u = to_gradient * gradient * (beta * scale), torch.addcmul(shift, x, scale)
    return to_gradient, product - torch.ops.aten.softplus_backward(product, u, beta, THRESHOLD)


PLAIN = Kernels(_value, _slope, _curve)


class Code(NamedTuple):
    """The three functions for one element, in CUDA C++."""

    value: str
    slope: str
    curve: str


CODE = Code(
    """template <typename T> T softplus_of_affine(T x, T scale, T shift, T beta) {
        T z = beta * (scale * x + shift);
        return (z > T(20) ? z : ::log1p(::exp(z))) / beta;
    }""",
    """template <typename T> T softplus_of_affine_slope(T g, T x, T scale, T shift, T beta) {
        T z = beta * (scale * x + shift);
        return z > T(20) ? g * scale : g * scale / (T(1) + ::exp(-z));
    }""",
    """template <typename T> void softplus_of_affine_curve(
        T v, T g, T x, T scale, T shift, T beta, T& to_g, T& to_x) {
        T z = beta * (scale * x + shift), up = ::exp(z);
        bool flat = z > T(20);
        to_g = flat ? v * scale : v * scale / (T(1) + ::exp(-z));
        to_x = flat ? T(0) : to_g * g * beta * scale / (T(1) + up);
    }""",
)


@cache
def _compiled() -> Kernels:
    """Return the kernels of this process's GPUs.

    The plain functions where the compiler fails or errs.
    """
    from torch.cuda import jiterator

    try:
        value, slope = (jiterator._create_jit_fn(code, beta=1.0) for code in (CODE.value, CODE.slope))
        curve = jiterator._create_multi_output_jit_fn(CODE.curve, num_outputs=2, beta=1.0)
        made = Kernels(
            lambda x, s, t, beta: value(x, s, t, beta=beta),
            lambda g, x, s, t, beta: slope(g, x, s, t, beta=beta),
            lambda v, g, x, s, t, beta: tuple(curve(v, g, x, s, t, beta=beta)),
        )
        _compare(made, torch.device("cuda"))
    except (AssertionError, AttributeError, RuntimeError) as error:
        warnings.warn(f"no fused kernels on this GPU, so that searches take longer: {error}", stacklevel=2)
        return PLAIN
    return made


def _compare(made: Kernels, device: torch.device) -> None:
    """Raise AssertionError unless kernels agree with the plain functions."""
    ramp = torch.linspace(-2, 2, 240, device=device).view(2, 4, 5, 6).contiguous(memory_format=torch.channels_last)
    v, g, s, t = ramp.flip(0), ramp.flip(3) + 1, ramp[:1, :, :1, :1] + 2.5, ramp[1:, :, :1, :1]
    for beta in (1.0, 50.0):
        for mine, plain, inputs in zip(made, PLAIN, ((ramp,), (g, ramp), (v, g, ramp)), strict=True):
            torch.testing.assert_close(mine(*inputs, s, t, beta), plain(*inputs, s, t, beta), rtol=1e-4, atol=1e-5)


def kernels(x: Tensor) -> Kernels:
    """Return the functions that compute on the device of x."""
    return _compiled() if x.is_cuda else PLAIN


class _Activate(torch.autograd.Function):
    """x, scale, shift, beta to a(x).

    Scale and shift are constants.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(x, scale, shift)
        ctx.beta = beta
        return kernels(x).value(x, scale, shift, beta)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, scale, shift = ctx.saved_tensors
        return _Slope.apply(gradient, x, scale, shift, ctx.beta), None, None, None  # type: ignore[no-untyped-call]


class _Slope(torch.autograd.Function):
    """From g, x, scale, shift and beta to g a'(x)."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, *affine: Any) -> Tensor:
        scale, shift, beta = affine
        ctx.save_for_backward(gradient, x, scale, shift)
        ctx.beta = beta
        return kernels(x).slope(gradient, x, scale, shift, beta)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, along: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        gradient, x, scale, shift = ctx.saved_tensors
        if not ctx.needs_input_grad[1]:
            return kernels(x).slope(along, x, scale, shift, ctx.beta), None, None, None, None
        to_gradient, to_x = kernels(x).curve(along, gradient, x, scale, shift, ctx.beta)
        return to_gradient, to_x, None, None, None


class SoftplusOfAffine(Softplus):
    """Softplus of eval-mode batch normalisation.

    Scale and shift are taken as they are now.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, beta: float, normalization: Normalization) -> None:
        super().__init__(beta)
        scale, shift = normalization.affine()
        self.register_buffer("scale", scale.detach(), persistent=False)
        self.register_buffer("shift", shift.detach(), persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        activated: Tensor = _Activate.apply(u, self.scale, self.shift, self.beta)  # type: ignore[no-untyped-call]
        return activated


class Layers(fx.Tracer):
    """A tracer that does not look inside layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the tracer keeps a module as one node."""
        layer = isinstance(m, Normalization) or not any(True for _ in m.children())
        return layer or super().is_leaf_module(m, module_qualified_name)


def fused(smooth: nn.Module) -> nn.Module:
    """Return a frozen smooth copy with fused normalisation and softplus.

    It is meant for searches on GPUs. Other bits than the copy's own, within rounding. A network that cannot be traced,
    or has no such pair, is returned as it is.

    Args:
        smooth: what `model_zoo.derivatives.surrogate.smooth_copy` made, in eval mode; its parameters must not change
            any more.
    """
    try:
        graph, constants = traced(smooth, Layers())
    except Exception:  # a foreign network may raise anything at a value without numbers
        return smooth
    if constants:
        return smooth
    module, found = fx.GraphModule(smooth, graph), 0
    layers = dict(module.named_modules())
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not (isinstance(before, fx.Node) and before.op == "call_module" and len(before.users) == 1):
            continue
        activation, normalization = layers[str(node.target)], layers[str(before.target)]
        if type(activation) is Softplus and isinstance(normalization, Normalization) and normalization.is_affine:
            module.set_submodule(str(node.target), SoftplusOfAffine(activation.beta, normalization))
            node.args = before.args
            graph.erase_node(before)
            found += 1
    if not found:
        return smooth
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()
