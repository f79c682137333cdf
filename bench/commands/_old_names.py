"""Hidden commands with the names from before version 0.2.

The next version removes them.
"""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands._options import JSON, RESULTS
from bench.commands.compare import compare
from bench.commands.verify import verify


@click.command(hidden=True)
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--base", metavar="COMMIT")
@JSON
@click.pass_context
def validate(context: click.Context, results: Path, base: str | None, as_json: bool) -> None:
    """Now `bench verify --repository`."""
    context.invoke(verify, subjects=(str(results),), repository=True, base=base, device="auto", as_json=as_json)


@click.command(hidden=True)
@click.argument("results")
@click.argument("again")
@JSON
@click.pass_context
def confirm(context: click.Context, results: str, again: str, as_json: bool) -> None:
    """Now `bench verify RESULTS --against AGAIN`."""
    context.invoke(verify, subjects=(results,), against=again, device="auto", as_json=as_json)


@click.command(hidden=True)
@click.argument("attacks", nargs=2)
@click.option("--protocol", required=True)
@click.option("--metric", "metrics", multiple=True)
@RESULTS
@click.option("--markdown", is_flag=True)
@JSON
@click.pass_context
def contest(
    context: click.Context,
    attacks: tuple[str, str],
    protocol: str,
    metrics: tuple[str, ...],
    results: Path,
    markdown: bool,
    as_json: bool,
) -> None:
    """Now `bench compare --attacks`."""
    context.invoke(
        compare,
        names=attacks,
        attacks=True,
        results=results,
        protocol=protocol,
        metrics=metrics,
        markdown=markdown,
        as_json=as_json,
    )
