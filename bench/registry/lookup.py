"""Finds plug-ins by name, and loads them.

`names` and `origin` import nothing; `load` imports only the plug-in that is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from bench.core.errors import BenchError, UnknownNameError, UsageError, blamed_on, fault
from bench.core.schemas.protocol import Component
from bench.core.storage.toml import explain, parse_toml
from bench.registry.conformity import offered, plugin_of
from bench.registry.kinds import ENTRY_POINT_GROUP, FORMER, KINDS, Kind, Toml, singular

_in_memory: ContextVar[Mapping[tuple[Kind, str], Any]] = ContextVar("offered", default=MappingProxyType({}))


@contextmanager
def offering(kind: Kind, name: str, plugin: Any) -> Iterator[None]:
    """Run a block in which `load` returns `plugin` for this name.

    The plug-in exists in memory only; no list names it.
    """
    token = _in_memory.set({**_in_memory.get(), (kind, name): plugin})
    try:
        yield
    finally:
        _in_memory.reset(token)


def names(kind: Kind) -> list[str]:
    """Return the public names of all plug-ins of a kind, sorted.

    Raises:
        UnknownNameError: if the kind does not exist; all functions here raise it.
    """
    return sorted({*files(kind), *_foreign(kind)})


def load(kind: Kind, name: str) -> Any:
    """Return a plug-in by its name.

    It is a class, an architecture's `build` function, or the parsed content of a TOML. If plug-ins of the kind are TOML
    files, `name` may also be the path of a file that ends in .toml, or of a copy among the results that ends in .json.

    Raises:
        UnknownNameError: if no plug-in of that kind has that name.
        UsageError: if the file does not fit its kind.
    """
    if (kind, name) in _in_memory.get():
        return _in_memory.get()[kind, name]
    path, form = files(kind).get(name), KINDS[kind]
    if isinstance(form, Toml) and name.endswith((".toml", ".json")):
        return parse_toml(Path(name), form.schema, name=Path(name).stem if name.endswith(".toml") else None)
    if path is None:
        return _load_foreign(kind, name)
    if isinstance(form, Toml):
        return parse_toml(path, form.schema, name=name)
    try:
        module = importlib.import_module(f"{form.package}.{path.stem}")
    except BenchError:
        raise
    except Exception as error:
        raise fault(f"{singular(kind)} {name}", str(path), error) from error
    return plugin_of(kind, module, path.name)


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
        raise UnknownNameError(f"parameters of {singular(kind)} {component.name}", given, known)
    try:
        made = plugin(**component.params)
    except ValidationError as error:
        raise UsageError(f"{singular(kind)} {component.name}: {explain(error)}") from None
    except Exception:
        with blamed_on(plugin):
            raise
    for key, value in component.params.items():
        if isinstance(value, bool) and not isinstance(getattr(made, key, value), bool):  # pydantic reads true as 1
            raise UsageError(
                f"{singular(kind)} {component.name}: {key}: expected no truth value, got {json.dumps(value)}"
            )
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
        f"{singular(kind)} {component.name}: expected a version that is still here ({there}), got {component.version}"
    )


def origin(kind: Kind, name: str) -> Path | str:
    """Return the file of our plug-in, or the package of another."""
    if (path := files(kind).get(name)) is not None:
        return path
    if (point := _foreign(kind).get(name)) is None:
        raise _unknown(kind, name)
    return point.dist.name if point.dist else point.value


def folder(kind: Kind) -> Path:
    """Return the folder that holds our plug-ins of a kind."""
    form = KINDS[kind]
    return _folder(form.package) / form.folder if isinstance(form, Toml) else _folder(form.package)


def file_of(kind: Kind, name: str) -> Path:
    """Return the file of one of our plug-ins."""
    return files(kind)[name]


def refresh() -> None:
    """Look for plug-ins again, after files or packages were added."""
    files.cache_clear()
    _foreign.cache_clear()


@cache
def files(kind: Kind) -> dict[str, Path]:
    """Return the files of our plug-ins of a kind, by public name."""
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
def _foreign(kind: Kind) -> dict[str, EntryPoint]:
    """Return the plug-ins that other packages offer."""
    return {point.name: point for point in entry_points(group=f"{ENTRY_POINT_GROUP}.{kind}")}


def _load_foreign(kind: Kind, name: str) -> Any:
    point = _foreign(kind).get(name)
    if point is None:
        raise _unknown(kind, name)
    form, offer = KINDS[kind], f"{singular(kind)} {name}, offered as {point.value}"
    try:
        loaded = point.load()
    except BenchError:
        raise
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
        raise UsageError(f"{offer}: expected something to import, got {came}; mend or remove that package") from error
    if isinstance(form, Toml) and isinstance(loaded, str | Path):
        return parse_toml(Path(loaded), form.schema, name=name)
    return offered(kind, loaded, point.value, offer)


def _unknown(kind: Kind, name: str) -> UnknownNameError:
    return UnknownNameError(kind, name, names(kind), f"bench list {kind}")
