"""The smooth copy of a network: same weights, every ReLU a softplus, so that second derivatives exist."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn


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

    Parameters and buffers are shared with `model`, not copied: training one trains the other.

    Args:
        model: a network whose activations are `nn.ReLU` modules.
        beta: sharpness of softplus, > 0.
    Returns:
        The smooth network, in the mode (train, eval) of `model`.
    Raises:
        ValueError: if `model` holds no `nn.ReLU` module.
    Source:
        Dombrowski et al. 2019; Ghorbani, Abid, Zou 2019. Differs: nothing.
    """
    shared = {id(t): t for t in (*model.parameters(), *model.buffers())}
    smooth = copy.deepcopy(model, shared)
    replaced = 0
    for parent in list(smooth.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.ReLU:
                setattr(parent, name, Softplus(beta))
                replaced += 1
    if not replaced:
        raise ValueError("expected a network with nn.ReLU modules, got none; a smooth copy needs them as modules")
    return smooth
