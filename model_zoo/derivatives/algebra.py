"""Recognises functions with one kink in comparisons, products, sums and choices.

Each reader takes the known meanings of tensors, the function of torch and its arguments. It returns the meaning of the
result, or None where the result is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from model_zoo.derivatives.known import Known, number_of
from model_zoo.derivatives.pieces import Meaning, Ordered, Piece, Stacked, Step
from model_zoo.derivatives.stand_ins import GUARD, maximum, minimum

Read = Meaning | Tensor | tuple[Tensor, ...] | None
"""The meaning of a result, or the smooth result itself."""
Reader = Callable[..., Read]


def _cast(known: Known, func: Any, tensor: Any, *rest: Any, **named: Any) -> Meaning | None:
    if not isinstance(tensor, Tensor):
        return None
    found = known.meaning(tensor)
    if isinstance(found, Step):
        lent = [value.detach() if isinstance(value, Tensor) else value for value in rest]
        return _applied(known, func, tensor, *lent, **named)
    if found is None and tensor.is_floating_point():
        return Piece(tensor)  # an alias, perhaps without a gradient, of which comparisons are made
    return None if isinstance(found, Piece) and found.bend else found


def _applied(known: Known, func: Any, tensor: Any, *rest: Any, **named: Any) -> Step | None:
    """Return a function applied to every number of a comparison."""
    if (step := known.step(tensor)) is None or not all(_is_plain(value) for value in rest):
        return None
    dtype = torch.bool if tensor.dtype is torch.bool else torch.float64
    sides = [func(torch.tensor(side, dtype=dtype), *rest, **named) for side in (step.above, step.below)]
    return replace(step, above=float(sides[0]), below=float(sides[1]))


def _is_plain(value: Any) -> bool:
    """Return whether a value is the same for all numbers.

    Such are a number, a dtype, and a tensor that lends its type.
    """
    return not isinstance(value, Tensor) or not value.requires_grad


def _compare(larger: bool) -> Reader:
    def read(known: Known, func: Any, a: Any, b: Any) -> Meaning | None:  # noqa: ARG001
        if isinstance(a, Tensor) and (number := number_of(b)) is not None:
            return _step(known, a, number, larger)
        if isinstance(b, Tensor) and (number := number_of(a)) is not None:
            return _step(known, b, number, not larger)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return Ordered(a, b) if larger else Ordered(b, a)
        return None

    return read


def _step(known: Known, tensor: Tensor, number: float, larger: bool) -> Step | None:
    if not tensor.is_floating_point():
        return None
    if not tensor.requires_grad:  # for `u.detach() > 0`, take u
        alias = known.piece(tensor)
        if (alias.slope, alias.offset, alias.bend) != (1, 0, 0) or not alias.base.requires_grad:
            return None
        tensor = alias.base
    return Step(tensor, number, float(larger), float(not larger))


def _sign(below: float) -> Reader:
    def read(known: Known, func: Any, tensor: Any, values: Any = None) -> Step | None:  # noqa: ARG001
        step = _step(known, tensor, 0.0, True) if isinstance(tensor, Tensor) else None
        return None if step is None else replace(step, below=below)

    return read


def _multiply(known: Known, func: Any, a: Any, b: Any) -> Meaning | None:
    if not isinstance(a, Tensor):
        a, b = b, a
    if isinstance(b, int | float):
        step = _applied(known, func, a, b)
        return step if step is not None else _scaled(known, a, float(b))
    for mask, other in ((a, b), (b, a)):
        if (step := known.step(mask)) is not None and (line := known.line(other, step.base)) is not None:
            return step.times(*line)
    return None


def _divide(known: Known, func: Any, a: Any, b: Any) -> Meaning | None:  # noqa: ARG001
    return _multiply(known, torch.mul, a, 1 / b) if isinstance(b, int | float) and b else None


def _negate(known: Known, func: Any, a: Any) -> Meaning | None:  # noqa: ARG001
    return _multiply(known, torch.mul, a, -1)


def _scaled(known: Known, tensor: Any, factor: float, shift: float = 0.0) -> Piece | None:
    floats = isinstance(tensor, Tensor) and tensor.is_floating_point() and known.step(tensor) is None
    return known.piece(tensor).scaled(factor, shift) if floats else None


def _sum(sign_a: float, sign_b: float) -> Reader:
    def read(known: Known, func: Any, a: Any, b: Any) -> Meaning | None:  # noqa: ARG001
        signs = (sign_a, sign_b)
        if not isinstance(a, Tensor):
            a, b, signs = b, a, (sign_b, sign_a)
        if isinstance(b, int | float):
            if (step := known.step(a)) is not None:
                above, below = (signs[0] * side + signs[1] * b for side in (step.above, step.below))
                return replace(step, above=above, below=below)
            return _scaled(known, a, signs[0], signs[1] * b)
        if known.meaning(a) is None and known.meaning(b) is None:
            return None
        both = None if known.step(a) or known.step(b) else known.common(a, b)
        return None if both is None else both[0].scaled(signs[0]).plus(both[1].scaled(signs[1]))

    return read


def _choose(known: Known, func: Any, mask: Any, a: Any, b: Any) -> Read:  # noqa: ARG001
    if isinstance(mask, Tensor) and mask.dtype is not torch.bool:  # Tensor.where(a, mask, b)
        mask, a = a, mask
    found = known.meaning(mask)
    if isinstance(found, Ordered):
        return _larger(known, found, a, b)
    if not isinstance(found, Step):
        return None
    if (found.above, found.below) == (0, 1):
        a, b = b, a
    if (above := known.line(a, found.base)) is None or (below := known.line(b, found.base)) is None:
        return None
    if above[0] == below[0] == 0:
        return replace(found, above=above[1], below=below[1])
    return found.between(*above, *below)


def _larger(known: Known, order: Ordered, a: Any, b: Any) -> Read:
    if a is order.a and b is order.b:
        return maximum(a, b, beta=known.beta)
    return minimum(a, b, beta=known.beta) if a is order.b and b is order.a else None


def _fill(known: Known, func: Any, tensor: Any, mask: Any, value: Any) -> Read:
    return _choose(known, func, mask, value, tensor) if isinstance(tensor, Tensor) else None


def _extreme(largest: bool) -> Reader:
    """Read the larger (or smaller) of v and a line over v.

    The line is slope * v + offset.
    """

    def read(known: Known, func: Any, a: Any, b: Any = None) -> Read:  # noqa: ARG001
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            return None
        if not a.requires_grad:
            a, b = b, a
        if not a.requires_grad:
            return None
        if (line := known.line(b, a)) is None or line[0] == 1:
            return (maximum if largest else minimum)(a, b, beta=known.beta)
        slope, offset = line
        if slope == 0 and largest and 0 < offset <= GUARD:
            return Piece(a)
        at = offset / (1 - slope)
        if (slope < 1) == largest:
            return Piece(a, slope, offset, 1 - slope, at)
        return Piece(a, 1.0, 0.0, slope - 1, at)

    return read


def _stack(known: Known, func: Any, tensors: Any, dim: int = 0) -> Stacked | None:  # noqa: ARG001
    parts = tuple(tensors) if isinstance(tensors, tuple | list) else ()
    return Stacked(parts, dim % (parts[0].dim() + 1)) if any(part.requires_grad for part in parts) else None


def _cat(known: Known, func: Any, tensors: Any, dim: int = 0) -> Stacked | None:
    if not isinstance(tensors, tuple | list) or not all(part.dim() and part.shape[dim] == 1 for part in tensors):
        return None
    return _stack(known, func, [part.squeeze(dim) for part in tensors], dim % tensors[0].dim())


def _over(largest: bool) -> Reader:
    """Read the largest (or smallest) stacked tensor as chained pairs."""

    def read(known: Known, func: Any, tensor: Any, dim: Any = None, keepdim: bool = False) -> Read:
        if isinstance(dim, Tensor):
            return _extreme(largest)(known, func, tensor, dim)
        found, axis = known.meaning(tensor), dim[0] if isinstance(dim, tuple | list) and len(dim) == 1 else dim
        if not isinstance(found, Stacked) or not isinstance(axis, int) or axis % tensor.dim() != found.axis:
            return None
        value: Any = found.parts[0]
        for part in found.parts[1:]:
            pair = _extreme(largest)(known, func, value, part)
            value = pair.smooth(known.beta) if isinstance(pair, Piece) else pair
        value = value.unsqueeze(axis) if keepdim else value
        by_torch = func(tensor, axis, keepdim)
        answer: Read = value if isinstance(by_torch, Tensor) else type(by_torch)((value, by_torch[1]))
        return answer

    return read


def _of_comparison(known: Known, func: Any, tensor: Any, *rest: Any, **named: Any) -> Step | None:
    return _applied(known, func, tensor, *rest, **named) if isinstance(tensor, Tensor) else None


READERS: dict[str, Reader] = {
    **dict.fromkeys(("float", "double", "half", "bfloat16", "to", "type_as", "detach", "clone", "contiguous"), _cast),
    **dict.fromkeys(("type", "int", "long", "bool", "not", "relu", "clamp", "abs"), _of_comparison),
    "data": _cast,
    "gt": _compare(True),
    "ge": _compare(True),
    "lt": _compare(False),
    "le": _compare(False),
    "sign": _sign(-1.0),
    "heaviside": _sign(0.0),
    "mul": _multiply,
    "div": _divide,
    "neg": _negate,
    "add": _sum(1, 1),
    "sub": _sum(1, -1),
    "rsub": _sum(-1, 1),
    "where": _choose,
    "masked_fill": _fill,
    "setitem": _fill,
    "maximum": _extreme(True),
    "minimum": _extreme(False),
    "max": _over(True),
    "min": _over(False),
    "amax": _over(True),
    "amin": _over(False),
    "stack": _stack,
    "cat": _cat,
}
"""From the name of torch's function, operator, in-place form or method to its reader."""
