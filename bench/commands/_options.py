"""Options that several commands share, and functions that read their values."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from bench.core.errors import UsageError
from bench.core.schemas.duration import read_duration

Command = TypeVar("Command", bound=Callable[..., Any])


def _through(variable: str, flag: str, **how: Any) -> Callable[[Command], Command]:
    """Return an option that sets an environment variable, which worker processes inherit."""

    def keep(context: click.Context, option: click.Parameter, value: str | None) -> None:  # noqa: ARG001
        if value is not None:
            os.environ[variable] = value

    return click.option(flag, expose_value=False, callback=keep, **how)


class _Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A duration such as 90s, 9m or 2.5h, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        try:
            return read_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _Duration()
RESULTS = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of records."
)
_INPUTS = (
    _through("BENCH_DATA", "--data", type=click.Path(), help="Folder of public image sets (or BENCH_DATA)."),
    _through("BENCH_WEIGHTS", "--weights", type=click.Path(), help="Folder of published weights (or BENCH_WEIGHTS)."),
    _through("BENCH_MIRROR", "--mirror", metavar="URL", help="Server of published weights (or BENCH_MIRROR)."),
)


def DATA(command: Command) -> Command:  # noqa: N802 in capitals, as the other options are
    """Add the options for the folders of images and published weights."""
    for option in reversed(_INPUTS):
        command = option(command)
    return command


DEVICE = click.option(
    "--device", default="auto", show_default=True, help="Device to compute on: auto, cpu, cuda, cuda:1, …"
)
COMPILED = click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile the gradients: one minute per network, then faster. Rounding differs, as on another device.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print only one JSON document on stdout.")
PROTOCOL = click.option(
    "--protocol", default="cifar10-smoke-v1", show_default=True, metavar="NAME", help="One of `bench list protocols`."
)


def read_parameters(words: tuple[str, ...], option: str = "--set") -> dict[str, Any]:
    """Return the KEY=VALUE words of an option as a dictionary.

    A value is read as JSON if possible, else kept as text.
    """
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
