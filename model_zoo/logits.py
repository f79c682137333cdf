"""Asks networks that end in a squashing operation for their logits.

Gradients vanish behind a sigmoid or a softmax, so the numbers before it are attacked and explained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.core.errors import ModelOutputError

SQUASHING = {
    "sigmoid": "sigmoid", "expit": "sigmoid", "softmax": "softmax", "log_softmax": "log_softmax", "tanh": "tanh",
}  # fmt: skip
"""Operations that keep the order of an image's numbers, by the names of torch's functions."""


class Unsquashed(nn.Module):
    """A network without its last operation.

    Args:
        network: (N, C, H, W) images to (N, K) numbers, which one of the operations made.
        left_out: that operation, by its name in `SQUASHING`.
    """

    def __init__(self, network: nn.Module, left_out: str) -> None:
        super().__init__()
        self.network, self.left_out = network, left_out

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, K) numbers before the operation."""
        with _LastSquash() as last:
            answer = self.network(images)
        if last.answer is not answer or last.name != self.left_out:
            raise ModelOutputError(
                f"expected a network that ends in {self.left_out}, as it did for other images, got another end; let "
                "its forward return the numbers before"
            )
        before: Tensor = last.before
        return before


def unsquashed(model: nn.Module, images: Tensor) -> nn.Module:
    """Return a model without a squashing operation at its end.

    The operation is found by what the model calls, however it is written. Another model is returned as it is.

    Args:
        model: (N, C, H, W) images to (N, K) numbers.
        images: to ask it about.
    """
    with torch.no_grad(), _LastSquash() as last:
        answer = model(images)
    return Unsquashed(model, last.name).train(model.training) if last.answer is answer else model


def left_out(model: nn.Module) -> str | None:
    """Return the squashing operation that a model leaves out, if any."""
    return model.left_out if isinstance(model, Unsquashed) else None


class _LastSquash(TorchFunctionMode):
    """Keeps input and output of the last squashing operation that is called."""

    name: str
    before: Tensor
    answer: object = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call."""
        named = kwargs or {}
        result = func(*args, **named)
        name = SQUASHING.get(getattr(func, "__name__", "").removeprefix("special_"))
        before: Any = args[0] if args else named.get("input")
        if name is not None and "out" not in named and _is_of_each_image(name, before, args[1:], named):
            self.name, self.before, self.answer = name, before, result
        return result


def _is_of_each_image(name: str, before: Any, rest: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Return whether an operation squashes each row of its input separately."""
    if before is None or before.dim() != 2:
        return False
    return "softmax" not in name or (rest[0] if rest else named.get("dim")) in (1, -1, None)
