"""Ray actors on this machine or on a cluster.

Several workers can share a GPU if one model does not fill it.
"""

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
"""Seconds between two checks of silent actors."""

CONNECT = 60.0
"""Seconds in which a cluster must answer: Ray itself tries for many minutes and then ends the process."""

REMEDY = "correct --with address, start Ray, or choose another --executor"


@dataclass(frozen=True, kw_only=True)
class Ray(Executor):
    """Ray actors that keep their model between units.

    An actor is replaced if its process or node disappears. Nodes of a cluster must share the folder of unfinished work
    (BENCH_CACHE) and have this package installed.
    """

    version: ClassVar[int] = 1

    address: str | None = None
    """Address of a running cluster; by default Ray starts on this machine and is ended afterwards."""
    gpus: float = Field(default=0.0, ge=0, le=1000, allow_inf_nan=False)
    """GPUs per worker; with 0.5 two workers share one."""
    cpus: float = Field(default=1.0, gt=0, le=10_000, allow_inf_nan=False)
    """CPU cores per worker."""

    @property
    def neighbours(self) -> int:
        """The number of workers, or how many fit on this machine."""
        return self.workers or self._room({"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()})

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come.

        When the iterator is closed, the actors end.
        """
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
        """Return how many workers fit on a cluster, at least one."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        return max(1, min(int(resources.get(name, 0) / each) for name, each in wanted.items() if each))


class _Actor:
    """A worker in a process of Ray.

    Its reports wait here until they are fetched.
    """

    def __init__(self, hire: Hire, device: str) -> None:
        self._worker = hire(device)
        self._told: deque[Report] = deque()

    def do(self, unit: Unit) -> Report:
        return self._worker.do(unit, self._told.append)

    def told(self) -> list[Report]:
        return [self._told.popleft() for _ in range(len(self._told))]


@plain
class _Hand:
    """An actor, its current unit and the calls that it must answer.

    Only an actor that runs gets a unit. A new actor may wait long for room, and after the loss of a node perhaps for
    ever.
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
        """Return whether the actor can take a unit.

        A lost actor is being replaced.
        """
        if self.actor is None:
            self._start()
        return self.unit is None and bool(self.ray.wait([self.awaited], timeout=0)[0])

    def give(self, unit: Unit) -> None:
        """Give the actor a unit."""
        self.unit, self.awaited = unit, self.actor.do.remote(unit)
        self._question, self._heard = self.actor.told.remote(), time.monotonic()

    def reports(self, timeout: float) -> Iterator[Report]:
        """Yield the new reports of the actor, or that it is lost."""
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
        """Kill the actor.

        Finished shards are on the disk.
        """
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
    """Test in a separate process whether a cluster answers.

    A process can be ended, but a call of Ray cannot.

    Raises:
        EnvironmentFault: if the cluster does not answer in time or refuses.
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
    """Return the environment variables that workers on other nodes need."""
    known = {key: value for key, value in os.environ.items() if key.startswith("BENCH_") or key == "PYTHONPATH"}
    return {"env_vars": known}
