"""`bench submit`: from a checkpoint to a row on a board, without editing a file of the repository."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.commands._options import DATA, DEVICE, JSON, RESULTS, read_parameters
from bench.core.errors import UsageError
from bench.terminal import console
from model_zoo.hub import full

if TYPE_CHECKING:
    from bench.submission.convert import Answers

ANSWERS: tuple[Callable[[Any], Any], ...] = (
    click.option("--name", help="Name of the model; default: the file's."),
    click.option("--title", default="", help="One line on the model."),
    click.option("--architecture", help="One of `bench list architectures`."),
    click.option("--set", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the architecture."),
    click.option("--dataset", default="cifar10", show_default=True),
    click.option("--mean", default="", metavar="R,G,B", help="In pixel units; 0,0,0 if the network takes raw pixels."),
    click.option("--std", default="", metavar="R,G,B"),
    click.option("--method", help="How it was trained: natural, pgd, art, …"),
    click.option("--epsilon", metavar="8/255", help="Radius of the training's adversary, in pixel units."),
    click.option("--license", "license_", metavar="SPDX", help="Licence of the weights, such as MIT."),
    click.option("--citation", default="", help="What to cite: text, or a .bib file."),
    click.option("--source", default="", metavar="URL", help="Paper or code."),
    click.option("--clean", type=click.FloatRange(0, 1), help="Clean test accuracy that you claim, such as 0.9321."),
    click.option("--images", default=10_000, show_default=True, help="Test images on which it was measured."),
)


@click.group()
def submit() -> None:
    """Submit a model: convert, check, run, publish. ENTRY is an entry's TOML file, or hub:ORG/REPO."""


def _answers(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(ANSWERS):
        command = option(command)
    return command


@submit.command()
@click.argument("weights", type=click.Path(path_type=Path), metavar="WEIGHTS.safetensors")
@_answers
def init(weights: Path, **given: Any) -> None:
    """Write the entry of safetensors that already have our names; asks for what no flag says."""
    from bench.submission.convert import describe_weights, draft
    from model_zoo.weights_file import write_entry

    described = describe_weights(weights)
    path = write_entry(draft(_collect(weights, given), described), weights.parent)
    console.show_text(f"entry: {path}")


@submit.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT.pth")
@_answers
@click.option("--table", metavar="KEY", help="Where in the file's nested dictionaries the network is, such as ema.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for weights and entry; default runs/NAME.")
def convert(checkpoint: Path, table: str | None, out: Path | None, **given: Any) -> None:
    """Turn a .pt or .pth state dict into safetensors and an entry; reads tensors only, runs no code of the file."""
    from bench.submission.convert import convert as complete

    answers = _collect(checkpoint, given)
    converted = complete(checkpoint, answers, out or Path("runs") / answers.name, table=table)
    console.show_conversion(converted)
    if converted.path is None:
        missing, unexpected = len(converted.report.missing), len(converted.report.unexpected)
        raise UsageError(
            f"expected every tensor of {answers.architecture} in {checkpoint} and no other, got {missing} missing and "
            f"{unexpected} unexpected ones; choose another --architecture, --set or --table"
        )
    console.show_text(f"entry: {converted.path}")


@submit.command()
@click.argument("entry", metavar="ENTRY")
@click.option("--protocol", metavar="NAME", help="Ask about this protocol's samples.")
@DATA
@DEVICE
@JSON
def check(entry: str, protocol: str | None, device: str, as_json: bool) -> None:
    """Ask all that a model must answer before it is accepted; the exit code is that of the worst answer."""
    from bench.core.compute.machine import pick_device
    from bench.submission.check import check_submission

    found = check_submission(full(entry), device=pick_device(device), protocol=protocol)
    if as_json:
        click.echo(json.dumps([answer._asdict() for answer in found]))
    else:
        console.show_check_table(found)
    if codes := [answer.exit_code for answer in found if not answer.ok]:
        sys.exit(max(codes))


@submit.command(context_settings={"ignore_unknown_options": True})
@click.argument("entry", metavar="ENTRY")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF bench run]...")
@click.pass_context
def run(context: click.Context, entry: str, options: tuple[str, ...]) -> None:
    """Evaluate the model under a protocol: `bench run` with this model."""
    from bench.commands.run import run as evaluate

    with evaluate.make_context("run", ["--model", full(entry), *options], parent=context) as inner:
        evaluate.invoke(inner)


@submit.command()
@click.argument("entry", metavar="ENTRY.toml")
@click.option("--repo", required=True, metavar="ORG/NAME", help="Repository on the Hub; made if it is not there.")
@RESULTS
@click.option("--out", type=click.Path(path_type=Path), help="Folder for what is published; default beside the entry.")
@click.option("--dry-run", is_flag=True, help="Write every file, upload none.")
@DATA
@DEVICE
def publish(entry: str, repo: str, results: Path, out: Path | None, dry_run: bool, device: str) -> None:
    """Check the model, upload it to the Hub with a card of its numbers, and write the pull request's text."""
    from bench.core.compute.machine import pick_device
    from bench.submission.check import check_submission
    from bench.submission.publish import check_repo
    from bench.submission.publish import publish as complete
    from model_zoo.hub import resolve

    check_repo(repo)
    reference = full(entry)
    if not reference.startswith("file:"):
        raise UsageError(f"expected the TOML of an entry to publish, got {entry!r}; name the file")
    checks = check_submission(reference, device=pick_device(device))
    if failed := [answer for answer in checks if not answer.ok]:
        console.show_check_table(checks)
        sys.exit(max(answer.exit_code for answer in failed))
    found = resolve(reference)
    target = out or Path(reference.removeprefix("file:")).parent / "published"
    done = complete(found.entry, found.path, checks, repo=repo, results=results, out=target, dry_run=dry_run)
    console.show_text(done.pull_request.read_text(encoding="utf-8"))
    uploaded = (
        f"uploaded as hub:{repo}@{done.commit}" if done.commit else f"nothing uploaded (dry run); files: {done.folder}"
    )
    console.show_text(f"{uploaded}\npull request: {done.pull_request}")


def _collect(file: Path, given: dict[str, Any]) -> Answers:
    """Return the answers that the flags give, and ask a person at a terminal for the others."""
    from bench.submission.convert import Answers

    license_, citation = _asked(given["license_"], "license", "MIT"), given["citation"]
    return Answers(
        name=given["name"] or re.sub("[^a-z0-9.]+", "-", file.stem.lower()).strip("-."),
        title=given["title"],
        architecture=_asked(given["architecture"], "architecture", "wide-resnet"),
        params=read_parameters(given["params"]),
        dataset=given["dataset"],
        mean=_numbers(given["mean"], "--mean"),
        std=_numbers(given["std"], "--std"),
        method=_asked(given["method"], "method", "natural"),
        epsilon=given["epsilon"],
        license=license_,
        citation=_citation(citation),
        source=given["source"],
        clean=given["clean"],
        images=given["images"],
    )


def _asked(value: str | None, what: str, suggestion: str) -> str:
    if value is not None:
        return value
    if not sys.stdin.isatty():
        raise UsageError(f"expected --{what}, got none and nobody to ask; add --{what}, such as {suggestion}")
    return str(click.prompt(what, default=suggestion, err=True))


def _citation(text: str) -> str:
    if not text.endswith(".bib"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"expected a BibTeX file at {text}, got: {error}; correct --citation") from None


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",")) if text else ()
    except ValueError:
        raise UsageError(f"expected {option} as numbers with commas, such as 0.5,0.5,0.5, got {text!r}") from None
