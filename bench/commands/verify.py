"""`bench verify`: check that models and records are as they claim."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from bench import registry
from bench.commands._options import DATA, DEVICE, JSON
from bench.core.errors import UsageError, suggestion
from bench.core.text import printable
from bench.terminal import console

if TYPE_CHECKING:
    from bench.checks.check import Check


@click.command()
@click.argument("subjects", nargs=-1, metavar="[MODEL | RESULTS]...")
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Check every registered model; models that cannot be fetched are skipped.",
)
@click.option("--flags", "renew", is_flag=True, help="First compute the flags of the records again; no number changes.")
@click.option("--repository", is_flag=True, help="Check entries and RESULTS (default: results) as for a pull request.")
@click.option("--base", metavar="COMMIT", help="With --repository: records since COMMIT are write-once.")
@click.option("--against", metavar="AGAIN", help="Compare RESULTS with repeated runs in the folder AGAIN.")
@DATA
@DEVICE
@JSON
def verify(
    subjects: tuple[str, ...],
    every: bool,
    renew: bool,
    repository: bool,
    base: str | None,
    against: str | None,
    device: str,
    as_json: bool,
) -> None:
    """Check models or a folder of records.

    For a model: check hash and size of its weights, and measure its clean accuracy again. For a record: check path,
    hashes and sample ids, and compute means, intervals and flags again from the rows.

    With --repository also check: the schema of every entry; no weights under two names; no run filed twice; the model
    of every record is registered. With --base also check: no record, weights or protocol changed or removed.

    With --against: check that repeated runs of the same specs agree. Make them on another machine with `bench run
    --results AGAIN`. If they agree, a note is filed beside the first run, and the board shows a badge.
    """
    if base is not None and not repository:
        raise UsageError("expected --repository beside --base, got --base alone; add it")
    if repository and against is not None:
        raise UsageError("expected --repository or --against, got both; give one")
    if (repository or against is not None) and (every or renew):
        raise UsageError("expected --all and --flags without --repository and --against, got both; give one")
    if repository:
        from bench.checks.repository import validate

        checks = validate(_folder(subjects, "results"), base)
    elif against is not None:
        from bench.checks.second_run import confirm

        checks = confirm(_folder(subjects, None), _folder([against], None))
    else:
        checks = _each(subjects, every=every, renew=renew, device=device)
    if as_json:
        click.echo(json.dumps([check._asdict() for check in checks]))
    else:
        show_checks(checks)
    if codes := [check.exit_code for check in checks if not check.ok]:
        sys.exit(max(codes))


def _each(subjects: tuple[str, ...], *, every: bool, renew: bool, device: str) -> list[Check]:
    """Return the checks of the named models and folders."""
    from bench.checks.derived_flags import derive_anew
    from bench.checks.models import verify_model
    from bench.core.compute.machine import pick_device

    models = [f"hub:{name}" for name in registry.names("models")] if every else []
    if not subjects and not models:
        raise UsageError("expected models or a results folder to verify, got nothing; name one, or add --all")
    where = pick_device(device)
    found: list[Check] = []
    for model in models:
        found.extend(verify_model(model, device=where, skip=True))
    for subject in subjects:
        if Path(subject).is_dir():
            for run in derive_anew(Path(subject)) if renew else ():
                names = ", ".join(flag.name for flag in run.record.flags) or "none"
                click.echo(f"{run.path.relative_to(subject)}: flags now {names}", err=True)
            found.extend(_records(Path(subject)))
        else:
            found.extend(verify_model(_model(subject), device=where))
    return found


def _records(folder: Path) -> list[Check]:
    """Return the checks of a folder's runs and studies."""
    from bench.checks.records import verify_results
    from bench.checks.studies import verify_studies

    studies = verify_studies(folder)
    only_studies = studies and not any(folder.glob("*/*/*/*.json"))
    return studies if only_studies else [*verify_results(folder), *studies]


def _folder(subjects: Sequence[str], default: str | None) -> Path:
    """Return the one folder of records that was named."""
    named = list(subjects) or ([] if default is None else [default])
    if len(named) != 1 or not Path(named[0]).is_dir():
        came = ", ".join(named) or "nothing"
        raise UsageError(f"expected one folder of records, got {came}; name one that exists")
    return Path(named[0])


def _model(subject: str) -> str:
    """Return a word as the reference of a model."""
    from model_zoo.hub import full

    known = registry.names("models")
    if ":" in subject or subject in known or subject.endswith(".toml"):
        return full(subject)
    meant = suggestion(subject, known) or "correct the path, or see bench list models"
    raise UsageError(f"expected a folder of records or a model, got {subject!r}, which is neither here; {meant}")


def show_checks(checks: Sequence[Check]) -> None:
    """Print the results of a verification."""
    for check in checks:
        mark = ("ok    ", "green") if check.ok else ("FAILED", "bold red")
        if check.skipped:
            mark = ("skip  ", "yellow")
        console.out.print(
            Text.assemble(mark, printable(f" {check.subject}: {check.question}: {check.detail}")), soft_wrap=True
        )
    failed, skipped = sum(not check.ok for check in checks), sum(check.skipped for check in checks)
    passed = f"{len(checks) - failed - skipped} of {len(checks)} checks passed"
    console.out.print(f"{passed}, {skipped} skipped" if skipped else passed)
