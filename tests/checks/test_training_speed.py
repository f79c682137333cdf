"""`bench speed --train` times the steps of a recipe.

It prints images per second and the share of the convolutions.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import torch

from bench import registry
from bench.checks import training_speed
from bench.checks.stopwatch import Stopwatch
from bench.checks.training_speed import measure_training
from model_zoo.training.loop import Training
from tests.support.commands import invoke

CPU = torch.device("cpu")


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink the batches of recipes to ten images."""
    load = registry.load

    def loaded(kind: registry.Kind, name: str) -> Any:
        plugin = load(kind, name)
        return plugin.model_copy(update={"batch_size": 10}) if kind == "recipes" else plugin

    monkeypatch.setattr(registry, "load", loaded)


@pytest.mark.usefixtures("small_batches")
def test_the_rate_is_that_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Training.one_step

    def slow(self: Training) -> torch.Tensor:
        time.sleep(0.5)
        return whole(self)

    monkeypatch.setattr(Training, "one_step", slow)
    row = measure_training("n-0.1-small-cnn", Stopwatch(CPU, repeats=1))
    assert row.batch_size / (0.5 + 20) < row.images_per_second < row.batch_size / 0.5
    assert row.epoch_seconds == pytest.approx(50_000 / row.images_per_second)


def test_a_network_without_convolutions_has_no_share_of_them_and_others_have() -> None:
    shares = [measure_training(name, Stopwatch(CPU, repeats=1)).convolution_share for name in RECIPES]
    assert shares[0] == 0
    assert 0.2 < shares[1] < 1


RECIPES = ("natural-mnist-linear", "n-0.1-small-cnn")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("able", [False, True])
def test_bfloat16_is_for_processors_that_have_it(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = lambda _: able  # noqa: E731
    monkeypatch.setattr(training_speed, "has_bfloat16", asked)
    monkeypatch.setattr("model_zoo.training.loop.has_bfloat16", asked)
    training = training_speed._training("n-0.1-small-cnn", CPU)
    dtypes: list[torch.dtype] = []
    training.network.get_submodule("head").register_forward_hook(lambda *passed: dtypes.append(passed[-1].dtype))
    training.one_step()
    assert dtypes == [torch.bfloat16 if able else torch.float32]
    assert {p.dtype for p in training.network.parameters()} == {torch.float32}, "the weights that are trained"
    assert measure_training("n-0.1-small-cnn", Stopwatch(CPU, repeats=1)).precision == str(dtypes[0])[6:]


@pytest.mark.usefixtures("small_batches")
def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("speed", "--train", "n-0.1-small-cnn", "--repeats", "1", "--device", "cpu")
    code, out, _ = invoke(capsys, *words, "--json")
    (row,) = json.loads(out)["trainings"]
    assert code == 0
    assert (row["recipe"], row["objective"]) == ("n-0.1-small-cnn", "gaussian")
    code, out, _ = invoke(capsys, *words)
    assert code == 0
    assert "share of convolutions" in " ".join(out.split())
