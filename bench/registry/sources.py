"""Reads the documentation of plug-ins from their source.

Nothing is imported, so that pages can quote it without the plug-in's packages.

A parameter's meaning is the docstring under its field or, where the plug-in is a function, its line of `Args:`.
"""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.core.errors import fault


def parse(path: Path) -> ast.Module:
    """Return a file's syntax tree.

    Raises:
        PluginFault: if it is not valid Python.
    """
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise fault(f"plug-in {path.stem.replace('_', '-')}", str(path), error) from error


def meanings(path: Path, module: str, name: str) -> dict[str, str]:
    """Return the meanings of the parameters of a class or function.

    A field without a docstring has the meaning of its base class's field.

    Args:
        path: the file that defines the class or function.
        module: that file's dotted name, from which the files of base classes are found.
        name: the name of the class or function.
    """
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return _arguments(ast.get_docstring(node) or "")
        if isinstance(node, ast.ClassDef) and node.name == name:
            inherited: dict[str, str] = {}
            for base in reversed(node.bases):
                inherited |= _inherited(path, module, tree, ast.unparse(base))
            return inherited | _fields(node)
    return _imported(path, module, tree, name)


def constants(node: ast.ClassDef) -> dict[str, Any]:
    """Return the class variables of a class whose values are literals."""
    found = {}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and line.value and ast.unparse(line.annotation).startswith("ClassVar"):
            with suppress(ValueError):
                found[ast.unparse(line.target)] = ast.literal_eval(line.value)
    return found


def _inherited(path: Path, module: str, tree: ast.Module, base: str) -> dict[str, str]:
    """Return the meanings of a base class's fields.

    The base class must be defined or imported by name in the same file; else the result is empty.
    """
    if any(isinstance(node, ast.ClassDef) and node.name == base for node in tree.body):
        return meanings(path, module, base)
    return _imported(path, module, tree, base)


def _imported(path: Path, module: str, tree: ast.Module, name: str) -> dict[str, str]:
    """Return the meanings of a class that a file imports by name."""
    is_package = path.name == "__init__.py"
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        names = {alias.asname or alias.name: alias.name for alias in node.names}
        if name in names:
            package = module.split(".")[: len(module.split(".")) + is_package - node.level] if node.level else []
            origin = ".".join([*package, *filter(None, [node.module])])
            place = path.parents[module.count(".") + is_package] / origin.replace(".", "/")
            files = (place.with_suffix(".py"), place / "__init__.py")
            return next((meanings(file, origin, names[name]) for file in files if file.is_file()), {})
    return {}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    """Return the docstrings under a class's fields, each as one line.

    Class variables are left out.
    """
    found = {}
    for field, after in pairwise(node.body):
        if not isinstance(field, ast.AnnAssign) or ast.unparse(field.annotation).startswith("ClassVar"):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(after.value.value).split())
    return found


def _arguments(docstring: str) -> dict[str, str]:
    """Return the lines of the section `Args:`, each as one line."""
    section = re.search(r"^Args:\n((?: .*\n?)+)", docstring, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
