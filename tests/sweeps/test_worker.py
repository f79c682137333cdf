"""Failures and signs of life of workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.errors import BROKEN_DEVICE, BenchError
from bench.core.schemas.units import Report
from bench.run import session
from bench.run.steps import run
from bench.sweeps import worker
from bench.sweeps.sweep import SweepRun, units
from bench.sweeps.worker import RunWorker
from tests.support.sweeps import SHARD, execution
from tests.support.watcher import Watcher


def raising(error: Exception) -> Callable[..., Any]:
    def attack(*_: object) -> Any:
        raise error

    return attack


def hired(folder: Path) -> RunWorker:
    return RunWorker(execution(folder), patient=False, device="cpu")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("a shape is off"), "RuntimeError in attack: a shape is off"),
        (torch.OutOfMemoryError("CUDA out of memory"), "expected memory on cpu for a single node"),
    ],
    ids=["a mistake", "a full GPU"],
)
def test_a_unit_that_cannot_be_done_is_reported_and_the_worker_goes_on(
    runs: list[SweepRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    first, second, *_ = units(runs[0], execution(tmp_path))
    at_work = hired(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr("bench.run.attack.search._attack_batch", raising(error))
        failed = at_work.do(first, lambda _: None)
    assert failed.kind == "failed"
    assert words in failed.text
    assert at_work.do(second, lambda _: None).kind == "done"


def asserting(*_: object) -> Any:
    raise AssertionError("at most three")


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (asserting, "got: AssertionError: at most three; correct its forward"),
        (lambda _, features: {"logits": features}, r"wrap the network in a module .*\['logits'\]"),
        (lambda _, features: features[:, :10] * torch.nan, "NaN or infinity"),
        (lambda _, features: features[:, :10].detach(), "expected logits with a gradient"),
    ],
)
def test_of_one_fault_of_a_network_a_sweep_says_what_run_says(
    runs: list[SweepRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forward: Callable[..., Any], words: str
) -> None:
    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    failed = hired(tmp_path).do(units(runs[0], execution(tmp_path))[0], lambda _: None)
    with pytest.raises(BenchError, match=words) as caught:
        run([runs[0].request], execution(tmp_path), Watcher())
    assert (failed.kind, failed.text) == ("failed", str(caught.value))


@pytest.mark.parametrize("words", BROKEN_DEVICE)
def test_a_worker_whose_gpu_is_broken_ends_so_that_a_fresh_process_takes_the_unit(
    runs: list[SweepRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(session, "attack_shard", raising(RuntimeError(f"{words}: an illegal memory access")))
    with pytest.raises(RuntimeError, match=words):
        hired(tmp_path).do(units(runs[0], execution(tmp_path))[0], lambda _: None)


def test_every_pass_through_a_network_is_a_sign_of_life(
    runs: list[SweepRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BEAT", 0.0)
    told: list[Report] = []
    unit = units(runs[1], execution(tmp_path))[0]
    assert hired(tmp_path).do(unit, told.append).kind == "done"
    steps = runs[1].plan.spec.attack.params["steps"]
    assert sum(report.kind == "alive" and not report.advanced for report in told) > steps
    assert sum(report.advanced for report in told) == SHARD
