"""Ray actors, on this machine or on a cluster; shares of a GPU where one model does not fill it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain
from dataclasses import field
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.contracts import Executor, Hire
from bench.core.errors import EnvironmentFault
from bench.core.schemas.units import Report, Unit
from bench.executors._start import starting

TICK = 0.5
"""Seconds between two looks at actors that say nothing."""

CONNECT = 60.0
"""Seconds in which a cluster must answer: Ray itself goes on trying for many minutes, and then ends the process."""

REMEDY = "correct --with address, start Ray, or choose another --executor"


@dataclass(frozen=True, kw_only=True)
class Ray(Executor):
    """Actors that keep their model from unit to unit; one whose process or node disappears is replaced.

    Nodes of a cluster must share the folder of unfinished work (BENCH_CACHE) and have this package installed.
    """

    version: ClassVar[int] = 1

    address: str | None = None
    """Of a running cluster; by default Ray is started on this machine, and ended."""
    gpus: float = Field(default=0.0, ge=0, le=1000, allow_inf_nan=False)
    """Of each worker; 0.5 lets two share one."""
    cpus: float = Field(default=1.0, gt=0, le=10_000, allow_inf_nan=False)
    """Of each worker."""

    @property
    def neighbours(self) -> int:
        """As many as have room on this machine, where nobody says how many there are."""
        return self.workers or self._room({"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()})

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come; closing the iterator ends the actors."""
        ray = _import()
        started = not ray.is_initialized()
        if started:
            with starting("Ray", REMEDY):
                _see_whether_it_answers(self.address or os.environ.get("RAY_ADDRESS"))
                ray.init(address=self.address, include_dashboard=False, log_to_driver=False, runtime_env=_environment())
        waiting, hands, heard = deque(units), list[_Hand](), time.monotonic()
        kind = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_concurrency=2)(_Actor)
        try:
            count = self.workers or self._room(ray.cluster_resources())
            hands += [_Hand(ray, kind, hire, self.device) for _ in range(min(count, len(waiting)))]
            while waiting or any(hand.unit is not None for hand in hands):
                ray.wait([hand.awaited for hand in hands if waiting or hand.unit is not None], timeout=TICK)
                for hand in hands:
                    yield from hand.reports(self.timeout)
                    if waiting and hand.is_up():
                        hand.give(waiting.popleft())
                if any(hand.unit is not None for hand in hands):
                    heard = time.monotonic()
                elif time.monotonic() - heard > self.timeout:
                    why = f"the cluster had no room for a worker for {self.timeout:g} s"
                    yield from (Report(waiting.popleft(), "lost", text=why) for _ in range(len(waiting)))
        finally:
            for hand in hands:
                hand.end()
            if started:
                ray.shutdown()

    def _room(self, resources: Mapping[str, float]) -> int:
        """Return how many workers a cluster has room for, at least one."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        return max(1, min(int(resources.get(name, 0) / each) for name, each in wanted.items() if each))


class _Actor:
    """A worker in a process of Ray's; what it tells waits here until it is asked for."""

    def __init__(self, hire: Hire, device: str) -> None:
        self._worker = hire(device)
        self._told: deque[Report] = deque()

    def do(self, unit: Unit) -> Report:
        return self._worker.do(unit, self._told.append)

    def told(self) -> list[Report]:
        return [self._told.popleft() for _ in range(len(self._told))]


@plain
class _Hand:
    """An actor, the unit that it is at, and what is awaited of it.

    A unit is given only to an actor that is up: Ray lets one wait for room, and after a node is gone perhaps for ever.
    """

    ray: Any
    kind: Any
    hire: Hire
    device: str
    unit: Unit | None = None
    actor: Any = field(init=False, default=None)
    awaited: Any = field(init=False)

    def __post_init__(self) -> None:
        self._start()

    def is_up(self) -> bool:
        """Return whether the actor can be given a unit; a fresh one is on its way where it is lost."""
        if self.actor is None:
            self._start()
        return self.unit is None and bool(self.ray.wait([self.awaited], timeout=0)[0])

    def give(self, unit: Unit) -> None:
        """Let the actor do a unit."""
        self.unit, self.awaited = unit, self.actor.do.remote(unit)
        self._question, self._heard = self.actor.told.remote(), time.monotonic()

    def reports(self, timeout: float) -> Iterator[Report]:
        """Yield what the actor said since of its unit, or that it is lost."""
        if (unit := self.unit) is None:
            return
        errors = self.ray.exceptions
        try:
            if self.ray.wait([self._question], timeout=0)[0]:
                told: list[Report] = self.ray.get(self._question)
                self._heard = time.monotonic() if told else self._heard
                yield from (report for report in told if report.unit == unit)
                self._question = self.actor.told.remote()
            if self.ray.wait([self.awaited], timeout=0)[0]:
                last: Report = self.ray.get(self.awaited)
                yield from (r for r in self.ray.get(self.actor.told.remote()) if r.unit == unit)
                self.unit = None
                yield last
            elif time.monotonic() - self._heard > timeout:
                yield self._lost(unit, f"its worker gave no sign of life for {timeout:g} s and was ended")
        except (errors.RayActorError, errors.RayTaskError, errors.ObjectLostError) as error:
            yield self._lost(unit, f"its worker disappeared: {str(error).splitlines()[0]}")

    def end(self) -> None:
        """Kill the actor; finished shards are on the disk."""
        if self.actor is not None:
            self.ray.kill(self.actor)
        self.actor = None

    def _start(self) -> None:
        self.actor = self.kind.remote(self.hire, self.device)
        self.awaited = self.actor.told.remote()

    def _lost(self, unit: Unit, why: str) -> Report:
        self.end()
        self.unit = None
        return Report(unit, "lost", text=why)


def _import() -> Any:
    try:
        import ray
    except ImportError:
        raise EnvironmentFault(
            'expected Ray, got no such package; pip install "attribution-bench[ray]", or choose another executor'
        ) from None
    return ray


def _see_whether_it_answers(address: str | None) -> None:
    """Connect to a cluster in a process that can be ended, which a call of Ray's cannot.

    Raises:
        EnvironmentFault: if it gives no answer in time, or refuses.
    """
    if address is None:
        return
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", "import ray, sys; ray.init(address=sys.argv[1])", address],
            capture_output=True, check=False, text=True, timeout=CONNECT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(f"expected Ray at {address}, got no answer in {CONNECT:g} s; {REMEDY}") from None
    if done.returncode:
        came = (done.stderr.strip() or "nothing said").split("\n")[-1]
        raise EnvironmentFault(f"expected Ray at {address}, got: {came}; {REMEDY}")


def _environment() -> dict[str, Any]:
    """Return what workers on other nodes must know of this process's environment."""
    known = {key: value for key, value in os.environ.items() if key.startswith("BENCH_") or key == "PYTHONPATH"}
    return {"env_vars": known}
