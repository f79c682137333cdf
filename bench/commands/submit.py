"""`bench submit`: turn a checkpoint into a row on a board.

The repository's files need no edit.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table
from rich.text import Text

from bench.commands._conversion import show_conversion
from bench.commands._external import attack
from bench.commands._options import DATA, DEVICE, JSON, RESULTS, read_parameters
from bench.core.errors import UsageError
from bench.core.text import printable
from bench.terminal import console
from model_zoo.hub import full

if TYPE_CHECKING:
    from bench.checks.verify import Check
    from bench.core.schemas.geometry import Geometry
    from bench.submission.convert import Answers
    from model_zoo.foreign.names import Normalisation

ANSWERS: tuple[Callable[[Any], Any], ...] = (
    click.option("--name", help="Name of the model (default: the name of the file)."),
    click.option("--title", default="", help="One line about the model."),
    click.option("--architecture", help="An architecture from `bench list architectures`."),
    click.option("--set", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the architecture."),
    click.option("--dataset", default="cifar10", show_default=True),
    click.option(
        "--classes",
        metavar="NAMES",
        help="Classes of images of your own, in the order of the network's outputs: cat,dog, a text file with one per "
        "line, or the folder that it was trained on (its folders in alphabetical order).",
    ),
    click.option(
        "--size", metavar="SIZE", help="With --classes: size of its images, such as 224 or 256:224 (resized, then cut)."
    ),
    click.option(
        "--mean",
        default="",
        metavar="NAME",
        help="Normalisation that the network expects: none (pixels in [0, 1]), half, grey-levels (0 to 255), "
        "imagenet, the data set's name, or R,G,B with --std; a checkpoint may carry its own.",
    ),
    click.option("--std", default="", metavar="R,G,B", help="Standard deviation in pixel units, with --mean R,G,B."),
    click.option("--method", help="How it was trained: natural, pgd, art, …"),
    click.option("--epsilon", metavar="8/255", help="Radius of the training's adversary, in pixel units."),
    click.option("--license", metavar="SPDX", help="Licence of the weights, e.g. MIT."),
    click.option("--citation", default="", help="What to cite: text, or a .bib file."),
    click.option("--source", default="", metavar="URL", help="Paper or code."),
    click.option("--clean", type=click.FloatRange(0, 1), help="Clean accuracy that the authors claim, e.g. 0.9321."),
    click.option(
        "--images", type=click.IntRange(min=1), help="Number of test images on which the authors measured it."
    ),
)


WANTED = {
    "architecture": "one of bench list architectures",
    "method": "how it was trained, such as natural, pgd or art",
    "license": "of the weights, such as MIT; ask their authors where none is stated",
}
"""Answers that only a person can give, with their meaning."""


@click.group()
def submit() -> None:
    """Submit a model, or the images of an attack.

    The steps for a model are: convert, check, run, publish. ENTRY is the TOML file of an entry, or hub:ORG/REPO.
    `attack` judges perturbed images.
    """


submit.add_command(attack)


def _answers(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(ANSWERS):
        command = option(command)
    return command


@submit.command()
@click.argument("weights", type=click.Path(path_type=Path), metavar="WEIGHTS.safetensors")
@_answers
def init(weights: Path, **given: Any) -> None:
    """Write the entry for safetensors that have our tensor names already.

    The command asks for values that no option gives.
    """
    from bench.submission.convert import architecture, describe_weights, write_draft

    answers = _collect(weights, given)
    architecture(answers.architecture)
    _show_entry(write_draft(answers, describe_weights(weights), weights.parent), answers)


@submit.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), metavar="CHECKPOINT.pth")
@_answers
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
    answers = _collect(checkpoint, given, carried=strip(read.tensors)[1])
    converted = complete(read, answers, out or Path("runs") / answers.name, whose=checkpoint.name)
    show_conversion(converted)
    if converted.path is None:
        raise UsageError(misfit(answers, converted, f"{checkpoint} ({examine(checkpoint).what})"))
    _show_entry(converted.path, answers)


def _show_entry(path: Path, answers: Answers) -> None:
    """Print the path of the entry and the values that it lacks."""
    from bench.submission.normalisation import choices

    console.show_text(f"entry: {path}")
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


def _collect(file: Path, given: dict[str, Any], carried: Normalisation | None = None) -> Answers:
    """Return the answers from the options, and ask for the missing ones.

    Questions are asked only at a terminal.
    """
    from bench.submission.convert import Answers
    from bench.submission.normalisation import choices, parse

    own = _of_own_images(given)
    normalisation = parse(given["mean"], given["std"], given["dataset"])
    wanted = {key: meaning for key, meaning in WANTED.items() if given[key] is None}
    if normalisation is None and carried is None:
        wanted["mean"] = f"what the network expects: {choices(given['dataset'])}"
    if sys.stdin.isatty():
        given |= {key: click.prompt(f"{key} ({meaning})", err=True) for key, meaning in wanted.items()}
        normalisation = normalisation or parse(given["mean"], given["std"], given["dataset"])
    elif wanted.keys() & WANTED.keys():
        options = ", ".join(f"--{key}" for key in wanted)
        raise UsageError(
            f"expected {options}, got none; add " + ", ".join(f"--{key} ({meaning})" for key, meaning in wanted.items())
        )
    return Answers(
        name=given["name"] or re.sub("[^a-z0-9.]+", "-", file.stem.lower()).strip("-."),
        title=given["title"],
        architecture=given["architecture"],
        params=read_parameters(given["params"]),
        dataset=given["dataset"],
        classes=own,
        geometry=_geometry(given["size"], normalisation or carried, own),
        normalisation=normalisation or carried,
        method=given["method"],
        epsilon=given["epsilon"],
        license=given["license"],
        citation=_citation(given["citation"]),
        source=given["source"],
        clean=given["clean"],
        images=given["images"],
    )


def _of_own_images(given: dict[str, Any]) -> tuple[str, ...]:
    """Return the classes that `--classes` names, and fill in answers.

    Nobody else gets such a network, so that its training and licence need no answer.
    """
    if given["classes"] is None:
        return ()
    from bench.images.classes import read_names

    names = read_names(given["classes"])
    if click.get_current_context().get_parameter_source("dataset") == ParameterSource.DEFAULT:
        given["dataset"] = names.dataset
    given["method"], given["license"] = given["method"] or "unknown", given["license"] or "none given"
    return names.classes


def _geometry(size: str | None, normalisation: Normalisation | None, classes: Sequence[str]) -> Geometry | None:
    """Return the size of a network's images, if it is given."""
    if size is None:
        return None
    if not classes:
        raise UsageError("expected --classes beside --size, got --size alone; a registered data set has its own size")
    from bench.images.geometry import read_size

    return read_size(size, 3 if normalisation is None else len(normalisation.mean))


def _citation(text: str) -> str:
    if not text.endswith(".bib"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"expected a BibTeX file at {text}, got: {error}; correct --citation") from None


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
