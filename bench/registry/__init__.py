"""Finds and loads plug-ins by name.

A plug-in is a file in one of our folders, or an entry point of another package. `names` and `summary` import nothing;
`load` imports only the plug-in that is asked for. No other module imports by name.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass

from bench.core.errors import BenchError, UnknownNameError, UsageError
from bench.core.faults import blamed_on, fault
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component, Protocol
from bench.core.schemas.recipe import Recipe
from bench.core.schemas.track import Track
from bench.core.storage.toml import explain, parse_toml
from bench.registry import sources

Kind = Literal[
    "attacks",
    "metrics",
    "attributions",
    "datasets",
    "architectures",
    "objectives",
    "models",
    "protocols",
    "recipes",
    "tracks",
    "zoos",
    "executors",
    "flags",
]


@dataclass(frozen=True)
class Python:
    """A kind whose plug-ins are Python files.

    Each file has one class of `contract`, or a function `build` if `contract` is None.
    """

    package: str
    contract: str | None
    vocabulary: str = "bench.core.contracts"
    """The module that defines the contract."""
    parameters: bool = False
    """Whether the fields of the class are parameters, checked by pydantic's dataclass."""


@dataclass(frozen=True)
class Toml:
    """A kind whose plug-ins are TOML files of one schema."""

    package: str
    folder: str
    schema: type[BaseModel]


_TOP = "" if (Path(__file__).parents[2] / "attacks").is_dir() else "attribution_bench."
"""A wheel installs the top-level folders of plug-ins below one package; see pyproject.toml."""

KINDS: dict[Kind, Python | Toml] = {
    "attacks": Python(f"{_TOP}attacks", "Attack", parameters=True),
    "metrics": Python(f"{_TOP}metrics", "Metric", parameters=True),
    "attributions": Python("bench.attributions", "AttributionMethod", parameters=True),
    "datasets": Python("bench.data", "Dataset"),
    "architectures": Python("model_zoo.architectures", None),
    "objectives": Python("model_zoo.training.objectives", "Objective", parameters=True),
    "models": Toml("model_zoo", "entries", ModelEntry),
    "protocols": Toml("bench", "protocols", Protocol),
    "recipes": Toml("model_zoo", "training/recipes", Recipe),
    "tracks": Toml("leaderboard", "tracks/questions", Track),
    "zoos": Python("model_zoo.zoos", "Zoo"),
    "executors": Python("bench.executors", "Executor", parameters=True),
    "flags": Python("bench.flags", "SoundnessFlag", "bench.core.schemas.flags"),
}
FORMER: dict[tuple[Kind, str], Component] = {
    ("metrics", f"{name}-after"): Component(name=name, params={"of": "after"})
    for name in ("insertion", "deletion", "infidelity")
}
"""Names in published protocols and records whose files are gone; new protocols write `as = "…"` instead."""

SKELETONS = Path(__file__).parent / "skeletons"
"""Templates that `bench new` fills in."""

ENTRY_POINT_GROUP = "attribution_bench"
"""Other packages offer a plug-in of kind K as an entry point of the group `attribution_bench.K`."""


_offered: ContextVar[Mapping[tuple[Kind, str], Any]] = ContextVar("offered", default=MappingProxyType({}))


@contextmanager
def offering(kind: Kind, name: str, plugin: Any) -> Iterator[None]:
    """Run a block in which `load` returns `plugin` for this name.

    The plug-in exists in memory only; no list names it.
    """
    token = _offered.set({**_offered.get(), (kind, name): plugin})
    try:
        yield
    finally:
        _offered.reset(token)


def names(kind: Kind) -> list[str]:
    """Return the public names of all plug-ins of a kind, sorted.

    Raises:
        UnknownNameError: if the kind does not exist; all functions here raise it.
    """
    return sorted({*_files(kind), *_entry_points(kind)})


def load(kind: Kind, name: str) -> Any:
    """Return a plug-in by its name.

    It is a class, an architecture's `build` function, or the parsed content of a TOML. If plug-ins of the kind are TOML
    files, `name` may also be the path of a file that ends in .toml.

    Raises:
        UnknownNameError: if no plug-in of that kind has that name.
        UsageError: if the file does not fit its kind.
    """
    if (kind, name) in _offered.get():
        return _offered.get()[kind, name]
    path, form = _files(kind).get(name), KINDS[kind]
    if isinstance(form, Toml) and name.endswith(".toml"):
        return parse_toml(Path(name), form.schema, name=Path(name).stem)
    if path is None:
        return _load_entry_point(kind, name)
    if isinstance(form, Toml):
        return parse_toml(path, form.schema, name=name)
    try:
        module = importlib.import_module(f"{form.package}.{path.stem}")
    except BenchError:
        raise
    except Exception as error:
        raise fault(f"{kind[:-1]} {name}", str(path), error) from error
    return _plugin_of(module, kind, path.name)


