"""Runs a tiny network under a short protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.plan import Plan, plan
from bench.run.request import Request
from bench.run.steps import run
from tests.support.watcher import Watcher

COUNT = 5


def asked(words: dict[str, Any], attack: str = "ifia-topk", **changes: Any) -> Request:
    return Request(attack=attack, **words, **changes)


def planned(words: dict[str, Any], attack: str = "ifia-topk", **changes: Any) -> Plan:
    return plan(asked(words, attack, **changes))


def completed(words: dict[str, str], folder: Path, *, batch_size: int = 1, **changes: Any) -> StoredRun:
    execution = Execution(Store(folder / "results"), folder / "work", "cpu", batch_size)
    return run([asked(words, **changes)], execution, Watcher())[0]
