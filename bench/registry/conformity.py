"""Checks that plug-ins conform to the contract of their kind."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from pydantic.dataclasses import is_pydantic_dataclass

from bench.core.errors import UsageError
from bench.registry.kinds import KINDS, Kind, Python, Toml


def conforming(kind: Kind, plugin: type, where: str) -> type:
    """Return a plug-in's class if it conforms to its contract.

    The class does not run: only methods, class variables and the decorator are checked.

    Raises:
        UsageError: if a method or a class variable is missing, or pydantic does not check its fields.
    """
    form = KINDS[kind]
    assert isinstance(form, Python)
    assert form.contract is not None
    contract = _contract(form)
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        raise UsageError(f"{where}: expected {plugin.__name__} to define {missing[0]}, got nothing; add the method")
    for name, allowed in _stated(contract).items():
        said = getattr(plugin, name, None)
        values = f", one of {', '.join(map(repr, allowed))}" if allowed else ""
        if not hasattr(plugin, name) or (allowed and said not in allowed):
            came = repr(said) if hasattr(plugin, name) else "nothing"
            raise UsageError(
                f"{where}: expected {plugin.__name__} to say its {name}{values}, got {came}; add the class variable "
                f"`{name}: ClassVar = …`"
            )
    if form.parameters and not is_pydantic_dataclass(plugin):
        came = "a standard dataclass" if "__dataclass_fields__" in vars(plugin) else "a class without a decorator"
        raise UsageError(
            f"{where}: expected {plugin.__name__} under @pydantic.dataclasses.dataclass(frozen=True, kw_only=True), "
            f"which checks parameters, got {came}; replace the decorator"
        )
    return plugin


def plugin_of(kind: Kind, module: Any, file: str) -> Any:
    """Return the plug-in that a module of ours defines.

    Raises:
        UsageError: if it defines none or several, or one that does not conform.
    """
    form = KINDS[kind]
    assert isinstance(form, Python)
    if form.contract is None:
        if not callable(getattr(module, "build", None)):
            raise UsageError(f"{file}: expected a function build(num_classes, **params), got none; add it")
        return module.build
    contract = _contract(form)
    found = _own(module, contract)
    unfinished = [each for each in _own(module, contract, abstract=True) if not each.__name__.startswith("_")]
    if not found and len(unfinished) == 1:
        conforming(kind, unfinished[0], file)
    if len(found) != 1:
        raise UsageError(f"{file}: expected exactly one {form.contract}, got {len(found)}; one plug-in per file")
    return conforming(kind, found[0], file)


def offered(kind: Kind, loaded: Any, place: str, offer: str) -> Any:
    """Return a plug-in of another package if it fits its kind.

    Args:
        kind: the kind that its entry point names.
        loaded: the object behind the entry point.
        place: where the entry point looks, `module:name`.
        offer: the plug-in and its place, to begin a message with.
    Raises:
        UsageError: if it does not fit.
    """
    form = KINDS[kind]
    if isinstance(form, Toml):
        expected, fits = f"a {form.schema.__name__} or the path of its TOML", isinstance(loaded, form.schema)
    elif form.contract is None:
        expected, fits = "a function build(num_classes, **params)", callable(loaded)
    else:
        contract = _contract(form)
        expected, fits = f"a class of {form.contract}", inspect.isclass(loaded) and issubclass(loaded, contract)
    if not fits:
        came = f"the module {place}" if inspect.ismodule(loaded) else f"{loaded!r:.80}"
        inside = [f"{place}:{found}" for found in _inside(loaded, form)]
        remedy = f"name {' or '.join(inside)} in its pyproject.toml" if inside else "mend or remove that package"
        raise UsageError(f"{offer}: expected {expected}, got {came}; {remedy}")
    return conforming(kind, loaded, offer) if isinstance(form, Python) and form.contract is not None else loaded


def _inside(loaded: Any, form: Python | Toml) -> list[str]:
    """Return the names in a module that its entry point could name."""
    if not inspect.ismodule(loaded) or isinstance(form, Toml):
        return []
    if form.contract is None:
        return ["build"] if callable(getattr(loaded, "build", None)) else []
    return [found.__name__ for found in _own(loaded, _contract(form))]


def _contract(form: Python) -> type:
    contract: type = getattr(importlib.import_module(form.vocabulary), form.contract or "")
    return contract


@cache
def _stated(contract: type) -> dict[str, tuple[Any, ...]]:
    """Return the class variables of a contract, with the allowed values.

    The values are empty if the variable is not a choice.
    """
    found = {}
    for name, hint in get_type_hints(contract).items():
        if get_origin(hint) is ClassVar:
            (inner,) = get_args(hint)
            found[name] = get_args(inner) if get_origin(inner) is Literal else ()
    return found


def _own(module: Any, contract: type, *, abstract: bool = False) -> list[type]:
    """Return the classes of a contract that a module defines.

    With `abstract`, only classes that lack a method; else only complete ones.
    """
    own = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    return [c for c in own if issubclass(c, contract) and inspect.isabstract(c) == abstract]