def instantiate(kind: Kind, component: Component) -> Any:
    """Return a plug-in with a component's version and parameters.

    If the component does not name a version, the newest that has all its parameters is taken.

    Raises:
        UnknownNameError: if no plug-in of that kind has that name.
        UsageError: if the version does not exist, or a parameter is unknown or its value is not allowed.
    """
    if (former := FORMER.get((kind, component.name))) is not None:
        component = component.model_copy(update={"name": former.name, "params": former.params | component.params})
    plugin = _edition(kind, component)
    known = inspect.signature(plugin).parameters
    for given in sorted(set(component.params) - set(known)):
        raise UnknownNameError(f"parameters of {kind[:-1]} {component.name}", given, known)
    try:
        made = plugin(**component.params)
    except ValidationError as error:
        raise UsageError(f"{kind[:-1]} {component.name}: {explain(error)}") from None
    except Exception:
        with blamed_on(plugin):
            raise
    for key, value in component.params.items():
        if isinstance(value, bool) and not isinstance(getattr(made, key, value), bool):  # pydantic reads true as 1
            raise UsageError(f"{kind[:-1]} {component.name}: {key}: expected no truth value, got {json.dumps(value)}")
    return made


def _edition(kind: Kind, component: Component) -> Any:
    """Return the class of the component's version.

    If it does not name one, the newest version that has all its parameters is taken.
    """
    newest = load(kind, component.name)
    editions = [newest, *getattr(newest, "older", ())]
    if component.version is None:
        fits = [each for each in editions if set(component.params) <= set(inspect.signature(each).parameters)]
        return [*fits, newest][0]
    for each in editions:
        if each.version == component.version:
            return each
    there = ", ".join(str(each.version) for each in editions)
    raise UsageError(
        f"{kind[:-1]} {component.name}: expected a version that is still here ({there}), got {component.version}"
    )


def origin(kind: Kind, name: str) -> Path | str:
    """Return the file of our plug-in, or the package of another."""
    if (path := _files(kind).get(name)) is not None:
        return path
    if (point := _entry_points(kind).get(name)) is None:
        raise _unknown(kind, name)
    return point.dist.name if point.dist else point.value


def folder(kind: Kind) -> Path:
    """Return the folder that holds our plug-ins of a kind."""
    form = KINDS[kind]
    return _folder(form.package) / form.folder if isinstance(form, Toml) else _folder(form.package)


def file_of(kind: Kind, name: str) -> Path:
    """Return the file of one of our plug-ins."""
    return _files(kind)[name]


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
    path = _files(kind)[name]
    return ast.get_docstring(node) or "", sources.meanings(path, f"{KINDS[kind].package}.{path.stem}", node.name)


def constants(kind: Kind, name: str) -> dict[str, Any]:
    """Return the literal class variables of a plug-in, without importing it.

    They are empty if the plug-in is not one of our files.
    """
    return {} if (node := _class(kind, name)) is None else sources.constants(node)


def _class(kind: Kind, name: str) -> ast.ClassDef | None:
    """Return the syntax tree of the class that names its source.

    It is None if the plug-in is not one of our files.
    """
    path = _files(kind).get(name)
    if path is None or isinstance(KINDS[kind], Toml):
        return None
    classes = (node for node in sources.parse(path).body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if "Source:" in (ast.get_docstring(node) or "")), None)


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
        "parameters": parameters,
        "file": f"{loaded.__module__}.{loaded.__qualname__}",
    }


def _typed(parameter: inspect.Parameter, kind: Any) -> str:
    """Return a parameter's type and default in words.

    A choice is shown by its values. A parameter without a type is shown as "any".
    """
    if kind is None:
        return "any" if parameter.default is inspect.Parameter.empty else f"any = {parameter.default!r}"
    words = kind.__name__ if inspect.isclass(kind) else re.sub(r"\b(?:\w+\.)+", "", str(kind))
    return words if parameter.default is inspect.Parameter.empty else f"{words} = {parameter.default!r}"


@cache
def _files(kind: Kind) -> dict[str, Path]:
    form = KINDS.get(kind)
    if form is None:
        raise UnknownNameError("kinds of plug-in", kind, KINDS, "bench list")
    if isinstance(form, Toml):
        return {path.stem: path for path in sorted(folder(kind).glob("*.toml"))}
    found = sorted(folder(kind).glob("*.py"))
    return {path.stem.replace("_", "-"): path for path in found if not path.stem.startswith("_")}


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


@cache
def _entry_points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"{ENTRY_POINT_GROUP}.{kind}")}


def _load_entry_point(kind: Kind, name: str) -> Any:
    point = _entry_points(kind).get(name)
    if point is None:
        raise _unknown(kind, name)
    form, offer = KINDS[kind], f"{kind[:-1]} {name}, offered as {point.value}"
    try:
        loaded = point.load()
    except BenchError:
        raise
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        raise UsageError(f"{offer}: expected something to import, got {came}; mend or remove that package") from error
    if isinstance(form, Toml):
        if isinstance(loaded, str | Path):
            return parse_toml(Path(loaded), form.schema, name=name)
        expected, fits = f"a {form.schema.__name__} or the path of its TOML", isinstance(loaded, form.schema)
    elif form.contract is None:
        expected, fits = "a function build(num_classes, **params)", callable(loaded)
    else:
        contract = _contract(form)
        expected, fits = f"a class of {form.contract}", inspect.isclass(loaded) and issubclass(loaded, contract)
    if not fits:
        came = f"the module {point.value}" if inspect.ismodule(loaded) else f"{loaded!r:.80}"
        inside = [f"{point.value}:{found}" for found in _inside(loaded, form)]
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


def _unknown(kind: Kind, name: str) -> UnknownNameError:
    return UnknownNameError(kind, name, names(kind), f"bench list {kind}")


def _contract(form: Python) -> type:
    contract: type = getattr(importlib.import_module(form.vocabulary), form.contract or "")
    return contract


def _plugin_of(module: Any, kind: Kind, file: str) -> Any:
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
