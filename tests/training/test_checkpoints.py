"""Damaged and foreign checkpoints are refused.

A foreign checkpoint belongs to another recipe, other data or another parent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.core.errors import IntegrityError, UsageError
from model_zoo.build import classifier
from model_zoo.training import loop
from model_zoo.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from model_zoo.training.data import partition
from tests.support.tiny import tiny_network
from tests.support.trainings import CPU, made, random_split, recipe, training

IDENTITIES = {
    "natural-wrn28-1": "5cf96dd2e40689eb6f8d7ab6a3cf60c94c41f555640c110418d75b6e99f5cda4",
    "pgd-wrn28-1": "921b93a9c60258bd33067fba97e08031da20d9f659f04f75103d0d8663d18be2",
}
"""Of recipes whose weights or checkpoints exist."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    training(recipe(epochs=0.5)).save(tmp_path / "checkpoint.safetensors")
    return tmp_path / "checkpoint.safetensors"


@pytest.mark.parametrize("change", [{"seed": 1}, {"weight_decay": 0.1}, {"objective": "pgd"}, {"epochs": 3}])
def test_a_checkpoint_of_another_recipe_is_refused(checkpoint: Path, change: dict[str, Any]) -> None:
    training(recipe(epochs=0.5)).resume(checkpoint)
    with pytest.raises(UsageError, match="expected a checkpoint of this recipe"):
        training(recipe(**({"epochs": 0.5} | change))).resume(checkpoint)


def test_a_checkpoint_of_other_data_is_refused(checkpoint: Path) -> None:
    other = training(recipe(epochs=0.5))
    other.data.train.images[0, 0, 0, 0] += 1
    with pytest.raises(UsageError, match="expected a checkpoint of this data"):
        other.resume(checkpoint)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: b"\x00" * len(content),
        lambda content: b"not a checkpoint at all",
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: content.replace(b'\\"step\\"', b'\\"stop\\"'),
        lambda content: content.replace(b'\\"recipe\\"', b'\\"recipy\\"'),
        lambda content: content.replace(b"model.stem", b"model.stim"),
    ],
    ids=["empty", "one byte short", "half", "zeros", "text", "one bit", "no step", "no recipe", "other weights"],
)
def test_a_damaged_checkpoint_is_an_integrity_error(checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
    intact = checkpoint.read_bytes()
    checkpoint.write_bytes(damage(intact))
    assert checkpoint.read_bytes() != intact
    with pytest.raises(IntegrityError, match="expected a checkpoint in"):
        training(recipe(epochs=0.5)).resume(checkpoint)


def test_a_checkpoint_of_another_parent_is_refused(tmp_path: Path) -> None:
    def child(seed: int) -> loop.Training:
        network = tiny_network(seed, num_classes=3)
        model = classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        data = partition(random_split(34), recipe())
        return loop.begin(recipe(), model, data, made(recipe()), CPU, parent=True)

    path = tmp_path / "checkpoint.safetensors"
    child(0).save(path)
    child(0).resume(path)
    with pytest.raises(UsageError, match="expected a checkpoint of this parent"):
        child(1).resume(path)
    with pytest.raises(UsageError, match="expected a checkpoint of this parent"):
        training(recipe()).resume(path)


def test_a_checkpoint_that_does_not_name_its_parent_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training(recipe()).save(path)
    tensors, state = read_checkpoint(path)
    del state["parent"]
    write_checkpoint(path, Checkpoint(tensors, state))
    training(recipe()).resume(path)


@pytest.mark.parametrize("name", IDENTITIES)
def test_the_identity_of_a_used_recipe_never_changes(name: str) -> None:
    assert registry.load("recipes", name).identity == IDENTITIES[name]
