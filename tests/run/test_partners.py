"""Attacks that aim at another image of the protocol, in whole runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import bench
from attacks.shuffled_target_map import ShuffledTargetMap
from bench.core.errors import BenchError
from bench.core.storage.store import Store
from bench.run.execution import Execution
from bench.run.session import Cache
from bench.run.setup import set_up
from tests.support.own_images import likeness
from tests.support.short_runs import COUNT, completed, planned
from tests.support.tiny import tiny_network
from tests.support.watcher import Watcher

AIMED: dict[str, Any] = {"attack": "shuffled-target-map", "params": {"steps": 2}}


def test_neither_batch_nor_shard_nor_limit_changes_a_target(words: dict[str, str], tmp_path: Path) -> None:
    in_one_shard = words | {"protocol": words["protocol"].replace("short", "one-shard")}
    singly = completed(words, tmp_path / "singly", batch_size=1, **AIMED)
    together = completed(in_one_shard, tmp_path / "together", batch_size=COUNT, **AIMED)
    assert together.record.rows_sha256 == singly.record.rows_sha256
    first = completed(words, tmp_path / "first", batch_size=2, limit=2, **AIMED)
    pd.testing.assert_frame_equal(first.rows(), singly.rows()[:2], check_exact=True)


def test_the_images_of_a_run_are_those_of_its_protocol(words: dict[str, str], tmp_path: Path) -> None:
    plan, cache = planned(words, limit=2), Cache()
    samples = cache.samples(plan)
    setup = set_up(plan, samples, Execution(Store(tmp_path), tmp_path, "cpu", 1), cache.networks, Watcher())
    assert setup.library.ids == samples.ids
    assert len(samples.ids) == COUNT
    found = setup.library.partners(samples.ids)
    assert not any(torch.equal(own, other) for own, other in zip(samples.images, found, strict=True))


def test_images_in_memory_are_targets_too_unless_there_is_one_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    how: dict[str, Any] = {"protocol": str(likeness(tmp_path)), "mean": 0.5, "std": 0.25, "device": "cpu"}
    network, attack = tiny_network(num_classes=3), ShuffledTargetMap(steps=2)
    found = bench.benchmark(network, attack, images=images, labels=[0, 1, 2], **how)
    assert (found.rows["linf"] > 0).any()
    with pytest.raises(BenchError, match="expected at least 2 images"):
        bench.benchmark(network, attack, images=images[:1], labels=[0], **how)
