"""Runs of a tiny network that the tests of sweeps share."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.storage.stored_run import StoredRun
from bench.run.steps import run
from bench.sweeps.sweep import SweepRun, Wanted, choose
from tests.support.sweeps import ATTACKS, COUNT, SHARD, execution
from tests.support.tiny import residual_content, write_entry, write_protocol
from tests.support.watcher import Watcher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    write_entry(folder, residual_content(folder))
    write_protocol(folder, "short", COUNT, SHARD)
    return folder


@pytest.fixture(scope="module")
def protocol(folder: Path) -> str:
    return str(folder / "short-v1.toml")


@pytest.fixture(scope="module")
def runs(folder: Path, protocol: str) -> list[SweepRun]:
    chosen, failures = choose(Wanted([f"file:{folder}/tiny.toml"], ATTACKS, protocol, "random-noise"))
    assert not failures
    return chosen


@pytest.fixture(scope="module")
def singly(runs: list[SweepRun], tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """What `bench run` makes of the same runs, one after the other."""
    return run([each.request for each in runs], execution(tmp_path_factory.mktemp("singly")), Watcher())
