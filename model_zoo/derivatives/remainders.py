"""Finds operators with a kink that Python code does not show.

They may stand in a scripted module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model_zoo.derivatives.stand_ins import GUARD

KINKED = frozenset(
    {"relu", "relu6", "leaky_relu", "rrelu_with_noise", "threshold", "hardtanh", "hardswish", "hardsigmoid", "prelu",
     "_prelu_kernel", "softshrink", "hardshrink", "abs"}
)  # fmt: skip
"""Operators that bend at one or more places, without the `_` of their in-place forms."""
PAIRS = frozenset({"maximum", "minimum", "fmax", "fmin"})
ATTENTION = ("scaled_dot_product", "native_multi_head_attention", "transformer_encoder_layer")


class Remainders(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A collector of operators with a kink among their numbers.

    Gradients flow through these operators.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kinks: set[str] = set()
        self.attention = False

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
