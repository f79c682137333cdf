"""Options that choose an executor and its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.commands._options import Command, read_parameters

if TYPE_CHECKING:
    from bench.core.contracts import Executor

_OPTIONS = (
    click.option(
        "--executor",
        default="local",
        show_default=True,
        metavar="NAME",
        help="An executor from `bench list executors`.",
    ),
    click.option("--workers", type=int, metavar="N", help="Number of workers (default: one per GPU, or one)."),
    click.option(
        "--timeout", type=float, metavar="SECONDS", help="A worker that is silent for this time counts as hung."
    ),
    click.option("--with", "params", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the executor."),
)


def WORKERS(command: Command) -> Command:  # noqa: N802 in capitals, as the other options are
    """Add the options of executors: executor, workers, timeout and params."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen_executor(name: str, device: str, params: tuple[str, ...], **own: Any) -> Executor:
    """Return the executor that the options choose.

    Raises:
        UsageError: if its name, a parameter or a value is wrong.
    """
    from bench.core.schemas.protocol import Component

    words = own | {"device": device} | read_parameters(params, "--with")
    given = {key: value for key, value in words.items() if value is not None}
    registry.load("executors", name)  # text that cannot be a name gets the error for an unknown name
    executor: Executor = registry.instantiate("executors", Component(name=name, params=given))
    return executor
