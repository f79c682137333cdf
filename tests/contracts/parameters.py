"""Example values for the parameters of a plug-in, by type.

A parameter without a default gets a value, and every parameter gets a second value.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from bench.core.schemas.entry import Origin
from tests.support.pictures import picture_origin

EXAMPLES: dict[Any, Any] = {bool: True, int: 2, float: 0.5, Fraction: Fraction(2, 255)}


def parameters(plugin: Any) -> dict[str, Any]:
    """The parameters that a user may set, and their types."""
    hints = get_type_hints(plugin, include_extras=True)
    return {name: hints[name] for name in inspect.signature(plugin).parameters if name != "num_classes"}


def example(plugin: Any) -> dict[str, Any]:
    """A value for each parameter without a default."""
    hints, signature = parameters(plugin), inspect.signature(plugin).parameters
    bare = [name for name in hints if signature[name].default is inspect.Parameter.empty]
    return {name: next(iter(values(hints[name]))) for name in bare}


def others(plugin: Any, name: str, current: Any) -> list[Any]:
    """Yield values of a parameter that differ from the current one.

    The current value may come as JSON.
    """
    return [value for value in values(parameters(plugin)[name], current) if str(value) != str(current)]


def values(hint: Any, near: Any = None) -> Iterator[Any]:
    """Yield values of a type, close to one that is allowed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from values(arguments[0], near)
    elif origin is Literal:
        yield from arguments
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from () if argument is NoneType else values(argument, near)
    elif hint is Origin:
        yield from (picture_origin(side) for side in (16, 12))
    elif hint is str:
        near = near or "some"
        yield from (near, f"{near}-other")
    elif origin is tuple:
        yield from ([value] for value in values(arguments[0]))
    elif origin is dict:
        yield from ({}, {"some": 1})
    elif hint is bool:
        yield from (True, False)
    elif hint is str:
        yield from ("some", "other")
    elif hint in EXAMPLES:
        near = EXAMPLES[hint] if near is None else hint(near)
        yield from (near, near * 2, near / 2 if hint is not int else near - 1, near + 1)
    else:
        raise NotImplementedError(f"expected a type of {list(EXAMPLES)}, got {hint}; teach it to {__name__}")
