"""`bench export`: write one download file of the leaderboard, without the pages."""

from __future__ import annotations

from pathlib import Path

import click

from bench.commands._options import RESULTS


@click.command()
@click.argument("name", metavar="FILE", default="standings.csv")
@RESULTS
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file (default: stdout).")
def export(name: str, results: Path, out: Path | None) -> None:
    """Write one file of the site's data folder, byte for byte.

    FILE is standings.csv (a line per model), pairs.csv (per pair), attacks.csv (per attack and budget),
    leaderboard.csv (per run, sample set and metric), leaderboard.json (everything), models.bib or <protocol>.tex.
    """
    from bench.core.storage.files import write_atomic
    from leaderboard.build import exported

    content = exported(results, name)
    if out is None:
        click.echo(content, nl=False)
    else:
        write_atomic(out, content)
        click.echo(f"{out}: {len(content)} bytes", err=True)
