"""Smooth copies of a network, which have second derivatives.

Weights are the same; softplus rounds the kinks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.core.errors import UsageError
from model_zoo.derivatives.plateau import is_separate, plateau
from model_zoo.derivatives.second_order import second_order, softplus
from model_zoo.derivatives.spellings import Spellings


class StandIn(nn.Module):
    """A module with the sharpness `beta` of softplus."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta: Any = beta


class Softplus(StandIn):
    """log(1 + exp(beta u)) / beta, a smooth ReLU.

    It tends to ReLU as beta grows.
    """

    def forward(self, u: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return softplus(u, self.beta)


class Softplus6(StandIn):
    """6 - softplus(6 - softplus(u)), a smooth ReLU6.

    It tends to ReLU6 as beta grows, and loses no digits where u is large. Kinks that are far enough apart are rounded
    one by one, which is faster (`plateau`).
    """

    def forward(self, u: Tensor) -> Tensor:
        """Any shape to the same shape."""
        if is_separate(self.beta):
            return plateau(u, self.beta)
        return 6 - softplus(6 - softplus(u, self.beta), self.beta)


class Followed(StandIn):
    """A network run under `Spellings`, which rounds kinks in its code.

    Its attention has two derivatives. Without gradients its values are the same; no graph is kept.
    """

    def __init__(self, network: nn.Module, beta: float) -> None:
        super().__init__(beta)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K) logits."""
        wanted = torch.is_grad_enabled()
        leaf = images if images.requires_grad else images.detach().requires_grad_()
        kept = nullcontext() if wanted else _without_graph()
        with torch.enable_grad(), kept, plain_attention(), Spellings(self.beta):
            logits: Tensor = self.network(leaf)
        return logits if wanted else logits.detach()


def _without_graph() -> Any:
    """Return a context in which a graph saves nothing."""
    return torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda nothing: nothing)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention by matrix products while a block runs.

    Their derivatives, and softmax's, can be differentiated.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def smooth_copy(model: nn.Module, beta: float) -> nn.Module:
    """Return a copy of `model` with softplus in place of ReLU.

    Softplus of sharpness `beta` replaces every ReLU module, and two nested ones every ReLU6 module. Its second
    derivatives equal the plain layers' derivatives, but are cheaper (`second_order`). Parameters and buffers are shared
    with `model`, not copied: training one trains the other. Layers with hooks or parametrisations, and all other code,
    stay as they are: `Followed` rounds their kinks.

    Args:
        model: a network.
        beta: sharpness of softplus, > 0.
    Returns:
        The smooth network, in the mode (train, eval) of `model`.
    Source:
        Dombrowski et al. 2019; Ghorbani, Abid, Zou 2019. Differs: nothing.
    """

    def smooth(layer: nn.Module) -> nn.Module | None:
        kind = {nn.ReLU: Softplus, nn.ReLU6: Softplus6}.get(type(layer))
        return second_order(layer) if kind is None else kind(beta)

    return shared_copy(model, smooth)


def second_order_copy(model: nn.Module) -> nn.Module:
    """Return a copy of `model` with cheap second derivatives.

    It is the same function over the same parameters.
    """
    return shared_copy(model, second_order)


def shared_copy(model: nn.Module, replace: Callable[[nn.Module], nn.Module | None] = lambda _: None) -> nn.Module:
    """Return a copy of `model` with some layers replaced.

    Parameters and buffers are shared.
    """
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    try:
        copied = copy.deepcopy(model, shared)
    except Exception as error:  # a network may hold any object besides tensors
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"expected a network that can be copied, got: {reason}; keep that out of its modules"
        ) from error
    for parent in list(copied.modules()):
        for name, child in list(parent._modules.items()):  # unlike `named_children`, every name of a shared module
            if child is None or is_adorned(child):
                continue
            if (replacement := replace(child)) is not None:
                setattr(parent, name, replacement.train(child.training))
    return copied


def is_adorned(layer: nn.Module) -> bool:
    """Return whether a layer has hooks or its own `forward`.

    Then more happens there than its class says.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "forward" in vars(layer) or any(getattr(layer, name) for name in hooks)


@contextmanager
def sharpened(smooth: nn.Module, factor: float | Tensor) -> Iterator[None]:
    """Multiply the sharpness of a smooth copy by `factor` within a block."""
    activations = [module for module in smooth.modules() if isinstance(module, StandIn)]
    before = [activation.beta for activation in activations]
    for activation in activations:
        activation.beta = activation.beta * factor
    try:
        yield
    finally:
        for activation, beta in zip(activations, before, strict=True):
            activation.beta = beta
