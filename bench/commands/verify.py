"""`bench verify`: whether models and records are what they say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from bench import registry
from bench.commands._options import DATA, DEVICE, JSON
from bench.core.errors import UsageError, suggestion
from bench.terminal import console


@click.command()
@click.argument("subjects", nargs=-1, metavar="[MODEL | RESULTS_FOLDER]...")
@click.option("--all", "every", is_flag=True, help="Every registered model.")
@click.option("--flags", "anew", is_flag=True, help="First derive the records' flags anew; no number changes.")
@DATA
@DEVICE
@JSON
def verify(subjects: tuple[str, ...], every: bool, anew: bool, device: str, as_json: bool) -> None:
    """Check models (hash, size, clean accuracy measured again) or a folder of records (hashes, recomputed means)."""
    from bench.checks.derived_flags import derive_anew
    from bench.checks.verify import verify_model, verify_results
    from bench.core.compute.machine import pick_device

    models = [f"hub:{name}" for name in registry.names("models")] if every else []
    if not subjects and not models:
        raise UsageError("expected models or a results folder to verify, got nothing; name one, or add --all")
    found = []
    for subject in [*models, *subjects]:
        if Path(subject).is_dir():
            for run in derive_anew(Path(subject)) if anew else ():
                names = ", ".join(flag.name for flag in run.record.flags) or "none"
                click.echo(f"{run.path.relative_to(subject)}: flags now {names}", err=True)
            found.extend(verify_results(Path(subject)))
        else:
            found.extend(verify_model(_model(subject), device=pick_device(device)))
    if as_json:
        click.echo(json.dumps([check._asdict() for check in found]))
    else:
        console.show_checks(found)
    if codes := [check.exit_code for check in found if not check.ok]:
        sys.exit(max(codes))


def _model(subject: str) -> str:
    """Return what is no folder as the reference of a model."""
    from model_zoo.hub import full

    known = registry.names("models")
    if ":" in subject or subject in known or subject.endswith(".toml"):
        return full(subject)
    meant = suggestion(subject, known) or "correct the path, or see bench list models"
    raise UsageError(f"expected a folder of records or a model, got {subject!r}, which is neither here; {meant}")
