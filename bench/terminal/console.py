"""What all verbs print through: results on stdout, errors on stderr."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from bench.core.text import printable

UNBOUNDED = 10_000
"""Columns of a page that no terminal shows: wider than any line of ours."""


class _Page(Console):
    """As wide as its terminal; in a file or a pipe as wide as its lines, so that none breaks or ends in blanks."""

    @property  # type: ignore[misc]  # rich lets it be set; nobody here does
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        size = super().size
        return size if self.is_terminal else ConsoleDimensions(UNBOUNDED, size.height)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console does."""
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
    """Print lines that may hold a stranger's words."""
    out.print(Text(printable(text)), soft_wrap=True)
