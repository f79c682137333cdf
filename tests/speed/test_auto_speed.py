"""The time of `auto` 3 beside that of `auto` 2.

Whole attacks are timed in one run: python -m pytest tests/speed/test_auto_speed.py --benchmark-enable
--benchmark-group-by=group

On a CPU the clock is the process's own, so that other processes disturb it little. With benchmarks disabled, as in the
whole test suite, two images are attacked with the shortest search.
"""

from __future__ import annotations

import time

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench import registry
from bench.core.compute.machine import pick_device
from bench.run.attack.search import attack_shard
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.samples import Samples
from bench.run.setup import Networks, assemble

DEVICE = pick_device()
IMAGES = 40
"""As many as the protocols' shards have."""

SHORTEST = {"cifar10-gradient-v1": {"steps": "1"}, "cifar10-gradient-v2": {"budget": "20"}}
"""The protocol of version 2, and the protocol of version 3."""


def samples(count: int) -> Samples:
    images, labels = registry.load("datasets", "foolbox-cifar10")().load("test")
    chosen = torch.arange(count) % len(labels)
    return Samples(tuple(map(str, range(count))), images[chosen].float() / 255, labels[chosen])


def attack(model: str, protocol: str, count: int) -> int:
    """Attack images as the protocol says.

    A few images get the shortest search.
    """
    request = Request(
        model=f"hub:{model}", attack="auto", protocol=protocol, params=SHORTEST[protocol] if count < IMAGES else {}
    )
    images = samples(count)
    done: list[int] = []
    attack_shard(assemble(plan(request), str(DEVICE), images, Networks()), images, count, done.append)
    return sum(done)


@pytest.mark.benchmark(timer=time.process_time if DEVICE.type == "cpu" else time.perf_counter)
@pytest.mark.parametrize("model", ["art-wrn28", "natural-wrn28"])
@pytest.mark.parametrize("protocol", SHORTEST)
def test_whole_attack(benchmark: BenchmarkFixture, model: str, protocol: str) -> None:
    benchmark.group = f"auto 2 and auto 3: {model}"
    count = 2 if benchmark.disabled else IMAGES
    assert benchmark.pedantic(attack, (model, protocol, count), rounds=1 if benchmark.disabled else 2) == count
