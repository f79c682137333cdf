"""The time of an attack, compared with the published method.

It also times the steps around the attack: loading, running, filing. python -m pytest tests/speed/test_engine_speed.py
--benchmark-enable --benchmark-group-by=group -m ""

Without `-m ""` the compiled steps are left out, because they compile for minutes. With benchmarks disabled, as in the
whole test suite, everything runs once, at a small size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from attacks._losses import mass_outside
from bench import registry
from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import SampleRng
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import predict
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.samples import Samples
from bench.run.setup import Networks, Setup, assemble
from model_zoo.build import build
from model_zoo.hub import resolve
from tests.oracles.plain import plain_smooth
from tests.support.commands import invoke
from tests.support.factories import model_entry, store_run

MODEL, K = "hub:art-wrn28", 100
DEVICE = pick_device()
BATCH = 16 if DEVICE.type == "cpu" else 256
NAIVE_NODES = 100
"""Of the published attack, by the right Riemann rule, one image at a time."""

PROTOCOLS = ("cifar10-linf8-v2", "cifar10-ig-v1")
"""Whose searches take 10 and 5 nodes."""

GROUP = f"attack step: one image in the published way, {BATCH} images in ours"
PEAK = 2e9
"""Bytes that an attack on a WRN-28-10 may take on a CPU."""


def set_bench(protocol: str, *, compiled: bool = False) -> Setup:
    planned = plan(Request(model=MODEL, attack="ifia-topk", protocol=protocol))
    images, labels = registry.load("datasets", "foolbox-cifar10")().load("test")
    first = Samples(("0", "1"), images[:2].float() / 255, labels[:2])
    return assemble(planned, str(DEVICE), first, Networks(), compiled=compiled)


@pytest.fixture(scope="module")
def samples() -> Samples:
    images, labels = registry.load("datasets", "foolbox-cifar10")().load("test")
    chosen = torch.arange(BATCH) % len(labels)
    return Samples(tuple(map(str, range(BATCH))), images[chosen].to(DEVICE).float() / 255, labels[chosen].to(DEVICE))


def waited(step: Callable[..., Tensor], *arguments: object) -> Tensor:
    """Do a step, and wait for the GPU if there is one."""
    found = step(*arguments)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return found


def naive_heatmap(network: nn.Module, image: Tensor, label: Tensor, *, graph: bool) -> Tensor:
    """Return (1, H, W) integrated gradients as reference codes compute them."""
    positions = torch.arange(1, NAIVE_NODES + 1, device=image.device) / NAIVE_NODES
    points = image * positions.view(-1, 1, 1, 1)
    logits = network(points).gather(1, label.expand(NAIVE_NODES, 1))
    (gradients,) = torch.autograd.grad(logits.sum(), points, create_graph=graph)
    return (image * gradients.mean(0, keepdim=True)).abs().sum(1)


def naive_step(setup: Setup, smooth: nn.Module, image: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Make one step by double backward through every node.

    The step is signed, and the heatmap of the real network selects.
    """
    leaf = image.clone().requires_grad_()
    loss = mass_outside(naive_heatmap(smooth, leaf, label, graph=True), mask)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    moved = (image + gradient.sign() / 255).requires_grad_()
    return naive_heatmap(setup.model, moved, label, graph=False)


def our_step(victim: WhiteBoxVictim, images: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    gradient = victim.loss_gradient(images, labels, mass_outside, mask)
    return victim.observe(images + gradient.sign() / 255, labels).heatmap


def frugal_steps(victim: WhiteBoxVictim, images: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Make two steps of `ifia-topk-frugal` with half of the nodes.

    One of two is looked at.
    """
    first, second = (
        victim.loss_gradient(images, labels, mass_outside, mask, turn=number, turns=2) for number in range(2)
    )
    return victim.observe(images + (first + second).sign() / 255, labels).heatmap


def start(setup: Setup, samples: Samples) -> tuple[SampleRng, Tensor, Tensor]:
    """Return the samples' streams, explained classes and top pixels."""
    rng, labels = SampleRng(setup.rng, samples.ids), predict(setup.model, samples.images).argmax(1)
    return rng, labels, top_k_mask(setup.judge.view(setup.model, samples.images, labels, rng).heatmap, K)


def test_a_step_in_the_published_way(benchmark: BenchmarkFixture, samples: Samples) -> None:
    setup, one = set_bench(PROTOCOLS[0]), samples.part(slice(1))
    _, labels, mask = start(setup, one)
    benchmark.group = GROUP
    found = benchmark(waited, naive_step, setup, plain_smooth(setup.model, 50.0), one.images, labels, mask)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "compiled"])
@pytest.mark.parametrize(
    ("protocol", "step"),
    [*((protocol, our_step) for protocol in PROTOCOLS), (PROTOCOLS[0], frugal_steps)],
    ids=[*PROTOCOLS, "two-frugal-steps"],
)
def test_a_step_in_ours(
    benchmark: BenchmarkFixture, samples: Samples, protocol: str, step: Callable[..., Tensor], compiled: bool
) -> None:
    setup, samples = set_bench(protocol, compiled=compiled), samples.part(slice(2)) if benchmark.disabled else samples
    rng, labels, mask = start(setup, samples)
    victim = WhiteBoxVictim(
        model=setup.model, smooth=setup.smooth, explainer=setup.search, primary=setup.metrics[setup.primary],
        threat=setup.threat, knowledge="white-box", rng=rng,
    )  # fmt: skip
    benchmark.group = GROUP
    found = benchmark(waited, step, victim, samples.images, labels, mask)
    assert torch.isfinite(found).all()


def test_a_smoke_run(
    benchmark: BenchmarkFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    model, limit = ("hub:natural-linear", "2") if benchmark.disabled else (MODEL, "20")
    words = ("run", "--model", model, "--attack", "ifia-topk", "--limit", limit, "--results", str(tmp_path), "--json")
    benchmark.group = "whole commands"
    code, out, _ = benchmark.pedantic(invoke, args=(capsys, *words), rounds=1)
    assert code == 0
    assert len(json.loads(out)) == 2


def test_loading_a_model(benchmark: BenchmarkFixture) -> None:
    def load() -> nn.Module:
        found = resolve(MODEL)
        architecture = registry.load("architectures", found.entry.architecture.name)
        return build(found.entry, architecture, found.path, device=DEVICE)

    benchmark.group = "steps around an attack"
    assert not benchmark(load).training


def test_filing_a_record(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Rows, then the record, each with its fsync."""
    benchmark.group = "steps around an attack"
    entry = model_entry()
    run = benchmark(store_run, tmp_path, entry)
    assert run.rows()["sample_id"].is_unique


@pytest.mark.slow
def test_a_wide_network_fits_into_a_small_machine() -> None:
    words = ("speed", "--model", "recipe:pgd-wrn28-10", "--batch-size", "1", "--repeats", "1", "--json")
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    program = [sys.executable, "-m", "bench.cli", *words, "--protocol", "cifar10-linf8-v2"]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    (row,) = json.loads(done.stdout)["speeds"]
    assert row["peak_bytes"] < PEAK
