"""`bench compare`: models of a board, image by image, as its page shows them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import click


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL MODEL [MODEL [MODEL]]")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--protocol", metavar="NAME", help="Whose records; needed if the models share several boards.")
@click.option("--images", type=click.IntRange(min=0), default=5, show_default=True, help="Images to name per direction.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there.")
def compare(models: tuple[str, ...], results: Path, protocol: str | None, images: int, as_json: bool) -> None:
    """Compare two to four models image by image, each under the attack that scores it.

    The lead is the mean of the paired differences in robustness, with its 95 % interval (paired bootstrap).
    """
    from bench.core.errors import UsageError
    from leaderboard.comparison import find_board, pair

    if not 2 <= len(set(models)) <= 4:
        raise UsageError(f"expected two to four models to compare, got {len(set(models))}; name them")
    board, read_rows = find_board(results, models, protocol)
    found = [pair(board, first, second, read_rows) for first, second in combinations(dict.fromkeys(models), 2)]
    if as_json:
        click.echo(json.dumps([one.data() for one in found]))
        return
    from bench.terminal import show_comparison

    for one in found:
        show_comparison(one.data(), images)
