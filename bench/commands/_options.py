"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from bench.core.errors import UsageError


def _use_data(context: click.Context, option: click.Parameter, folder: str | None) -> None:  # noqa: ARG001
    if folder is not None:
        os.environ["BENCH_DATA"] = folder


RESULTS = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of records."
)
DATA = click.option(
    "--data",
    type=click.Path(),
    expose_value=False,
    callback=_use_data,
    help="Folder of public image sets (or BENCH_DATA).",
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
COMPILED = click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile searches' derivatives: a minute per network and then faster; rounds as another device would.",
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)
PROTOCOL = click.option("--protocol", default="cifar10-smoke-v1", show_default=True, metavar="NAME")


def read_parameters(words: tuple[str, ...], option: str = "--set") -> dict[str, Any]:
    """Read an option's KEY=VALUE words; values are JSON where they can be, else text."""
    parameters: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise UsageError(f"expected {option} KEY=VALUE, got {word!r}")
        try:
            parameters[key] = json.loads(value)
        except json.JSONDecodeError:
            parameters[key] = value
    return parameters
