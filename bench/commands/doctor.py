"""`bench doctor`: what this machine has."""

from __future__ import annotations

import json

import click

from bench import terminal
from bench.commands._options import DATA, JSON


@click.command()
@DATA
@JSON
def doctor(as_json: bool) -> None:
    """Say what this machine has, what is missing, and how to get it."""
    from bench.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        terminal.show_findings(findings)
