"""`bench train`: a recipe to weights and an entry."""

from __future__ import annotations

from pathlib import Path

import click

from bench import registry
from bench.commands._options import DATA, DEVICE
from bench.terminal import console


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of checkpoints and weights; default runs/RECIPE.")
@click.option("--resume", is_flag=True, help="Continue the checkpoint in the folder, where there is one.")
@DATA
@DEVICE
def train(recipe: str, out: Path | None, resume: bool, device: str) -> None:
    """Train a model by a recipe (a name, or a TOML file), measure it on the test set, and write its entry."""
    from model_zoo.training.loop import CHECKPOINT
    from model_zoo.training.train import train as complete

    loaded = registry.load("recipes", recipe)
    folder = out or Path("runs") / loaded.name

    def kept() -> str:
        if (folder / CHECKPOINT).exists():
            return f"the last checkpoint is kept in {folder}: --resume continues it"
        return "before the first checkpoint, so nothing is kept: the same command begins again"

    with console.TrainingProgress(loaded.name, kept) as progress:
        trained = complete(loaded, folder, resume=resume, device=device, progress=progress)
    console.show_trained(trained.entry, trained.path)
