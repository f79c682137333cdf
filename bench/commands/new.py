"""`bench new`: write a working skeleton of a plug-in."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

import click

import bench
from bench import registry
from bench.core.errors import UsageError

WRITTEN: dict[str, registry.Kind] = {
    "attack": "attacks",
    "metric": "metrics",
    "attribution": "attributions",
    "dataset": "datasets",
    "architecture": "architectures",
    "objective": "objectives",
    "flag": "flags",
    "study": "studies",
}
"""Plug-in kinds with a template in `bench/registry/skeletons`."""

COPIED: dict[str, tuple[registry.Kind, str]] = {
    "protocol": ("protocols", "cifar10-smoke-v1"),
    "recipe": ("recipes", "natural-wrn28-1"),
    "track": ("tracks", "transfer"),
}
"""Plug-in kinds whose skeleton is a copy of an existing TOML file."""

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"


@click.command()
@click.argument("kind", type=click.Choice([*WRITTEN, *COPIED, "model"]))
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to (default: the folder of its kind in a checkout, else the current folder).",
)
def new(kind: str, name: str, folder: Path | None) -> None:
    """Write a working skeleton of a plug-in into one file.

    The skeleton passes the contract tests as it is.
    """
    if kind == "model":
        raise UsageError(
            "expected a kind that begins as a file of text, got a model, which begins with weights; `bench submit "
            "convert` writes its entry from a checkpoint"
        )
    if not re.fullmatch(NAME, name):
        raise UsageError(f"expected a name of lower-case words with dashes between them, got {name!r}; rename it")
    plural = WRITTEN.get(kind) or COPIED[kind][0]
    named = f"{name}-v1" if kind == "protocol" else name
    if named in registry.names(plural):
        raise UsageError(f"expected a new name, got {name!r}, which the {plural} have; choose another")
    checkout = (Path(bench.__file__).parent.parent / "pyproject.toml").is_file()
    place = folder or (registry.folder(plural) if checkout else Path())
    path = place / (f"{named}.toml" if kind in COPIED else f"{name.replace('-', '_')}.py")
    if path.exists():
        raise UsageError(f"expected a new file, got {path}, which is there; choose another name")
    place.mkdir(parents=True, exist_ok=True)
    path.write_text(_copied(kind, name) if kind in COPIED else _written(kind, name), encoding="utf-8")
    click.echo(f"{path}: fill it in; `bench show {named}` describes it, `pytest tests/contracts -k {named}` tests it")
    if place != registry.folder(plural):
        told = "the path of this file" if kind in COPIED else f"my_package.{path.stem}:{_target(kind, name)}"
        click.echo(
            f'In pyproject.toml, [project.entry-points."{registry.ENTRY_POINT_GROUP}.{plural}"]: {name} = "{told}"'
        )


def _written(kind: str, name: str) -> str:
    """Return the text of a Python skeleton."""
    text = (registry.SKELETONS / f"{kind}.py.txt").read_text(encoding="utf-8")
    return Template(text).substitute(class_name=_class_name(name), name=name, module=name.replace("-", "_"))


def _copied(kind: str, name: str) -> str:
    """Return a copy of an existing TOML file under another name."""
    text = registry.file_of(*COPIED[kind]).read_text(encoding="utf-8")
    head, mark, tables = text.partition("\n[")
    return re.sub(r'^(name|model) = ".*?"', rf'\1 = "{name}"', head, flags=re.MULTILINE) + mark + tables


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _target(kind: str, name: str) -> str:
    return "build" if kind == "architecture" else _class_name(name)
