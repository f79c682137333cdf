"""`bench compare`: models of a board, image by image, as its page shows them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from bench.commands._options import JSON, RESULTS
from bench.terminal import console

if TYPE_CHECKING:
    from leaderboard.comparisons.models import Comparison


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL [MODEL [MODEL]]")
@RESULTS
@click.option("--protocol", metavar="NAME", help="Whose records; default: the first board that has all the models.")
@JSON
def compare(models: tuple[str, ...], results: Path, protocol: str | None, as_json: bool) -> None:
    """Compare two to four models image by image, each under the attack that scores it.

    The lead is the mean of the paired differences in robustness, with its 95 % interval (Student's, paired).
    """
    from bench.core.errors import UsageError
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
        _show(board.protocol.key, board.spec.primary_metric, found)


def _show(protocol: str, metric: str, found: list[Comparison]) -> None:
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
