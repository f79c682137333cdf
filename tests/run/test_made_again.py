"""A page's command makes the same run again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.commands._options import read_parameters
from bench.commands.run import run as command_line
from bench.core.schemas.spec import RunSpec
from bench.core.storage.store import Store
from bench.run.plan import plan
from bench.run.request import Request
from leaderboard.records.command import command
from tests.support.factories import model_entry, store_run
from tests.support.tiny import residual_content, write_entry, write_protocol

CHANGES: list[dict[str, Any]] = [
    {},
    {"limit": 2},
    {"epsilon": "4/255"},
    {"beta": 20.0},
    {"beta": 100 / 3},
    {"precision": "tf32"},
    {"nodes": 3},
    {"params": {"steps": 3, "step_size": "1/255"}},
    {"attack": "random-noise", "params": {"draws": 2}},
    {"attack": "auto@2"},
    {"attack": "auto@2", "epsilon": "2/255"},
    {"attack": "transfer", "params": {"model": "hub:natural-linear", "attack": "ifia-topk"}},
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    model = f"file:{write_entry(folder, residual_content(folder))}"
    return {"model": model, "protocol": str(write_protocol(folder, "short", 4, 2))}


def understood(line: str) -> RunSpec:
    """The spec of the run that a command line asks for."""
    given: dict[str, Any] = command_line.make_context("run", shlex.split(line)[2:]).params
    (attack,) = given["attacks"]
    names = ("model", "protocol", "limit", "epsilon", "beta", "nodes", "precision")
    wanted = {name: given[name] for name in names}
    return plan(Request(attack=attack, params=read_parameters(given["params"]), **wanted)).spec


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_page_s_command_makes_the_same_run_again(
    words: dict[str, str], tmp_path: Path, change: dict[str, Any]
) -> None:
    planned = plan(Request(**({"attack": "ifia-topk"} | words | change)))
    record = store_run(tmp_path, model_entry("mine")).record.model_copy(update={"spec": planned.spec})
    assert understood(command(record, **words)) == planned.spec
    store = Store(tmp_path / "kept")
    store.keep_protocol(planned.protocol)
    (kept,) = store.root.rglob("protocol-*.json")
    assert understood(command(record, **words | {"protocol": str(kept)})) == planned.spec
