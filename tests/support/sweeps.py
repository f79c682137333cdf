"""Executors in this process, and a place to work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.core.contracts import Executor, Hire
from bench.core.schemas.units import Report, Unit
from bench.core.storage.store import Store
from bench.run.execution import Execution

COUNT, SHARD = 4, 2
ATTACKS = ("random-noise", "ifia-topk")


class Inline(Executor):
    """Do units in this process, in an order of its own.

    Some of them meet a given fate.
    """

    def __init__(self, arrange: Callable[[Sequence[Unit]], Sequence[Unit]] = list, fate: Any = None) -> None:
        self.arrange, self.fate, self.patience = arrange, fate or (lambda _: None), list[bool]()

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        worker = hire("cpu")
        self.patience.append(worker._patient)  # type: ignore[attr-defined]
        for unit in self.arrange(units):
            told: list[Report] = []
            kind = self.fate(unit)
            last = worker.do(unit, told.append) if kind is None else Report(unit, kind, text="so it goes")
            yield from told
            yield last


class Backwards(Executor):
    """Do units in this process, the last first."""

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        worker = hire("cpu")
        for unit in reversed(units):
            yield worker.do(unit, lambda _: None)


def execution(folder: Path) -> Execution:
    return Execution(Store(folder / "results"), folder / "work", "cpu")
