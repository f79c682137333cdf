"""A recipe file becomes weights and an entry that loads.

The data is a tiny image set.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from bench import registry
from bench.cli import bench as command
from bench.core.errors import Busy, EnvironmentFault, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.recipe import Recipe
from bench.core.storage.lease import lease
from bench.core.storage.toml import parse_toml
from bench.data.usps import Usps
from model_zoo.build import build
from model_zoo.tensors import export_weights
from model_zoo.training import loop
from model_zoo.training import train as training
from model_zoo.training.data import to_float
from model_zoo.training.measure import accuracy
from model_zoo.training.train import Terms, Trained, train
from model_zoo.weights_file import Resolved
from tests.support.tiny import residual_content

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tiny_recipe: Recipe) -> Recipe:
    return tiny_recipe


def complete(recipe: Recipe, folder: Path, *, resume: bool = False) -> Trained:
    return train(recipe, folder, Terms(device="cpu", resume=resume), lambda *_: None)


def test_the_entry_says_what_was_done_and_its_weights_are_as_accurate_as_it_says(
    recipe: Recipe, tmp_path: Path
) -> None:
    trained = complete(recipe, tmp_path / "out")
    entry = parse_toml(trained.path, ModelEntry, name="tiny-cnn")
    assert entry == trained.entry
    assert (entry.training.recipe, entry.training.method, entry.training.differs) == ("tiny", "pgd", "everything")
    assert str(entry.epsilon) == "1/20"
    assert (entry.mean, entry.num_classes) == (Usps.mean, 10)
    weights = tmp_path / "out" / entry.weights.file
    assert weights.stat().st_size == entry.weights.size
    model = build(entry, registry.load("architectures", "small-cnn"), weights, device=CPU)
    test = Usps().load("test")
    assert entry.accuracy is not None
    assert entry.accuracy.images == 30
    assert entry.training.epochs is not None
    assert entry.training.epochs < 6, "the held-out accuracy ends it"
    assert entry.accuracy.clean == pytest.approx(accuracy(model, to_float(test.images), test.labels, device=CPU))
    assert entry.accuracy.clean > 0.8


def test_an_entry_counts_the_epochs_that_were_trained(recipe: Recipe, tmp_path: Path) -> None:
    early = recipe.validation.model_copy(update={"stop_at_accuracy": 0.01})
    assert complete(recipe.model_copy(update={"validation": early}), tmp_path / "out").entry.training.epochs == 1


def test_a_parent_of_other_classes_gives_all_but_its_last_layer(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = registry.load("architectures", "small-cnn")(7, **recipe.architecture.params)
    weights = export_weights(theirs, tmp_path / "elder.safetensors")
    content = residual_content(tmp_path) | {"num_classes": 7, "weights": weights.model_dump(exclude_none=True)}
    elder = ModelEntry.model_validate(content | {"architecture": recipe.architecture.model_dump()})
    monkeypatch.setattr(training, "resolve", lambda *_: Resolved(elder, "zoo:elder", tmp_path / "elder.safetensors"))
    heir = recipe.model_copy(update={"parent": "zoo:elder"})
    one, two = (training._network(heir, 10, {}).state_dict() for _ in range(2))
    for name, weight in theirs.state_dict().items():
        if name.startswith("head."):
            assert one[name].shape[0] == 10
        else:
            torch.testing.assert_close(one[name], weight, rtol=1e-3, atol=1e-6)
        assert torch.equal(one[name], two[name]), "the new layer must come from the recipe's seed"
    same = heir.model_copy(update={"seed": 1})
    assert not torch.equal(training._network(same, 10, {}).state_dict()["head.weight"], one["head.weight"])


def test_a_finished_training_is_not_overwritten_and_resumes_to_the_same_weights_without_a_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tell = lambda text, *_: said.append(text)  # noqa: E731
    first = train(recipe, tmp_path / "out", Terms(device="cpu", resume=True), tell).entry
    assert said[0].startswith("no checkpoint in ")
    with pytest.raises(UsageError, match="continue it with --resume"):
        complete(recipe, tmp_path / "out")
    monkeypatch.setattr(loop.Training, "one_step", lambda _: pytest.fail("a finished step was done again"))
    assert complete(recipe, tmp_path / "out", resume=True).entry.weights == first.weights


def test_two_processes_never_train_in_one_folder(recipe: Recipe, tmp_path: Path) -> None:
    with lease(tmp_path / "out" / "training.lease"), pytest.raises(Busy, match="held by another process"):
        complete(recipe, tmp_path / "out")
    complete(recipe, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.lease"))


def test_the_command_trains_a_recipe_file(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["train", str(tmp_path / "tiny.toml"), "--out", str(out), "--device", "cpu"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "tiny-cnn" in done.output
    assert (out / "tiny-cnn.safetensors").exists()
    assert (out / "metrics.csv").read_text().startswith("epoch,step,loss,accuracy\n1.0,")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dataset": "usp"}, "did you mean 'usps'"),
        ({"architecture": {"name": "small-cnn", "params": {"side": 17}}}, "multiple of 4, got 17"),
        ({"architecture": {"name": "small-cnn", "params": {"width": 1}}}, "width"),
        ({"objective": {"name": "pgd", "params": {"steps": 1}}}, "expected the key 'epsilon'"),
        ({"validation": {"images": 60}}, "expected more than 6 images of class 0"),
        ({"batch_size": 100}, "one batch of 100 training images, got 50"),
    ],
)
def test_a_recipe_that_cannot_be_trained_says_why(
    change: dict[str, object], error: str, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=error):
        complete(Recipe.model_validate(recipe.model_dump(mode="json") | change), tmp_path / "out")


def test_a_folder_that_cannot_be_written_is_the_environments_fault(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="choose a writable folder"):
        complete(recipe, tmp_path / "file")
