"""Worker processes that do units.

Those of runs plan each unit from its request, and keep networks and images between units.
"""

from __future__ import annotations

import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from bench.core.compute.machine import pick_device
from bench.core.contracts import Worker
from bench.core.errors import BenchError, Busy, IntegrityError, is_broken_device
from bench.core.schemas.units import Report, RunUnit, Unit
from bench.run.execution import Execution
from bench.run.plan import Plan, plan
from bench.run.request import Request
from bench.run.session import Cache, Session
from bench.run.setup import set_up

BEAT = 1.0
"""Least number of seconds between two signs of life."""


class Teller:
    """A reporter of a worker's progress on its current unit."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def begin(self, unit: Unit, tell: Callable[[Report], None]) -> None:
        """Report about this unit from now on."""
        self._unit, self._tell = unit, tell

    def start(self, title: str, total: int, done: int) -> None:
        """Do nothing, because the sweep counts all of its images itself."""

    def advance(self, images: int) -> None:
        """Count this number of images as finished."""
        self._tell(Report(self._unit, "alive", images))

    def say(self, text: str) -> None:
        """Show a remark."""
        self._tell(Report(self._unit, "note", text=text))

    def beat(self, *_: object) -> None:
        """Give a sign of life if the last one is old."""
        if time.monotonic() - self._last > BEAT:
            self._last = time.monotonic()
            self._tell(Report(self._unit, "alive"))


class UnitWorker(Worker, ABC):
    """A worker that turns errors of a unit into reports."""

    def __init__(self, device: str) -> None:
        self._device, self._teller = device, Teller()

    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        """Complete what of the unit is not complete."""
        pick_device(self._device)  # its settings belong to a thread, and the next unit may run in another
        try:
            self._teller.begin(unit, tell)
            self._complete(unit)
        except Busy as error:
            return Report(unit, "busy", text=str(error))
        except BenchError as error:
            return Report(unit, "failed", text=str(error))
        except Exception as error:
            if is_broken_device(error):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            return Report(unit, "failed", text=f"{type(error).__name__} in {where.name}: {error}")
        return Report(unit, "done")

    @abstractmethod
    def _complete(self, unit: Unit) -> None:
        """Do a unit, or raise an error for the report."""


class RunWorker(UnitWorker):
    """A worker that does units of runs.

    Args:
        execution: folders and limits.
        patient: whether to wait if another process works on a unit.
        device: the device to compute on.
    """

    def __init__(self, execution: Execution, patient: bool, device: str) -> None:
        super().__init__(device)
        self._execution = replace(execution, device=device)
        self._patient = patient
        self._cache = Cache()
        self._current: tuple[Plan, Session] | None = None

    def _complete(self, unit: Unit) -> None:
        assert isinstance(unit, RunUnit)
        planned, session = self._session(unit)
        if self._execution.store.find(planned.spec) is None:
            with _beating(session.setup.model, session.setup.smooth, self._teller.beat):
                shards = range(unit.shard, unit.shard + unit.shards)
                session.complete(shards, self._teller.beat if self._patient else None)

    def _session(self, unit: RunUnit) -> tuple[Plan, Session]:
        if self._current is None or self._current[0].spec.run_id != unit.run_id:
            planned = plan(Request(**unit.request))
            if planned.spec.run_id != unit.run_id:
                raise IntegrityError(
                    f"expected {unit.name} to be the run {unit.run_id[:12]}, got {planned.spec.run_id[:12]}; its files "
                    "or this code changed since the sweep began: begin it again"
                )
            samples = self._cache.samples(planned)
            setup = set_up(planned, samples, self._execution, self._cache.networks, self._teller)
            session = Session(planned, setup, samples, self._execution, observer=self._teller, cache=self._cache)
            self._current = planned, session
        return self._current


@contextmanager
def _beating(model: nn.Module, smooth: nn.Module, beat: Callable[..., None]) -> Iterator[None]:
    """Give a sign of life at every pass through either network.

    A batch may take long, but a single pass does not.
    """
    hooks: list[Any] = [network.register_forward_pre_hook(beat) for network in (model, smooth)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
