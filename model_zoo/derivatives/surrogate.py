"""The smooth copy of a network: same weights, every ReLU a softplus, so that second derivatives exist."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.core.errors import UsageError
from model_zoo.derivatives.second_order import second_order, softplus

SMOOTH = frozenset(
    {"Softplus", "SiLU", "Swish", "GELU", "GELUTanh", "QuickGELU", "Mish", "ELU", "CELU", "Tanh", "Sigmoid"}
)
"""Classes, torch's and other libraries', of activations that have the derivatives which attacks need, and stay."""
KINKED = frozenset(
    {"relu", "leaky_relu", "threshold", "hardtanh", "hardswish", "hardsigmoid", "prelu", "_prelu_kernel"}
)
"""Operators that are straight lines nearly everywhere, without their in-place `_`."""


class Softplus(nn.Module):
    """log(1 + exp(beta u)) / beta, which tends to ReLU as beta grows."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta: Any = beta

    def forward(self, u: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return softplus(u, self.beta)


def smooth_copy(model: nn.Module, beta: float) -> nn.Module:
    """Return a copy of `model` in which softplus of sharpness `beta` replaces each ReLU module.

    Its second derivatives are those of the plain layers, by cheaper ways (`model_zoo.derivatives.second_order`).
    Parameters and buffers are shared with `model`, not copied: training one trains the other. Activations that are
    smooth already (SiLU, GELU, …) stay.

    Args:
        model: a network whose activations are `nn.ReLU` or smooth modules; one without any is smooth already.
        beta: sharpness of softplus, > 0.
    Returns:
        The smooth network, in the mode (train, eval) of `model`.
    Source:
        Dombrowski et al. 2019; Ghorbani, Abid, Zou 2019. Differs: nothing.
    """
    return _copy(model, lambda layer: Softplus(beta) if type(layer) is nn.ReLU else second_order(layer))


def second_order_copy(model: nn.Module) -> nn.Module:
    """Return a copy of `model`, the same function over the same parameters, with cheap second derivatives."""
    return _copy(model, second_order)


def _copy(model: nn.Module, replace: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    copied = copy.deepcopy(model, shared)
    for parent in list(copied.modules()):
        for name, child in list(parent._modules.items()):  # unlike `named_children`, every name of a shared module
            if child is not None and (replacement := replace(child)) is not None:
                setattr(parent, name, replacement.train(child.training))
    return copied


@contextmanager
def sharpened(smooth: nn.Module, factor: float | Tensor) -> Iterator[None]:
    """Run a block with the sharpness of a smooth copy's softplus times `factor`."""
    activations = [module for module in smooth.modules() if isinstance(module, Softplus)]
    before = [activation.beta for activation in activations]
    for activation in activations:
        activation.beta = activation.beta * factor
    try:
        yield
    finally:
        for activation, beta in zip(activations, before, strict=True):
            activation.beta = beta


@torch.no_grad()
def check_activations(smooth: nn.Module, images: Tensor) -> None:
    """Show (N, C, H, W) images to a smooth copy, to learn whether anything in it is left without curvature.

    Raises:
        UsageError: if an activation with a kink hides outside the modules, or one module serves two places, where
            methods that hook modules (DeepLIFT, LRP) go wrong without a word.
    """
    uses: dict[str, int] = {}

    def count(name: str) -> Any:
        return lambda *_: uses.update({name: uses.get(name, 0) + 1})

    hooks = [m.register_forward_hook(count(name)) for name, m in smooth.named_modules() if isinstance(m, Softplus)]
    with _Kinks() as kinks:
        smooth(images)
    for hook in hooks:
        hook.remove()
    remedy = "give each place its own nn.ReLU module, as model_zoo.derivatives.call_sites.separate_activations does"
    if kinks.found:
        raise UsageError(
            f"expected a network whose activations are smooth or nn.ReLU modules, got {', '.join(sorted(kinks.found))} "
            f"beside them, whose second derivative is zero; {remedy}"
        )
    if shared := [name for name, times in uses.items() if times > 1]:
        raise UsageError(
            f"expected each nn.ReLU module to be used once, got {uses[shared[0]]} uses of {shared[0]}; {remedy}"
        )


class _Kinks(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the names of operators with a kink that a block calls."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        plain = name.removesuffix("_")
        floor = (args[1] if len(args) > 1 else (kwargs or {}).get("min")) if plain in {"clamp", "clamp_min"} else None
        if plain in KINKED or (isinstance(floor, int | float) and floor == 0):
            self.found.add(name)
        return func(*args, **(kwargs or {}))
