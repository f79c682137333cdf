"""A time limit decides the number of epochs.

The number follows from the costs of one probe, and is not below the minimum of the recipe.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import UsageError
from bench.core.schemas.recipe import Recipe
from model_zoo.training import budget, loop
from model_zoo.training.budget import Pace, TooShort, fitted, probe
from model_zoo.training.train import Terms, train
from tests.support.trainings import quiet, recipe, same_tensors, training

PACE = Pace(step=1.0, image_step=0.01)
EPOCH = 4 * 1.0 + (10 + 11 * 4) * 0.01
"""Four steps; ten held-out images once and four of them under ten steps of PGD."""
TEST = 50 * 42 * 0.01


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "probe", lambda *_: PACE)


@pytest.mark.usefixtures("paced")
@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_as_many_epochs_as_the_costs_allow(epochs: int) -> None:
    wanted = recipe(epochs=7)
    assert training(wanted).per_epoch == 4
    exactly = (TEST + epochs * EPOCH) / 0.95
    assert fitted(wanted, training(wanted), exactly + 1e-6, 50).epochs == epochs
    assert fitted(wanted, training(wanted), exactly + 0.9 * EPOCH / 0.95, 50).epochs == epochs, "whole epochs"
    assert fitted(wanted, training(wanted), exactly + 1e-6, 50).seed == wanted.seed


@pytest.mark.usefixtures("paced")
def test_less_than_an_epoch_is_for_recipes_of_less() -> None:
    whole, part = recipe(epochs=1), recipe(epochs=0.5)
    half = (TEST + 0.5 * EPOCH) / 0.95
    with pytest.raises(
        TooShort, match=r"about 27s or more for one epoch of tiny and its measurement, got 24s; allow more"
    ):
        fitted(whole, training(whole), half, 50)
    assert fitted(part, training(part), half, 50).epochs == pytest.approx(0.5)
    with pytest.raises(UsageError, match="for one step of tiny"):
        fitted(part, training(part), TEST, 50)


def test_a_probe_times_steps_and_looks_at_the_clock() -> None:
    watched = training(recipe())
    pace = probe(watched, seconds=20)
    assert watched.step >= budget.STEPS
    assert pace.image_step > 0
    assert pace.step > 0
    assert pace.step * watched.step >= 0.2, "a hundredth of the budget"


def test_a_probe_leaves_no_trace_in_the_training(
    tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare a training with a budget and one with given epochs."""
    plain = tiny_recipe.validation.model_copy(update={"stop_at_accuracy": None})
    wanted = tiny_recipe.model_copy(update={"validation": plain})
    probed: list[int] = []

    def three(recipe: Recipe, training: loop.Training, seconds: float, _: int) -> Recipe:
        probe(training, seconds=0.1)
        probed.append(training.step)
        return recipe.model_copy(update={"epochs": 3})

    monkeypatch.setattr("model_zoo.training.train.fitted", three)
    timed = train(wanted, tmp_path / "timed", Terms(device="cpu", budget=90), quiet).entry
    assert probed[0] >= budget.STEPS
    assert timed.training.epochs == 3
    assert timed.training.differs == "everything; 3 epochs, which fit into 1.5m, in place of 6"
    told = train(wanted.model_copy(update={"epochs": 3}), tmp_path / "told", Terms(device="cpu"), quiet).entry
    assert told.weights == timed.weights
    assert told.training.differs == "everything"


def test_a_checkpoint_keeps_the_epochs_that_a_budget_fixed(tmp_path: Path) -> None:
    told = recipe(epochs=2)
    begun = training(told)
    begun.budget = 60.0
    begun.save(tmp_path / loop.CHECKPOINT)
    assert loop.as_begun(recipe(epochs=7), tmp_path / loop.CHECKPOINT) == told
    resumed = training(loop.as_begun(recipe(epochs=7), tmp_path / loop.CHECKPOINT))
    resumed.resume(tmp_path / loop.CHECKPOINT)
    assert (resumed.steps, resumed.budget) == (8, 60.0)
    same_tensors(resumed.run(tmp_path, quiet), training(told).run(tmp_path / "other", quiet))
    training(told).save(tmp_path / "plain")
    assert loop.as_begun(recipe(epochs=7), tmp_path / "plain") == recipe(epochs=7), "nobody fixed them"
