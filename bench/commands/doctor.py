"""`bench doctor`: what this machine has."""

from __future__ import annotations

import json

import click

from bench.commands._options import DATA, JSON
from bench.terminal import console


@click.command()
@DATA
@JSON
def doctor(as_json: bool) -> None:
    """Say what this machine has, what is missing, and how to get it."""
    from bench.checks.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        console.show_findings(findings)
