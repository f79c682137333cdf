"""`bench confirm`: a second run of the same spec agrees with the first, or it does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bench.commands._options import JSON


@click.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("again", type=click.Path(path_type=Path, exists=True, file_okay=False))
@JSON
def confirm(results: Path, again: Path, as_json: bool) -> None:
    """Compare the runs in RESULTS with second runs of the same specs in AGAIN, and note beside the first who agrees.

    The board shows the note as a badge. Run again with `bench run --results AGAIN` on another machine; a model, not a
    file, must be what agrees.
    """
    from bench.checks.second_run import confirm as compare
    from bench.terminal.console import show_checks

    checks = compare(results, again)
    if as_json:
        click.echo(json.dumps([check._asdict() for check in checks]))
    else:
        show_checks(checks)
    if codes := [check.exit_code for check in checks if not check.ok]:
        sys.exit(max(codes))
