"""Run trainings in order of worth until a time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from bench import registry
from bench.core.errors import BenchError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.queue import Queue
from bench.core.schemas.recipe import Recipe
from bench.core.storage.toml import parse_toml
from model_zoo.training.budget import TooShort
from model_zoo.training.loop import OutOfTime, Progress
from model_zoo.training.train import Terms, train

Show = Callable[[Recipe, Path], AbstractContextManager[Progress]]


class Outcome(NamedTuple):
    """The result of one training of a queue."""

    recipe: Recipe
    state: Literal["finished", "begun", "not begun", "failed"]
    text: str = ""
    entry: ModelEntry | None = None


def read_queue(path: Path) -> list[tuple[Recipe, float | None]]:
    """Return the recipes of a queue file and their budgets in seconds.

    Raises:
        UsageError: if the file or a recipe is none, a recipe comes twice, or a parent is nowhere.
    """
    turns: list[tuple[Recipe, float | None]] = []
    for turn in parse_toml(path, Queue).trainings:
        try:
            recipe: Recipe = registry.load("recipes", turn.recipe)
        except UsageError as error:
            raise UsageError(f"{path.name}: trainings: {error}") from None
        made = {earlier.model for earlier, _ in turns}
        if recipe.model in made:
            raise UsageError(f"{path.name}: trainings: expected each model once, got {recipe.model} again; delete one")
        _find_parent(recipe, made, path)
        turns.append((recipe, turn.budget))
    return turns


def _find_parent(recipe: Recipe, made: set[str], path: Path) -> None:
    parent = recipe.parent
    if parent is None or ":" in parent or parent in made or parent in registry.names("models"):
        return
    raise UsageError(
        f"{path.name}: trainings: expected a recipe of {parent} before {recipe.name}, whose parent it is, got none; "
        "put it there"
    )


def train_queue(
    turns: list[tuple[Recipe, float | None]],
    folder: Path,
    *,
    seconds: float,
    terms: Terms,
    progress: Show,
) -> Iterator[Outcome]:
    """Train in order until the time is over.

    Trainings that an earlier call finished are kept; trainings that it began are continued.

    Args:
        turns: what `read_queue` returned.
        folder: of one folder per recipe.
        seconds: after which the training at work is cut, at a checkpoint.
        terms: of all trainings; each has its own budget.
        progress: from a recipe and its folder to what shows its progress.
    Yields:
        One outcome per recipe. After a training that fails, or whose parent is not finished, comes the next one.
    """
    deadline, entries, own = time.monotonic() + seconds, dict[str, Path](), {recipe.model for recipe, _ in turns}
    for recipe, budget in turns:
        its_own = replace(terms, resume=True, budget=budget, deadline=deadline, parents=entries)
        outcome = _turn(recipe, folder / recipe.name, its_own, progress, own)
        if outcome.state == "finished":
            entries[recipe.model] = folder / recipe.name / f"{recipe.model}.toml"
        yield outcome


def _turn(recipe: Recipe, folder: Path, terms: Terms, progress: Show, own: set[str]) -> Outcome:
    exported, left = folder / f"{recipe.model}.toml", terms.deadline - time.monotonic()
    if exported.exists():
        return Outcome(recipe, "finished", "earlier", parse_toml(exported, ModelEntry))
    orphan = recipe.parent in own and recipe.parent not in terms.parents
    if orphan or left <= 0:
        reason = f"its parent {recipe.parent} is not finished" if orphan else "the time is over"
        return Outcome(recipe, "not begun", reason)
    within = terms if terms.budget is None else replace(terms, budget=min(terms.budget, left))
    try:
        with progress(recipe, folder) as shown:
            return Outcome(recipe, "finished", entry=train(recipe, folder, within, shown).entry)
    except OutOfTime as error:
        return Outcome(recipe, "begun", str(error))
    except BenchError as error:
        late = isinstance(error, TooShort) and within != terms
        return Outcome(recipe, "not begun" if late else "failed", str(error))
