"""`bench contest`: two attacks on the same images, model by model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from bench import registry
from bench.commands._options import JSON, RESULTS
from bench.core.errors import UnknownNameError
from bench.terminal import console

if TYPE_CHECKING:
    from leaderboard.comparisons.attacks import Round


@click.command()
@click.argument("first", metavar="ATTACK")
@click.argument("second", metavar="ATTACK")
@click.option("--protocol", required=True, metavar="NAME", help="Whose records.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Repeatable; default: kendall, top-k.")
@RESULTS
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@JSON
def contest(
    first: str, second: str, protocol: str, metrics: tuple[str, ...], results: Path, markdown: bool, as_json: bool
) -> None:
    """Compare two attacks image by image on every model that both were run on.

    ATTACK is NAME, with the protocol's parameters, or NAME:KEY=VALUE,KEY=VALUE. The gain is the mean paired difference:
    how much less the first one leaves; with its 95 % interval (paired bootstrap).
    """
    from leaderboard.comparisons.attacks import Variant
    from leaderboard.comparisons.attacks import contest as rounds_of
    from leaderboard.records.rows import read_runs

    sides = (Variant.parse(first), Variant.parse(second))
    runs = read_runs(results)
    known = {*registry.names("attacks"), *(run.record.spec.attack.name for run in runs)}
    for side in sides:
        if side.name not in known:
            raise UnknownNameError("attacks", side.name, known, "bench list attacks")
    rounds = rounds_of(runs, protocol, *sides, metrics or ("kendall", "topk-intersection"))
    if as_json:
        click.echo(json.dumps([{"protocol": protocol, **asdict(each), "verdict": each.verdict} for each in rounds]))
    elif markdown:
        from leaderboard.data.markdown import contest_table

        click.echo(contest_table(rounds, sides))
    else:
        _show(f"{protocol}: {sides[0]} against {sides[1]}", rounds)


def _show(title: str, rounds: list[Round]) -> None:
    table = Table("model", "metric", "left", "gain", "n", "gradients", "first is", title=title, title_justify="left")
    for each in rounds:
        table.add_row(
            each.model,
            each.metric,
            f"{each.means[0]:.3f}\n{each.means[1]:.3f}",
            f"{each.gain:+.3f}\n[{each.interval[0]:+.3f}, {each.interval[1]:+.3f}]",
            str(each.images),
            f"{each.gradients[0]:.0f}\n{each.gradients[1]:.0f}",
            each.verdict,
        )
    console.out.print(table)
