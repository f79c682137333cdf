"""`bench export`: the files that the leaderboard offers for download, without building its pages."""

from __future__ import annotations

from pathlib import Path

import click

TABLES = ("standings", "pairs", "leaderboard")
FORMATS = ("csv", "json", "latex", "bibtex", "markdown")


@click.command()
@click.argument("table", type=click.Choice(TABLES), default="standings")
@click.option("--format", "form", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option("--protocol", metavar="NAME", help="Only this protocol's records.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file in place of stdout.")
def export(table: str, form: str, protocol: str | None, results: Path, out: Path | None) -> None:
    """Write a table of RESULTS: the standings of models, their pairs, or the means of every run.

    csv holds the table; json the whole board and every record in full; latex, markdown and bibtex the boards for
    papers. Each is byte for byte the file of the built site.
    """
    from bench.core.files import write_atomic
    from leaderboard.build import exported

    content = exported(results, table, form, protocol)
    if out is None:
        click.get_binary_stream("stdout").write(content)
    else:
        write_atomic(out, content)
        click.echo(f"{out}: {len(content)} bytes", err=True)
