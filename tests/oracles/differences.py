"""Finite differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def finite_difference(value: Callable[[], Tensor], weight: Tensor, direction: Tensor, h: float = 1e-6) -> Tensor:
    """Central difference of a scalar when `weight` moves along `direction`."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * h * direction
        values.append(value().detach())
        with torch.no_grad():
            weight -= sign * h * direction
    return (values[0] - values[1]) / (2 * h)
