"""`bench list` and `bench show`: print plug-ins."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import click
from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.commands._accuracies import ACCURACIES, accuracies
from bench.commands._options import JSON
from bench.core.errors import BenchError, UnknownNameError, UsageError
from bench.core.text import printable
from bench.terminal import console
from model_zoo.hub import bare

BROKEN = "BROKEN: "
"""Mark in a list before the error of a plug-in that cannot be read."""

KINDS = get_args(registry.Kind)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@JSON
def list_(kind: registry.Kind | None, as_json: bool) -> None:
    """List all plug-ins, such as models, attacks and metrics.

    A broken plug-in is marked, and the exit code is 1.
    """
    kinds = [kind] if kind else list(KINDS)
    found = {k: [_line(k, name) for name in registry.names(k)] for k in kinds}
    if as_json:
        click.echo(json.dumps(found))
    else:
        show_lists(found)
    if any(row["summary"].startswith(BROKEN) for rows in found.values() for row in rows):
        sys.exit(BenchError.exit_code)


def _line(kind: registry.Kind, name: str) -> dict[str, str]:
    """Return the columns of a plug-in in a list, the longest last."""
    try:
        measured = accuracies(registry.load(kind, name)) if kind == "models" else {}
        return {"name": name, **measured, "summary": registry.summary(kind, name)}
    except BenchError as error:
        blank = dict.fromkeys(ACCURACIES, "") if kind == "models" else {}
        return {"name": name, **blank, "summary": f"{BROKEN}{error}"}


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="Needed if plug-ins of several kinds have this name.")
@JSON
def show(name: str, kind: registry.Kind | None, as_json: bool) -> None:
    """Show the values, parameters and source of one plug-in."""
    name = bare(name)
    kinds = [kind] if kind else [k for k in KINDS if name in registry.names(k)]
    if not kinds:
        raise UnknownNameError("plug-ins", name, {n for k in KINDS for n in registry.names(k)}, "bench list")
    if len(kinds) > 1:
        raise UsageError(f"expected a name of one kind, got {name!r} of {', '.join(kinds)}; add --kind")
    content = registry.describe(kinds[0], name)
    if as_json:
        click.echo(json.dumps(content))
    else:
        show_plugin(kinds[0], name, content)


def show_lists(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print one line per plug-in with its name, counts and summary.

    At a terminal the summary is cut at the right edge. A heading names the kind if there are several kinds.
    """
    for kind, rows in found.items():
        if len(found) > 1:
            console.out.print(Text(kind, "bold underline"))
        heads = list(rows[0]) if rows else ["name"]
        lines = [heads, *([printable(str(value), keep="") for value in row.values()] for row in rows)]
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        for index, cells in enumerate(lines):
            padded = map(set_cell_size, cells[:-1], widths)
            line = Text("  ".join([*padded, cells[-1]]), "" if index else "bold")
            line.truncate(console.out.width, overflow="ellipsis")
            console.out.print(line)


def show_plugin(kind: str, name: str, content: Mapping[str, Any]) -> None:
    """Print the details of a plug-in."""
    console.out.print(Text.assemble((name, "bold"), f" ({kind})"))
    table = Table(show_header=False, show_edge=False, box=None)
    for key, value in content.items():
        if key == "parameters":
            for number, (parameter, said) in enumerate(value.items()):
                line = Text.assemble(f"{parameter}: {said['value']}", (f"\n  {said['meaning']}", "dim"))
                table.add_row("" if number else key, line)
        else:
            text = value if isinstance(value, str) else _compact(value)
            table.add_row(Text(printable(key)), Text(printable(text)))
    console.out.print(table)


def _compact(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"
