"""A queue of trainings runs in order and can be continued.

Time ends a queue, and it trains parents that are missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import bench as command
from bench.core.errors import ModelOutputError, UsageError
from bench.core.schemas.recipe import Recipe
from model_zoo.training import loop
from model_zoo.training.queue import Outcome, read_queue, train_queue
from model_zoo.training.train import Terms
from tests.support.trainings import quiet

Turns = list[tuple[Recipe, float | None]]


@pytest.fixture
def turns(tiny_recipe: Recipe) -> Turns:
    """A parent, its child, and one that stands alone."""
    parent = tiny_recipe.model_copy(update={"name": "elder", "model": "elder", "epochs": 2})
    child = tiny_recipe.model_copy(update={"name": "heir", "model": "heir", "parent": "elder", "epochs": 1})
    return [(parent, None), (child, None), (tiny_recipe.model_copy(update={"epochs": 1}), None)]


def run(turns: Turns, folder: Path, seconds: float = math.inf, *, rehearsal: bool = False) -> list[Outcome]:
    shown = lambda *_: nullcontext(quiet)  # noqa: E731
    return list(
        train_queue(turns, folder, seconds=seconds, terms=Terms(device="cpu", rehearsal=rehearsal), progress=shown)
    )


def test_a_child_starts_from_the_parent_that_the_queue_made_and_nothing_is_done_twice(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(turns, tmp_path)
    assert [outcome.state for outcome in first] == ["finished"] * 3
    entries = [outcome.entry for outcome in first]
    assert [entry.parent for entry in entries if entry] == [None, "elder", None]
    assert all((tmp_path / r.name / f"{r.model}.safetensors").exists() for r, _ in turns)
    monkeypatch.setattr(loop.Training, "one_step", lambda _: pytest.fail("a finished training was begun again"))
    assert [outcome.entry for outcome in run(turns, tmp_path)] == entries


def test_the_clock_cuts_at_a_checkpoint_and_the_same_queue_goes_on(turns: Turns, tmp_path: Path) -> None:
    whole = run(turns, tmp_path / "whole")
    assert [outcome.state for outcome in run(turns, tmp_path / "cut", seconds=0)] == ["not begun"] * 3
    ticks = iter([0.0, 0.0])  # the queue's, and its look at what is left; then a step each
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("model_zoo.training.queue.time.monotonic", lambda: next(ticks, 100.0))
        patched.setattr("model_zoo.training.loop.time.monotonic", counted())
        states = run(turns, tmp_path / "cut", seconds=5.5)
    assert [outcome.state for outcome in states] == ["begun", "not begun", "not begun"]
    assert "a checkpoint is in" in states[0].text
    assert states[1].text == "its parent elder is not finished"
    resumed = run(turns, tmp_path / "cut")
    assert [o.entry and o.entry.weights for o in resumed] == [o.entry and o.entry.weights for o in whole]


def counted() -> object:
    """A clock that goes on by a second at each look."""
    seconds: Iterator[int] = iter(range(10**6))
    return lambda: float(next(seconds))


def test_a_rehearsal_does_everything_on_a_few_images(turns: Turns, tmp_path: Path) -> None:
    timed: Turns = [(recipe, 1e-3) for recipe, _ in turns]
    outcomes = run(timed, tmp_path, rehearsal=True)
    assert [outcome.state for outcome in outcomes] == ["finished"] * 3
    entries = [outcome.entry for outcome in outcomes if outcome.entry]
    assert [entry.parent for entry in entries] == [None, "elder", None]
    assert {entry.accuracy and entry.accuracy.images for entry in entries} == {30}, "ten of each class, of three each"
    assert {entry.training.epochs for entry in entries} == {0.2}, "one step of five"


def test_the_command_keeps_nothing_of_a_rehearsal(tiny_recipe: Recipe, tmp_path: Path) -> None:
    assert tiny_recipe.name == "tiny"
    before = sorted(tmp_path.rglob("*"))
    arguments = ["train", str(tmp_path / "tiny.toml"), "--rehearse", "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "tiny-cnn: " in done.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_training_does_not_keep_the_others_from_theirs(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = loop.Training.run

    def diverging(self: loop.Training, *arguments: object) -> object:
        if self.recipe.name == "elder":
            raise ModelOutputError("expected a finite training loss, got nan")
        return healthy(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Training, "run", diverging)
    outcomes = run(turns, tmp_path)
    assert [outcome.state for outcome in outcomes] == ["failed", "not begun", "finished"]
    assert outcomes[0].text == "expected a finite training loss, got nan"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            '[[trainings]]\nrecipe = "natural-wrn28"',
            "expected the name of one of the recipes, got 'natural-wrn28'; did",
        ),
        (
            '[[trainings]]\nrecipe = "natural-wrn28-1"\nbudget = "9"',
            "expected a duration such as 90s, 9m or 2.5h, got '9'",
        ),
        ('[[trainings]]\nrecipe = "natural-wrn28-1"\n' * 2, "expected each model once, got natural-wrn28 again"),
        ('[[trainings]]\nrecipe = "pgd-wrn28-4"', "expected a recipe of natural-wrn28-4 before pgd-wrn28-4"),
        ("trainings = []", "trainings"),
        ('recipe = "natural-wrn28-1"', "recipe"),
    ],
)
def test_a_queue_that_cannot_be_trained_is_refused_before_anything_begins(
    text: str, error: str, tmp_path: Path
) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"zoo\.toml: .*") as caught:
        read_queue(path)
    assert error in str(caught.value)
    done = CliRunner().invoke(command, ["train", "--queue", str(path), "--out", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert not (tmp_path / "out").exists()


def test_a_queue_may_start_from_a_registered_parent(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    path.write_text('[[trainings]]\nrecipe = "pgd-wrn28-1"\nbudget = "2m"\n[[trainings]]\nrecipe = "art-wrn28-1"\n')
    assert [(r.name, budget) for r, budget in read_queue(path)] == [("pgd-wrn28-1", 120.0), ("art-wrn28-1", None)]


@pytest.mark.parametrize("words", [[], ["natural-wrn28-1", "--queue", "zoo.toml"]])
def test_the_command_takes_a_recipe_or_a_queue(words: list[str]) -> None:
    done = CliRunner().invoke(command, ["train", *words])
    assert isinstance(done.exception, UsageError)
    assert "expected a RECIPE or --queue FILE, got" in str(done.exception)
