"""`bench validate`: what a pull request with a model or records must be, before anybody reads it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bench.commands._options import JSON


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--base", metavar="COMMIT", help="Also check what changed since COMMIT: records are write-once.")
@JSON
def validate(results: Path, base: str | None, as_json: bool) -> None:
    """Check entries and RESULTS as the repository takes them.

    Every entry: schema, and the hash and size of embedded weights. Every record: schema, place, hashes, sample ids,
    means, intervals and flags computed again from the rows. Across both: no weights under two names, no run filed
    twice, every record's model registered. With --base: no record, weights or protocol changed or removed; flags alone
    may be derived anew.
    """
    from bench.checks.repository import validate as check
    from bench.terminal.console import show_checks

    checks = check(results, base)
    if as_json:
        click.echo(json.dumps([one._asdict() for one in checks]))
    else:
        show_checks(checks)
    if codes := [one.exit_code for one in checks if not one.ok]:
        sys.exit(max(codes))
