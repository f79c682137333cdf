"""`bench doctor`: check this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.text import Text

from bench.commands._options import DATA, JSON
from bench.terminal import console

if TYPE_CHECKING:
    from bench.checks.doctor import Finding


@click.command()
@DATA
@JSON
def doctor(as_json: bool) -> None:
    """Print what this machine has, what is missing and its remedy."""
    from bench.checks.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        show_findings(findings)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the results of `bench doctor`."""
    for finding in findings:
        mark = ("ok     ", "green") if finding.ok else ("missing", "bold yellow")
        text = f" {finding.subject}: {finding.detail}" + ("" if finding.ok else f"; {finding.remedy}")
        console.out.print(Text.assemble(mark, text), soft_wrap=True)
