"""Describes plug-ins for lists and pages."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel

from bench.core.storage.toml import parse_toml
from bench.registry import sources
from bench.registry.kinds import KINDS, Kind, Toml
from bench.registry.lookup import files, load, origin


def summary(kind: Kind, name: str) -> str:
    """Return one line about a plug-in, without importing it."""
    path, form = origin(kind, name), KINDS[kind]
    if isinstance(path, str):
        return f"from {path}"
    if isinstance(form, Toml):
        content = parse_toml(path, form.schema, name=name)
        return str(getattr(content, "description", None) or getattr(content, "title", "")).split("\n")[0]
    return (ast.get_docstring(sources.parse(path)) or "").split("\n")[0]


def definition(kind: Kind, name: str) -> tuple[str, dict[str, str]]:
    """Return a plug-in's docstring and its parameters' meanings, without importing it.

    Both are empty if the plug-in is not one of our files.
    """
    if (node := _class(kind, name)) is None:
        return "", {}
    path = files(kind)[name]
    return ast.get_docstring(node) or "", sources.meanings(path, f"{KINDS[kind].package}.{path.stem}", node.name)


def constants(kind: Kind, name: str) -> dict[str, Any]:
    """Return the literal class variables of a plug-in, without importing it.

    They are empty if the plug-in is not one of our files.
    """
    return {} if (node := _class(kind, name)) is None else sources.constants(node)


def describe(kind: Kind, name: str) -> dict[str, Any]:
    """Return a description of a plug-in, as JSON values.

    It is the content of a TOML, or documentation and parameters of a class or function.
    """
    loaded = load(kind, name)
    if isinstance(loaded, BaseModel):
        return loaded.model_dump(mode="json")
    types = get_type_hints(loaded)
    meanings = sources.meanings(Path(inspect.getfile(loaded)), loaded.__module__, loaded.__name__)
    parameters = {
        name: {"value": _typed(parameter, types.get(name)), "meaning": meanings.get(name, "")}
        for name, parameter in inspect.signature(loaded).parameters.items()
    }
    version = getattr(loaded, "version", None) or getattr(inspect.getmodule(loaded), "VERSION", 1)
    return {
        "documentation": inspect.getdoc(loaded) or "",
        "version": version,
        **{word: getattr(loaded, word) for word in ("raised_if", "means", "remedy") if hasattr(loaded, word)},
        **(_asked(loaded) if kind == "studies" else {}),
        "parameters": parameters,
        "file": f"{loaded.__module__}.{loaded.__qualname__}",
    }


def _asked(study: Any) -> dict[str, Any]:
    """Return what a study asks by default, and its figures."""
    made = study()
    figures = {figure.name: figure.title for figure in made.card.figures}
    return {"asks": made.card.asks, "figures": figures, "pieces": len(made.pieces())}


def _class(kind: Kind, name: str) -> ast.ClassDef | None:
    """Return the syntax tree of the class that names its source.

    It is None if the plug-in is not one of our files.
    """
    path = files(kind).get(name)
    if path is None or isinstance(KINDS[kind], Toml):
        return None
    classes = (node for node in sources.parse(path).body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if "Source:" in (ast.get_docstring(node) or "")), None)


def _typed(parameter: inspect.Parameter, kind: Any) -> str:
    """Return a parameter's type and default in words.

    A choice is shown by its values. A parameter without a type is shown as "any".
    """
    if kind is None:
        return "any" if parameter.default is inspect.Parameter.empty else f"any = {parameter.default!r}"
    words = kind.__name__ if inspect.isclass(kind) else re.sub(r"\b(?:\w+\.)+", "", str(kind))
    return words if parameter.default is inspect.Parameter.empty else f"{words} = {parameter.default!r}"
