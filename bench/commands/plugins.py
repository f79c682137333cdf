"""`bench list` and `bench show`: what there is."""

from __future__ import annotations

import json
import sys
from typing import get_args

import click

from bench import registry
from bench.commands._options import JSON
from bench.core.errors import BenchError, UnknownNameError, UsageError
from bench.terminal import console
from model_zoo.hub import bare

BROKEN = "BROKEN: "
"""What stands in a list before the error of a plug-in that cannot be read."""

KINDS = get_args(registry.Kind)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@JSON
def list_(kind: registry.Kind | None, as_json: bool) -> None:
    """List plug-ins: models, attacks, metrics, attributions, protocols and more; marks broken ones (exit code 1)."""
    kinds = [kind] if kind else list(KINDS)
    found = {k: [_line(k, name) for name in registry.names(k)] for k in kinds}
    if as_json:
        click.echo(json.dumps(found))
    else:
        console.show_lists(found)
    if any(row["summary"].startswith(BROKEN) for rows in found.values() for row in rows):
        sys.exit(BenchError.exit_code)


def _line(kind: registry.Kind, name: str) -> dict[str, str]:
    """Return what a list says of a plug-in, the longest last."""
    try:
        measured = console.accuracies(registry.load(kind, name)) if kind == "models" else {}
        return {"name": name, **measured, "summary": registry.summary(kind, name)}
    except BenchError as error:
        blank = dict.fromkeys(console.ACCURACIES, "") if kind == "models" else {}
        return {"name": name, **blank, "summary": f"{BROKEN}{error}"}


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="Needed if several kinds have the name.")
@JSON
def show(name: str, kind: registry.Kind | None, as_json: bool) -> None:
    """Show one model, protocol, recipe, attack, metric, …: its values, its parameters, its source."""
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
        console.show_plugin(kinds[0], name, content)
