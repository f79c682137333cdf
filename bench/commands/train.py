"""`bench train`: turn recipes into weights and entries."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.commands._accuracies import accuracies
from bench.commands._options import DATA, DEVICE, DURATION
from bench.core.errors import BenchError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.terminal import console
from bench.terminal.progress import TrainingProgress

if TYPE_CHECKING:
    from bench.core.schemas.recipe import Recipe
    from model_zoo.training.train import Terms


@click.command()
@click.argument("recipe", metavar="RECIPE", required=False)
@click.option(
    "--queue", type=click.Path(path_type=Path), help="TOML file with several recipes, the most important first."
)
@click.option(
    "--budget", type=DURATION, help="Time limit, e.g. 150m; decides the number of epochs, or the end of a queue."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for checkpoints and weights (default: runs/RECIPE)."
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in the folder, if there is one.")
@click.option("--rehearse", is_flag=True, help="Try everything with one step on a few images, and keep nothing.")
@DATA
@DEVICE
@click.option("--gpu", "device", flag_value="cuda", help="The same as --device cuda.")
def train(
    recipe: str | None,
    queue: Path | None,
    budget: float | None,
    out: Path | None,
    resume: bool,
    rehearse: bool,
    device: str,
) -> None:
    """Train a model by a recipe.

    The command then measures the model on the test set and writes its entry. RECIPE is a name or a TOML file. With
    --budget the command first times a few steps to find how many epochs fit; the learning rate schedule covers these
    epochs. A queue always resumes: it trains in order until the time is over and exports the finished models.
    """
    from model_zoo.training.train import Terms

    if (recipe is None) == (queue is None):
        came = "none" if recipe is None else f"{recipe} and --queue"
        raise UsageError(f"expected a RECIPE or --queue FILE, got {came}; `bench list recipes` shows them")
    terms = Terms(device=device, resume=resume and not rehearse, budget=None if queue else budget, rehearsal=rehearse)
    with TemporaryDirectory() if rehearse else nullcontext(out) as chosen:
        folder = Path(chosen) if chosen else None
        if queue is not None:
            _train_queue(queue, folder or Path("runs") / queue.stem, budget or math.inf, terms)
        elif recipe is not None:
            _train_one(registry.load("recipes", recipe), folder, terms)


def _train_one(recipe: Recipe, out: Path | None, terms: Terms) -> None:
    from model_zoo.training.train import train as complete

    folder = out or Path("runs") / recipe.name
    with _progress(recipe, folder) as progress:
        trained = complete(recipe, folder, terms, progress)
    show_trained(trained.entry, trained.path)


def _train_queue(queue: Path, folder: Path, seconds: float, terms: Terms) -> None:
    from model_zoo.training.queue import read_queue, train_queue

    failed = []
    for outcome in train_queue(read_queue(queue), folder, seconds=seconds, terms=terms, progress=_progress):
        measured = [] if outcome.entry is None else map(" ".join, accuracies(outcome.entry).items())
        words = ", ".join(filter(None, (outcome.state, outcome.text, *measured)))
        console.out.print(f"{outcome.recipe.name}: {words}", soft_wrap=True)
        failed += [outcome.recipe.name] if outcome.state == "failed" else []
    if failed:
        raise BenchError(f"expected every training to end well, got failures of {', '.join(failed)}; see above")


def _progress(recipe: Recipe, folder: Path) -> TrainingProgress:
    from model_zoo.training.loop import CHECKPOINT

    def kept() -> str:
        if (folder / CHECKPOINT).exists():
            return f"the last checkpoint is kept in {folder}: --resume continues it"
        return "before the first checkpoint, so nothing is kept: the same command begins again"

    return TrainingProgress(recipe.name, kept)


def show_trained(entry: ModelEntry, path: Path) -> None:
    """Print the accuracies that a finished training measured."""
    console.out.print(f"{entry.name}: {accuracies(entry)}")
    console.out.print(f"entry: {path}", soft_wrap=True)
