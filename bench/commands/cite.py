"""`bench cite`: the BibTeX of models, or of all models with records."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands._options import RESULTS


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@RESULTS
def cite(models: tuple[str, ...], results: Path) -> None:
    """Print the BibTeX of models.

    Without MODELS, print all models that have records in RESULTS.
    """
    from bench import registry
    from leaderboard.boards.standings import boards
    from leaderboard.data.latex import bibliography, citations
    from leaderboard.records.rows import read_runs
    from model_zoo.hub import bare

    if models:
        entries = [registry.load("models", bare(name)) for name in models]
        click.echo(citations(entries), nl=False)
    else:
        click.echo(bibliography(boards(read_runs(results))), nl=False)
