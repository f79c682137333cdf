"""The smooth copy of a network: same weights, every ReLU a softplus, so that second derivatives exist."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.second_order import second_order


class Softplus(nn.Module):
    """log(1 + exp(beta u)) / beta, which tends to ReLU as beta grows."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, u: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.softplus(u, self.beta)


def smooth_copy(model: nn.Module, beta: float) -> nn.Module:
    """Return a copy of `model` in which softplus of sharpness `beta` replaces each ReLU module.

    Its second derivatives are those of the plain layers, by cheaper ways (`model_zoo.second_order`). Parameters and
    buffers are shared with `model`, not copied: training one trains the other.

    Args:
        model: a network whose activations are `nn.ReLU` modules; one without any is smooth already.
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
        for name, child in parent.named_children():
            if (replacement := replace(child)) is not None:
                setattr(parent, name, replacement.train(child.training))
    return copied
