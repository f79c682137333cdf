"""Hostile entries, protocols and recipes in all commands that read them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.data.cifar10 import Cifar10
from bench.run.attack.search import Attacked
from bench.run.samples import Samples
from bench.run.setup import Setup
from model_zoo.training import loop
from tests.hostile.conftest import Fuzz, Sandbox
from tests.hostile.mutations import documents
from tests.support.tiny import residual_content

FORM_NAME = "tiny"
MODEL = "hub:natural-linear"
"""Quick, and none of the checks of a protocol or a recipe asks how good a network is."""


def write(folder: Path, content: bytes, *, key: bool = False) -> Path:
    """File a document under the name that it states.

    So the check of names lets it pass.
    """
    name = FORM_NAME
    try:
        parsed = tomllib.loads(content.decode())
        own = f"{parsed['name']}-v{parsed['version']}" if key else parsed["name"]
        name = own if isinstance(own, str) and own.replace("-", "").replace(".", "").isalnum() else name
    except (ValueError, KeyError, RecursionError):
        pass
    path = folder / f"{name[:80]}.toml"
    path.write_bytes(content)
    return path


def test_entries(sandbox: Sandbox, fuzz: Fuzz) -> None:
    commands = st.sampled_from(
        [("verify", "file:{}"), ("submit", "check", "{}", "--json"), ("show", "{}", "--kind", "models")]
    )
    entry = residual_content(sandbox.folder, FORM_NAME)
    entry["accuracy"] = {"images": 10_000, "clean": 0.1}

    @fuzz(60, 1000, st.tuples(documents(entry), commands))
    def answers(case: tuple[bytes, tuple[str, ...]]) -> None:
        content, command = case
        path = write(sandbox.folder, content)
        sandbox.call(*(word.format(path) for word in command))


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attacks that propose the clean images.

    What comes before and after is real.
    """

    def propose_nothing(setup: Setup, samples: Samples, batch_size: int, tick: Callable[[int], None]) -> Attacked:
        members, count = len(setup.attack.members), len(samples.ids)
        tick(count)
        return Attacked(
            images=samples.images.unsqueeze(1).repeat(1, members, 1, 1, 1),
            feasible=torch.ones(count, members, dtype=torch.bool),
            forward=torch.ones(count, dtype=torch.int64),
            gradient=torch.ones(count, dtype=torch.int64),
            projected=torch.zeros(count, dtype=torch.bool),
            vanished=torch.full((count,), torch.nan),
        )

    monkeypatch.setattr("bench.run.session.attack_shard", propose_nothing)


@pytest.mark.usefixtures("no_search")
def test_protocols(sandbox: Sandbox, fuzz: Fuzz) -> None:
    protocol = json.loads(registry.load("protocols", "cifar10-smoke-v1").model_dump_json())

    @fuzz(50, 600, documents(_without_nulls(protocol)))
    def answers(content: bytes) -> None:
        path = write(sandbox.folder, content, key=True)
        results = sandbox.folder / "results"
        sandbox.call("run", "--model", MODEL, "--protocol", str(path), "--limit", "1", "--results", str(results))


@pytest.fixture
def one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that end after a step, on a few images of noise."""

    def load(self: Cifar10, split: str) -> Split:
        noise = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8, generator=Rng(0).generator())
        return Split(noise, torch.arange(40) % 10)

    made = loop.Training.__post_init__

    def short(self: loop.Training) -> None:
        made(self)
        self.steps = min(self.steps, 1)

    monkeypatch.setattr(Cifar10, "load", load)
    monkeypatch.setattr(loop.Training, "__post_init__", short)


@pytest.mark.usefixtures("one_step")
def test_recipes(sandbox: Sandbox, fuzz: Fuzz) -> None:
    recipe = json.loads(registry.load("recipes", "pgd-wrn28-1").model_dump_json())
    recipe |= {"architecture": {"name": "linear", "params": {"side": 32}}, "batch_size": 4}
    recipe["validation"] |= {"images": 10, "pgd_images": 4}
    recipe["parent"] = None

    @fuzz(30, 400, documents(_without_nulls(recipe)))
    def answers(content: bytes) -> None:
        assume(not _asks_for_many_steps(content))
        path = write(sandbox.folder, content)
        out = sandbox.folder / "runs"
        (out / "checkpoint.safetensors").unlink(missing_ok=True)
        sandbox.call("train", str(path), "--out", str(out), "--device", "cpu")


def _asks_for_many_steps(content: bytes) -> bool:
    """Return whether a recipe's adversary takes too many steps for a test."""
    try:
        steps = tomllib.loads(content.decode())["objective"]["params"]["steps"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(steps, int | float) and steps > 100


def _without_nulls(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nulls(value) for key, value in content.items() if value is not None}
    return [_without_nulls(value) for value in content] if isinstance(content, list) else content
