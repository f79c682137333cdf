"""`bench submit`: turn a checkpoint into a row on a board.

The repository's files need no edit.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from bench.commands._answers import answer_options, collect
from bench.commands._conversion import show_conversion
from bench.commands._external import attack
from bench.commands._options import DATA, DEVICE, JSON, RESULTS
from bench.core.errors import UsageError
from bench.core.text import printable
from bench.terminal import console
from model_zoo.hub import full

if TYPE_CHECKING:
    from bench.checks.check import Check
    from bench.submission.convert import Answers


@click.group()
def submit() -> None:
    """Submit a model, or the images of an attack.

    The steps for a model are: convert, check, run, publish. ENTRY is the TOML file of an entry, or hub:ORG/REPO.
    `attack` judges perturbed images.
    """


submit.add_command(attack)


@submit.command()
@click.argument("weights", type=click.Path(path_type=Path), metavar="WEIGHTS.safetensors")
@answer_options
def init(weights: Path, **given: Any) -> None:
    """Write the entry for safetensors that have our tensor names already.

    The command asks for values that no option gives.
    """
    from bench.submission.convert import architecture, describe_weights, write_draft

    answers = collect(weights, given)
    architecture(answers.architecture)
    _show_entry(write_draft(answers, describe_weights(weights), weights.parent), answers)


@submit.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT.pth")
@answer_options
@click.option("--table", metavar="KEY", help="Part of the file that holds the network, e.g. ema or state_dict.model.")
@click.option("--drop", multiple=True, metavar="PREFIX", help="Leave out tensor names with this beginning; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for weights and entry (default: runs/NAME).")
def convert(checkpoint: Path, table: str | None, drop: tuple[str, ...], out: Path | None, **given: Any) -> None:
    """Turn a checkpoint into safetensors and an entry.

    The checkpoint may be of PyTorch, TorchScript, ONNX, NumPy or MATLAB. Only tensors are read; no code in the file
    runs.
    """
    from bench.submission.convert import convert as complete
    from bench.submission.convert import misfit
    from model_zoo.foreign.names import read_checkpoint, strip
    from model_zoo.foreign.nature import examine

    read = read_checkpoint(checkpoint, table, drop)
    answers = collect(checkpoint, given, carried=strip(read.tensors)[1])
    converted = complete(read, answers, out or Path("runs") / answers.name, whose=checkpoint.name)
    show_conversion(converted)
    if converted.path is None:
        raise UsageError(misfit(answers, converted, f"{checkpoint} ({examine(checkpoint).what})"))
    _show_entry(converted.path, answers)


def _show_entry(path: Path, answers: Answers) -> None:
    """Print the path of the entry and the values that it lacks."""
    from bench.submission.normalisation import choices

    console.show_text(f"entry: {path}")
    if answers.classes and answers.normalisation is not None:
        console.show_text(f"next: bench run --model file:{shlex.quote(str(path))} --images FOLDER")
    if answers.normalisation is None:
        console.show_text(
            "The entry lacks mean and std, without which nothing can run it: the file does not say what the network "
            f"expects. Find out, and give this command again with {choices(answers.dataset)}."
        )


@submit.command()
@click.argument("entry", metavar="ENTRY")
@click.option("--protocol", metavar="NAME", help="Check with the samples of this protocol.")
@DATA
@DEVICE
@JSON
def check(entry: str, protocol: str | None, device: str, as_json: bool) -> None:
    """Check everything that an accepted model must fulfil.

    The exit code is that of the worst answer.
    """
    from bench.core.compute.machine import pick_device
    from bench.submission.check import check_submission

    found = check_submission(full(entry), device=pick_device(device), protocol=protocol)
    if as_json:
        click.echo(json.dumps([answer._asdict() for answer in found]))
    else:
        show_check_table(found)
    if codes := [answer.exit_code for answer in found if not answer.ok]:
        sys.exit(max(codes))


@submit.command(context_settings={"ignore_unknown_options": True})
@click.argument("entry", metavar="ENTRY")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF bench run]...")
@click.pass_context
def run(context: click.Context, entry: str, options: tuple[str, ...]) -> None:
    """Run `bench run` with this model, after measuring its clean accuracy."""
    from bench.commands.run import run as evaluate

    reference = full(entry)
    with evaluate.make_context("run", ["--model", reference, *options], parent=context) as inner:
        if reference.startswith("file:"):
            from bench.core.compute.machine import pick_device
            from bench.submission.measure import write_accuracy

            device = pick_device(inner.params["device"])
            accuracy = write_accuracy(Path(reference.removeprefix("file:")), device=device).accuracy
            assert accuracy is not None
            click.echo(f"measured: {accuracy.clean:.2%} of {accuracy.images} test images correct", err=True)
        evaluate.invoke(inner)


@submit.command()
@click.argument("entry", metavar="ENTRY.toml")
@click.option("--repo", required=True, metavar="ORG/NAME", help="Repository on the Hub; created if missing.")
@RESULTS
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the published files (default: beside the entry)."
)
@click.option("--dry-run", is_flag=True, help="Write every file, but upload nothing.")
@DATA
@DEVICE
def publish(entry: str, repo: str, results: Path, out: Path | None, dry_run: bool, device: str) -> None:
    """Check the model, upload it and write the pull request's text.

    On the Hub the model gets a card with its numbers.
    """
    from bench.core.compute.machine import pick_device
    from bench.submission.check import check_submission
    from bench.submission.measure import require_accuracy
    from bench.submission.publish import check_repo
    from bench.submission.publish import publish as complete
    from model_zoo.hub import resolve

    check_repo(repo)
    reference = full(entry)
    if not reference.startswith("file:"):
        raise UsageError(f"expected the TOML of an entry to publish, got {entry!r}; name the file")
    checks = check_submission(reference, device=pick_device(device))
    if failed := [answer for answer in checks if not answer.ok]:
        show_check_table(checks)
        sys.exit(max(answer.exit_code for answer in failed))
    found = resolve(reference)
    require_accuracy(found.entry, entry)
    target = out or Path(reference.removeprefix("file:")).parent / "published"
    done = complete(found.entry, found.path, checks, repo=repo, results=results, out=target, dry_run=dry_run)
    console.show_text(done.pull_request.read_text(encoding="utf-8"))
    uploaded = (
        f"uploaded as hub:{repo}@{done.commit}" if done.commit else f"nothing uploaded (dry run); files: {done.folder}"
    )
    console.show_text(f"{uploaded}\npull request: {done.pull_request}")


def show_check_table(checks: Sequence[Check]) -> None:
    """Print the results of a submission's checks as a table."""
    table = Table(title=printable(checks[0].subject), title_justify="left")
    for column in ("check", "", "answer"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("FAILED", "bold red")
        table.add_row(check.question, mark, Text(printable(check.detail)))
    console.out.print(table)
    failed = sum(not check.ok for check in checks)
    console.out.print(f"{len(checks) - failed} of {len(checks)} checks passed")
