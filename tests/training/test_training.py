"""Trainings resume exactly and depend only on the seed.

They end where the recipe says, and refuse settings that do not fit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Split, Student
from bench.core.errors import ModelOutputError, UsageError
from model_zoo.training import loop
from model_zoo.training.data import hold_out
from tests.support.trainings import OBJECTIVES, made, quiet, random_split, recipe, same_tensors, training


class PowerCutError(Exception):
    """What a killed process looks like from inside."""


class UntilCut(Objective):
    """An objective during whose last allowed call the power fails."""

    def __init__(self, inner: Objective, calls: int) -> None:
        self.inner, self.calls = inner, calls

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        if not self.calls:
            raise PowerCutError
        self.calls -= 1
        return self.inner.loss(student, images, labels, rng=rng)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_training_cut_anywhere_and_resumed_ends_with_the_same_bits(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    wanted = recipe(objective)
    undisturbed = training(wanted)
    weights = undisturbed.run(tmp_path / "undisturbed", quiet)
    steps = undisturbed.steps
    assert steps == 10
    for cut in (1, undisturbed.per_epoch, undisturbed.per_epoch + 2, steps - 1):
        folder = tmp_path / f"cut {cut}"
        with pytest.raises(PowerCutError):
            training(wanted, UntilCut(made(wanted), cut)).run(folder, quiet)
        resumed = training(wanted)
        resumed.resume(folder / "checkpoint.safetensors")
        assert resumed.step == cut
        same_tensors(resumed.run(folder, quiet), weights)
        same_tensors(dict(resumed.network.state_dict()), dict(undisturbed.network.state_dict()))
        assert [row["step"] for row in resumed.history] == [row["step"] for row in undisturbed.history]
        assert [row["accuracy"] for row in resumed.history] == [row["accuracy"] for row in undisturbed.history]


def test_a_resumed_history_reports_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    undisturbed = training(recipe())
    undisturbed.run(tmp_path / "undisturbed", quiet)
    with pytest.raises(PowerCutError):
        training(recipe(), UntilCut(made(recipe()), 6)).run(tmp_path / "cut", quiet)
    resumed = training(recipe())
    resumed.resume(tmp_path / "cut" / "checkpoint.safetensors")
    resumed.run(tmp_path / "cut", quiet)
    assert (tmp_path / "cut" / "metrics.csv").read_text() == (tmp_path / "undisturbed" / "metrics.csv").read_text()


def test_training_depends_on_the_seed_and_on_it_alone(tmp_path: Path) -> None:
    first, again, other = (training(recipe(seed=seed)).run(tmp_path, quiet) for seed in (0, 0, 1))
    same_tensors(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])


class Recorder(Objective):
    """Natural training that remembers the images it was given."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        self.seen += [image.contiguous().numpy().tobytes() for image in images]
        return F.cross_entropy(student.model(images), labels)


def test_an_epoch_meets_every_image_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    recorder, plain = Recorder(), {"crop_padding": 0, "flip": False}
    training(recipe(epochs=2, augmentation=plain), recorder).run(tmp_path, quiet)
    first, second = recorder.seen[:24], recorder.seen[24:]
    assert len(set(first)) == len(first) == len(second) == 24
    assert set(first) == set(second)
    assert first != second


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_frozen_statistics_stay(objective: str, tmp_path: Path) -> None:
    frozen = training(recipe(objective, batch_norm="frozen", epochs=0.5))
    before = {k: v.clone() for k, v in frozen.network.state_dict().items()}
    frozen.run(tmp_path, quiet)
    after = frozen.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name)
    assert not torch.equal(after["head.weight"], before["head.weight"])


def test_fewer_images_than_a_batch_are_refused() -> None:
    training(recipe(batch_size=24))
    with pytest.raises(UsageError, match=r"one batch of 25 training images, got 24 images; lower"):
        training(recipe(batch_size=25))


def test_a_class_too_small_to_hold_out_from_is_refused() -> None:
    labels = torch.tensor([0] * 20 + [1] * 4 + [2] * 20)
    split = Split(random_split(44).images, labels)
    hold_out(split, 9, Rng(0))
    with pytest.raises(UsageError, match=r"more than 4 images of class 1, .* got 4; lower the recipe's validation"):
        hold_out(split, 12, Rng(0))
    with pytest.raises(UsageError, match=r"of class 1, .* got 0"):
        hold_out(Split(split.images[:40], labels[labels != 1]), 10, Rng(0))


class Scripted(loop.Training):
    """A training whose epochs end with the accuracies of a script."""

    script: tuple[float, ...] = ()

    def end_epoch(self, loss: float) -> None:
        super().end_epoch(loss)
        value = self.script[len(self.history) - 1]
        self.history[-1] |= {"accuracy": value, "pgd_accuracy": value}


@pytest.mark.parametrize(
    ("validation", "script", "epochs"),
    [
        ({"stop_at_accuracy": 0.6}, (0.3, 0.5, 0.6, 0.7), 3),
        ({"stop_at_accuracy": 0.6}, (0.3, 0.5, 0.5, 0.5), 4),
        ({"stop_at_collapse": True}, (0.1, 0.3, 0.15, 0.4), 4),
        ({"stop_at_collapse": True}, (0.1, 0.3, 0.14, 0.4), 3),
        ({}, (0.9, 0.1, 0.9, 0.0), 4),
    ],
)
def test_a_training_ends_where_its_recipe_says_also_after_a_resume(
    validation: dict[str, object], script: tuple[float, ...], epochs: int, tmp_path: Path
) -> None:
    wanted = recipe(epochs=4, validation={"images": 10, "pgd_images": 4} | validation)
    watched = training(wanted)
    watched.__class__ = Scripted
    vars(watched)["script"] = script
    weights = watched.run(tmp_path, quiet)
    assert watched.step == epochs * watched.per_epoch
    resumed = training(wanted)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    same_tensors(resumed.run(tmp_path, quiet), weights)
    assert resumed.step == watched.step


@pytest.mark.parametrize("wish", [{"stop_at_collapse": True}, {"select": "pgd_accuracy"}])
def test_what_pgd_accuracy_decides_needs_images_for_it(wish: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected pgd_images above 0"):
        recipe(validation={"images": 10} | wish)


def test_a_loss_that_is_not_finite_stops_the_training_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelOutputError, match=r"expected a finite training loss, got (nan|inf) at step"):
        training(recipe(schedule={"peak": 1e30})).run(tmp_path, quiet)
    assert not (tmp_path / "checkpoint.safetensors").exists()
