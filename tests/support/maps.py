"""The table of attribution methods in `docs/maps.md`.

python -m tests.support.maps # writes the table
"""

from __future__ import annotations

import inspect
from pathlib import Path

from bench import registry

PAGE = Path(__file__).parents[2] / "docs/maps.md"
HEAD = "| method | attribution | attacked | networks |\n| --- | --- | --- | --- |"


def row(name: str) -> str:
    """Return the line of an attribution method."""
    method = registry.load("attributions", name)
    attacked = "with gradients" if method.differentiable else f"by transfer from `{method.substitute}`"
    networks = "of tokens" if method.needs_attention else "any"
    return f"| `{name}` | {(inspect.getdoc(method) or '').splitlines()[0]} | {attacked} | {networks} |"


def table() -> str:
    """Return the table of all methods."""
    return "\n".join([HEAD, *(row(name) for name in sorted(registry.names("attributions")))])


def page(before: str) -> str:
    """Return the page with its table written again."""
    start = before.index(HEAD.partition("\n")[0])
    end = before.index("\n\n", start)
    return before[:start] + table() + before[end:]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
