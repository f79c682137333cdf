"""The consoles of all commands: results on stdout, errors on stderr."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from bench.core.text import printable

UNBOUNDED = 10_000
"""Width of output to a file or pipe: wider than all our lines."""


class _Page(Console):
    """A console that is as wide as its terminal.

    In a file or a pipe it is as wide as its lines, so that lines do not break or end in blanks.
    """

    @property  # type: ignore[misc]  # rich has a setter too; we do not need it
    def size(self) -> ConsoleDimensions:
        """Return columns and rows."""
        size = super().size
        return size if self.is_terminal else ConsoleDimensions(UNBOUNDED, size.height)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print the objects."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))


out = _Page(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


def show_error(text: str) -> None:
    """Print one sentence on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), printable(text)), soft_wrap=True)


def show_text(text: str) -> None:
    """Print lines of foreign text, without interpreting markup."""
    out.print(Text(printable(text)), soft_wrap=True)
