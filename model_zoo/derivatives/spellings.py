"""Replaces a network's functions with kinks by smooth stand-ins.

It does so wherever they stand in the network's code. A kink is found by what is called (`F.relu`, `torch.maximum`,
`hardtanh_`, …), or is put together of comparisons, products, sums and choices (`u * (u > 0)`, `torch.where(u > 0, u,
0.1 * u)`, `u[u < 0] = 0`, …), which `algebra` reads. What is not understood runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from model_zoo.derivatives.algebra import READERS
from model_zoo.derivatives.known import Known
from model_zoo.derivatives.pieces import Ordered, Piece, Stacked, Step
from model_zoo.derivatives.stand_ins import STAND_INS

ALIASES = {
    "multiply": "mul", "rmul": "mul", "radd": "add", "subtract": "sub", "divide": "div", "truediv": "div",
    "true_divide": "div", "negative": "neg", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "sgn": "sign", "logical_not": "not", "bitwise_not": "not", "invert": "not", "concat": "cat", "concatenate": "cat",
    "absolute": "abs", "clip": "clamp", "fmax": "maximum", "fmin": "minimum",
}  # fmt: skip
DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class Spellings(TorchFunctionMode):
    """A mode that rounds kinks of values that depend on images.

    Calls without a gradient run as they are.

    Args:
        beta: sharpness of softplus.
    """

    def __init__(self, beta: float | Tensor) -> None:
        super().__init__()
        self.beta = beta
        self.followed: set[str] = set()
        """Names of functions that a stand-in replaced."""
        self.escaped: set[str] = set()
        """Names of functions that took a comparison of values that depend on the images, and were not understood."""
        self._known, self._masks = Known(beta), False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call or its stand-in."""
        name, in_place = _plain(func)
        given, named = _ordered(args, kwargs or {})
        if not (name in READERS or name in STAND_INS or self._masks) or not given or "out" in named:
            return func(*args, **(kwargs or {}))
        found = READERS[name](self._known, func, *given, **named) if name in READERS else None
        if found is None and name in STAND_INS and _depends(given):
            in_place = in_place or bool(named.get("inplace")) or any(argument is True for argument in given[1:])
            found = STAND_INS[name](given[0].clone() if in_place else given[0], *given[1:], beta=self.beta, **named)
        if _is_bent(found) and torch.is_grad_enabled():
            self.followed.add(name)
            return self._answer(found, given[0] if in_place else None)
        if found is None:
            self._note(name, given)
        with torch.no_grad() if isinstance(found, Step) and not in_place else nullcontext():  # flat but for its jump
            result = func(*args, **(kwargs or {}))
        if isinstance(found, Piece | Step | Ordered | Stacked) and not in_place and not _is_bent(found):
            self._known.remember(result, found)
            self._masks = self._masks or isinstance(found, Step | Ordered)
        return result

    def _answer(self, found: Any, target: Tensor | None) -> Any:
        """Return a stand-in's value.

        Where the function works in place, the value lies in its tensor.
        """
        if not isinstance(found, Piece):
            value = found
        elif found.base is target:
            value = replace(found, base=target.clone()).smooth(self.beta)
        else:
            value = found.smooth(self.beta)
        if target is not None:
            return target.copy_(value)
        if isinstance(found, Piece):
            self._known.remember(value, found)
        return value

    def _note(self, name: str, given: tuple[Any, ...]) -> None:
        """Remember a function of a comparison and a tensor with gradient."""
        tensors = [argument for argument in given if isinstance(argument, Tensor)]
        compared = [tensor for tensor in tensors if isinstance(self._known.meaning(tensor), Step | Ordered)]
        if compared and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            self.escaped.add(name)


def _is_bent(found: Any) -> bool:
    """Return whether a stand-in answers in the function's place."""
    return isinstance(found, Tensor | tuple) or (isinstance(found, Piece) and found.bend != 0)


def _depends(given: tuple[Any, ...]) -> bool:
    """Return whether gradients flow through a call with floating-point numbers."""
    tensors = [argument for argument in given if isinstance(argument, Tensor)]
    floats = isinstance(given[0], Tensor) and given[0].is_floating_point()
    return floats and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _ordered(args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments in one order for function and method.

    Arguments whose names vary come first.
    """
    rest = dict(named)
    first = [rest.pop(key) for key in ("condition", "input", "self", "tensors", "other") if key in rest]
    return (*args, *first), rest


def _plain(func: Any) -> tuple[str, bool]:
    """Return a function's plain name, and whether it works in place.

    The operator and the in-place form share this name.
    """
    return ("data", False) if func == DATA else _plain_name(getattr(func, "__name__", ""))


@cache
def _plain_name(name: str) -> tuple[str, bool]:
    if name == "__setitem__":
        return "setitem", True
    if name.startswith("__") and name.endswith("__"):
        plain = name.strip("_")
        in_place = plain.startswith("i") and plain not in {"invert", "index"}
        return ALIASES.get(plain[in_place:], plain[in_place:]), in_place
    plain = name.removesuffix("_").lstrip("_")
    return ALIASES.get(plain, plain), name.endswith("_")


class Pooled(TorchFunctionMode):
    """A mode in which largest values are means.

    So a check of second derivatives does not see the switches of a maximum. Which of several values is the largest
    changes at kinks that no surrogate here rounds. A largest value of something and a constant is an activation, and no
    mean is taken.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mixed: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call or its stand-in."""
        given, name = kwargs or {}, getattr(func, "__name__", "")
        mixed = bool(args) and self._is_mixed(name, args[0])
        averaged = name in MEANS and not mixed and bool(args) and _depends(args)
        if averaged and (found := MEANS[name](*args, **given)) is not None:
            return found
        result = func(*args, **given)
        if mixed and isinstance(result, Tensor):
            self._mixed[id(result)] = result
        return result

    def _is_mixed(self, name: str, first: Any) -> bool:
        """Return whether a function mixes constants and values that depend on images."""
        if name in {"stack", "cat", "concat", "concatenate"} and isinstance(first, tuple | list):
            return len({part.requires_grad for part in first}) > 1
        return id(first) in self._mixed and (name in SHAPES or name in MEANS)


SHAPES = frozenset({"flatten", "view", "view_as", "reshape", "permute", "transpose", "unsqueeze", "squeeze",
                    "contiguous", "movedim", "swapaxes", "unflatten"})  # fmt: skip


def _average_pool(mean: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    def pool(  # noqa: PLR0917 - as torch's
        u: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor | None:
        spread = {dilation} if isinstance(dilation, int) else set(dilation)
        return mean(u, kernel_size, stride, padding, ceil_mode) if spread == {1} and not return_indices else None

    return pool


def _mean_over(u: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    return None if dim is None or isinstance(dim, Tensor) else u.mean(dim, keepdim)


def _mean_and_place(u: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    mean = _mean_over(u, dim, keepdim)
    return None if mean is None else torch.return_types.max((mean, u.argmax(dim, keepdim)))


MEANS: dict[str, Callable[..., Any]] = {
    "max_pool1d": _average_pool(F.avg_pool1d),
    "max_pool2d": _average_pool(F.avg_pool2d),
    "max_pool3d": _average_pool(F.avg_pool3d),
    "adaptive_max_pool1d": lambda u, size, indices=False: None if indices else F.adaptive_avg_pool1d(u, size),
    "adaptive_max_pool2d": lambda u, size, indices=False: None if indices else F.adaptive_avg_pool2d(u, size),
    "amax": _mean_over,
    "max": _mean_and_place,
}
