"""Hidden commands with the names from before version 0.2.

The next version removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from bench.commands.compare import compare
from bench.commands.verify import verify


def _renamed(name: str, verb: click.Command, rewrite: Callable[[Sequence[str]], list[str]]) -> click.Command:
    """Return a hidden command that gives its words, rewritten, to a verb."""

    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def call(context: click.Context, words: tuple[str, ...]) -> None:
        with verb.make_context(verb.name, rewrite(words), parent=context.parent) as new:
            verb.invoke(new)

    settings = {"ignore_unknown_options": True}
    return click.command(name, hidden=True, help=f"Now `bench {verb.name}`.", context_settings=settings)(call)


def _second_is_against(words: Sequence[str]) -> list[str]:
    named = [word for word in words if not word.startswith("-")]
    return [*(word for word in words if word not in named), *named[:1], "--against", *named[1:]]


OLD_NAMES = (
    _renamed("validate", verify, lambda words: ["--repository", *words]),
    _renamed("confirm", verify, _second_is_against),
    _renamed("contest", compare, lambda words: ["--attacks", *words]),
)
