"""`bench speed` prints a table of times with consistent numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import registry
from bench.checks.speed import Speed, measure
from bench.checks.stopwatch import Stopwatch
from bench.checks.timed_models import usual_model
from bench.core.compute.machine import peak_memory
from model_zoo.architectures.wide_resnet import build
from tests.support.commands import invoke
from tests.support.libraries import FakeTimm
from tests.support.tiny import residual_content, write_entry

PROTOCOLS = ("cifar10-gradient-v1", "cifar10-linf8-v2")
CPU = torch.device("cpu")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"file:{write_entry(tmp_path, residual_content(tmp_path))}"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Speed]:
    folder, watch = tmp_path_factory.mktemp("speed"), Stopwatch(CPU, repeats=2, processor_time=True)
    model = f"file:{write_entry(folder, residual_content(folder))}"
    return [measure(model, protocol, "ifia-topk", batch_size=2, watch=watch) for protocol in PROTOCOLS]


def test_times_are_those_of_the_protocols_whole_attack(rows: list[Speed]) -> None:
    gradient, integrated = rows
    assert (gradient.nodes, gradient.steps, integrated.steps) == (1, 20, 50)
    assert integrated.nodes > 1
    for row in rows:
        assert (
            min(row.attack_seconds, row.step_seconds, row.map_metrics_seconds, row.judge_seconds, row.clean_seconds) > 0
        )
        assert row.floor_share == pytest.approx(row.floor_seconds / row.step_seconds)
        assert min(row.product_seconds, row.plain_seconds) > 0
        assert row.peak_bytes > 50e6


def test_a_step_within_the_noise_has_an_upper_bound(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    falling = iter(2.0**-number for number in range(100))
    monkeypatch.setattr(Stopwatch, "seconds", lambda watch, work: (work(), next(falling))[1])
    row = measure(model, "cifar10-gradient-v1", "ifia-topk", batch_size=1, watch=Stopwatch(CPU, repeats=1))
    assert row.step_seconds > 0
    assert row.floor_share > 0


def test_operations_are_those_that_torch_counts(rows: list[Speed]) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build(10, depth=10, width=1).eval()(torch.zeros(1, 3, 32, 32))
    assert rows[0].forward_flop == counter.get_total_flops()


def test_the_peak_is_that_of_the_process() -> None:
    held = torch.ones(2**27)  # 512 MiB
    assert peak_memory(CPU) > held.nbytes
    assert peak_memory(CPU) < held.nbytes + 8e9


def test_the_table_and_the_json_name_every_row(capsys: pytest.CaptureFixture[str], model: str) -> None:
    words = ("speed", "--model", model, "--protocol", "cifar10-gradient-v1", "--batch-size", "1", "--repeats", "1")
    code, out, _ = invoke(capsys, *words, "--json")
    (row,) = json.loads(out)["speeds"]
    assert code == 0
    assert row["images_per_second"] == pytest.approx(1 / row["attack_seconds"])
    code, out, _ = invoke(capsys, *words)
    assert code == 0
    assert "share of the floor" in out


@pytest.mark.parametrize(
    ("protocol", "model"),
    [
        ("cifar10-gradient-v1", "hub:art-wrn28"),
        ("imagenet-gradient-v1", "hub:natural-efficientnet-lite0"),
        ("gtsrb-linf8-v1", None),
    ],
)
def test_a_protocol_has_a_usual_model(protocol: str, model: str | None) -> None:
    found = usual_model(protocol)
    if model is not None:
        assert found == model
    entry, rules = registry.load("models", found.removeprefix("hub:")), registry.load("protocols", protocol)
    assert entry.dataset == (rules.models_of or rules.samples.dataset)


def test_an_attack_without_steps_has_no_step(capsys: pytest.CaptureFixture[str], model: str) -> None:
    code, _, err = invoke(capsys, "speed", "--model", model, "--attack", "random-noise")
    assert code == 2
    assert "goes in steps" in err


def test_an_attack_with_a_budget_is_timed_by_its_steps(model: str) -> None:
    row = measure(model, "cifar10-gradient-v2", "auto", batch_size=1, watch=Stopwatch(CPU, repeats=1))
    assert (row.searches, row.steps) == (1, 60)
    assert row.attack_seconds > 30 * row.step_seconds > 0


def test_a_recipe_is_timed_untrained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    words = ("speed", "--model", "recipe:natural-linear", "--batch-size", "1", "--repeats", "1", "--json")
    code, out, _ = invoke(capsys, *words, "--protocol", "cifar10-gradient-v1")
    assert code == 0
    assert json.loads(out)["speeds"][0]["model"] == "recipe:natural-linear"


def test_a_network_of_another_library_is_timed_untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeTimm()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "timm", fake)
    row = measure(
        "untrained:timm:cifar10/small",
        "cifar10-gradient-v1",
        "ifia-topk",
        batch_size=1,
        watch=Stopwatch(CPU, repeats=1),
    )
    assert row.model == "untrained:timm:cifar10/small"
    assert row.step_seconds >= 0
    assert not fake.loaded
