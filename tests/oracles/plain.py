"""Plain double backward."""

from __future__ import annotations

import copy

from torch import nn

from model_zoo.derivatives.surrogate import Softplus


def plain_smooth(model: nn.Module, beta: float) -> nn.Module:
    smooth = copy.deepcopy(model)
    for parent in list(smooth.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.ReLU:
                setattr(parent, name, Softplus(beta))
    return smooth
