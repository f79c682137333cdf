"""The options that give images of one's own to a command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource
from rich.text import Text

from bench import registry
from bench.core.errors import UsageError
from bench.core.storage.folders import cache_folder
from bench.core.text import printable
from bench.terminal import console

if TYPE_CHECKING:
    from bench.core.schemas.protocol import Protocol

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--images",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Images of your own: a folder with one folder per class, or a CSV table with the columns file and label. "
        "Everything else is as in --protocol, with --images by default imagenet-gradient-v1.",
    ),
    click.option(
        "--size",
        metavar="SIZE",
        help="With --images: 224, 28x28 (height x width) or 256:224 (resized, then cut). Default: what the model's "
        "own preprocessing says.",
    ),
)


class Measured(NamedTuple):
    """A protocol's name, and the number of its samples to use."""

    protocol: str
    limit: int | None


def IMAGES(command: Command) -> Command:  # noqa: N802 in capitals, as the other options are
    """Add the options for images of one's own."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def measured(
    images: Path | None, size: str | None, models: Sequence[str], protocol: str, limit: int | None
) -> Measured:
    """Return the named protocol, or one that is made of the images.

    Raises:
        UsageError: if `--size` is given without images, or as the folder's labels or the model say.
    """
    if images is None:
        if size is not None:
            raise UsageError("expected --images beside --size, got --size alone; a protocol fixes its images' size")
        return Measured(protocol, limit)
    from bench.images.network import network_of
    from bench.images.protocol import COUNT, Wanted, likeness, moved, protocol_of, write
    from model_zoo.hub import full, resolve

    like: Protocol = registry.load("protocols", protocol if _given("protocol") else likeness())
    if like.samples.folder is not None and size is None:
        return Measured(str(write(moved(like, images), cache_folder() / "protocols")), limit)
    entries = [resolve(full(model)).entry for model in dict.fromkeys(models)]
    if len(sets := {entry.dataset for entry in entries}) > 1:
        raise UsageError(f"expected models of one data set for the same images, got {', '.join(sorted(sets))}")
    count, network = COUNT if limit is None else limit, network_of(entries[0], size)
    made = protocol_of(Wanted(place=images, like=like, network=network, count=count), remark)
    return Measured(str(write(made, cache_folder() / "protocols")), None)


ELSEWHERE = {"results", "pages", "device", "batch_size", "memory", "compiled", "as_json"}
"""Options that change no number, and that another user need not repeat."""


def written(context: click.Context) -> list[str]:
    """Return the given options that may change a number."""
    words = []
    for option in context.command.params:
        given = context.params.get(option.name or "")
        if option.name in ELSEWHERE or not option.expose_value or not _given(option.name or ""):
            continue
        for value in given if option.multiple and isinstance(given, tuple) else [given]:
            words += [option.opts[0], str(value)]
    return words


def remark(text: str) -> None:
    """Print a remark on stderr.

    So stdout stays one document with --json.
    """
    console.err.print(Text(printable(text)), soft_wrap=True)


def _given(option: str) -> bool:
    """Return whether the user wrote an option."""
    source = click.get_current_context().get_parameter_source(option)
    return source not in {None, ParameterSource.DEFAULT}
