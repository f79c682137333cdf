"""`bench compare`: compare models or two attacks, image by image."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from bench import registry
from bench.commands._options import JSON, RESULTS
from bench.core.errors import UnknownNameError, UsageError
from bench.terminal import console

if TYPE_CHECKING:
    from leaderboard.comparisons.attacks import Round, Variant
    from leaderboard.comparisons.models import Comparison


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="MODEL MODEL [MODEL [MODEL]] | ATTACK ATTACK")
@click.option("--attacks", is_flag=True, help="Compare two attacks on every model that both were run on.")
@RESULTS
@click.option(
    "--protocol", metavar="NAME", help="Protocol of the records (default: the first board that has all the models)."
)
@click.option("--against", metavar="NAME", help="Protocol of the second attack's records; only with --attacks.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Repeatable; only with --attacks.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table; only with --attacks.")
@JSON
def compare(
    names: tuple[str, ...],
    attacks: bool,
    results: Path,
    protocol: str | None,
    against: str | None,
    metrics: tuple[str, ...],
    markdown: bool,
    as_json: bool,
) -> None:
    """Compare two to four models, or two attacks, image by image.

    Models: each is compared under the attack that gives its score. The lead is the mean of the paired differences in
    robustness, with its 95 % interval (Student's, paired).

    Attacks (--attacks --protocol NAME): ATTACK is NAME, with the protocol's parameters, or NAME:KEY=VALUE,KEY=VALUE.
    The gain is the mean paired difference, with its 95 % interval (paired bootstrap): how much lower the metric is
    under the first attack. An image that lost its class counts as unmoved; the gain without such images stands beside.
    """
    if attacks:
        return _attacks(names, (protocol, against), metrics, results, markdown=markdown, as_json=as_json)
    if metrics or markdown or against:
        raise UsageError("expected --attacks beside --against, --metric and --markdown; add it, or leave them out")
    return _models(names, protocol, results, as_json=as_json)


def _models(models: tuple[str, ...], protocol: str | None, results: Path, *, as_json: bool) -> None:
    from leaderboard.boards.standings import boards
    from leaderboard.comparisons.models import compare as of_pair
    from leaderboard.comparisons.models import find_board
    from leaderboard.records.rows import read_rows, read_runs
    from model_zoo.hub import bare

    names = [bare(name) for name in dict.fromkeys(models)]
    if not 2 <= len(names) <= 4:
        raise UsageError(f"expected two to four models to compare, got {len(names)}; name them")
    board = find_board(boards(read_runs(results)), names, protocol)
    found = [of_pair(board, first, second, read_rows) for first, second in combinations(names, 2)]
    if as_json:
        click.echo(json.dumps([{"protocol": board.protocol.key, **pair.data} for pair in found]))
    else:
        _show_leads(board.protocol.key, board.spec.primary_metric, found)


def _attacks(
    names: tuple[str, ...],
    protocols: tuple[str | None, str | None],
    metrics: tuple[str, ...],
    results: Path,
    *,
    markdown: bool,
    as_json: bool,
) -> None:
    protocol, against = protocols
    from leaderboard.comparisons.attacks import Variant, contest
    from leaderboard.records.rows import read_runs

    if len(names) != 2 or protocol is None:
        came = f"{len(names)} and {'no protocol' if protocol is None else protocol}"
        raise UsageError(f"expected two attacks and --protocol with --attacks, got {came}; name them")
    sides = (Variant.parse(names[0]), Variant.parse(names[1]))
    runs = read_runs(results)
    known = {*registry.names("attacks"), *(run.record.spec.attack.name for run in runs)}
    for side in sides:
        if side.name not in known:
            raise UnknownNameError("attacks", side.name, known, "bench list attacks")
    rounds = contest(runs, protocol, *sides, metrics or ("kendall", "topk-intersection"), against=against)
    if as_json:
        click.echo(json.dumps([{"protocol": protocol, **asdict(each), "verdict": each.verdict} for each in rounds]))
    elif markdown:
        from leaderboard.data.markdown import contest_table

        click.echo(contest_table(rounds, _titles(sides, protocol, against)))
    else:
        first, second = _titles(sides, protocol, against)
        _show_gains(f"{first} against {second}" if against else f"{protocol}: {first} against {second}", rounds)


def _titles(sides: tuple[Variant, Variant], protocol: str, against: str | None) -> tuple[str, str]:
    first, second = map(str, sides)
    return (f"{first} of {protocol}", f"{second} of {against}") if against else (first, second)


def _show_leads(protocol: str, metric: str, found: list[Comparison]) -> None:
    table = Table(
        "pair", "lead", "95 % interval", "more robust on", title=f"{protocol}: {metric}", title_justify="left"
    )
    for pair in found:
        low, high = pair.interval
        table.add_row(
            f"{pair.first.entry.name} over {pair.second.entry.name}",
            f"{pair.mean:+.3f}",
            f"[{low:+.3f}, {high:+.3f}]",
            f"{pair.wins[0]}, {pair.wins[1]} of {len(pair.images)}",
        )
    console.out.print(table)
    if len(found) == 1:
        for leader, images in zip((found[0].first, found[0].second), found[0].extremes, strict=True):
            for image in images:
                where = f"{image.sample_id} ({image.label})"
                console.out.print(f"{leader.entry.name} leads on {where}: {abs(image.gain):.3f}", markup=False)


def _show_gains(title: str, rounds: list[Round]) -> None:
    heads = ("model", "metric", "left", "gain", "n", "class kept", "gradients", "first is")
    table = Table(*heads, title=title, title_justify="left")
    for each in rounds:
        table.add_row(
            each.model,
            each.metric,
            f"{each.means[0]:.3f}\n{each.means[1]:.3f}",
            f"{each.gain:+.3f}\n[{each.interval[0]:+.3f}, {each.interval[1]:+.3f}]",
            str(each.images),
            _kept(each),
            f"{each.gradients[0]:.0f}\n{each.gradients[1]:.0f}",
            each.verdict,
        )
    console.out.print(table)


def _kept(each: Round) -> str:
    """Return the gain over images that kept their class twice.

    They kept it under both attacks.
    """
    if each.kept_gain is None or each.kept_interval is None:
        return "no image"
    low, high = each.kept_interval
    return f"{each.kept_gain:+.3f}\n[{low:+.3f}, {high:+.3f}]\nn {each.kept_images}"
