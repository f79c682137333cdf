"""Worker processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain
from dataclasses import field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from bench.core.contracts import Executor, Hire
from bench.core.schemas.units import FINAL, Report, Unit

CONTEXT = get_context("spawn")
"""Not fork: a forked copy of a process that used torch's threads or a GPU can hang."""

TICK = 1.0
"""Seconds between two checks of silent workers."""


@dataclass(frozen=True, kw_only=True)
class Local(Executor):
    """Worker processes that this process starts and watches.

    A dead or hung worker is replaced. The default is one worker per GPU, each with its own GPU; without a GPU it is one
    worker. Workers share the processors, and no worker takes more threads than OMP_NUM_THREADS allows this process.
    """

    version: ClassVar[int] = 1

    @property
    def neighbours(self) -> int:
        """The number of workers, because all share this machine."""
        return len(self._devices())

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come.

        When the iterator is closed, the processes are killed.
        """
        waiting, hands = deque(units), list[_Hand]()
        devices = self._devices()
        threads = max(1, min(torch.get_num_threads(), _processors() // len(devices)))
        try:
            for device in devices[: len(waiting)]:
                hands.append(_Hand(hire, device, threads, waiting.popleft()))
            while busy := [hand for hand in hands if hand.unit is not None]:
                connection.wait([hand.pipe for hand in busy], TICK)
                for hand in busy:
                    for report in hand.reports(self.timeout):
                        yield report
                        if report.kind in FINAL:
                            hand.unit = None
                            if waiting:
                                hand.give(waiting.popleft())
        finally:
            for hand in hands:
                hand.end()

    def _devices(self) -> list[str]:
        """Return the devices of all workers."""
        gpus = torch.cuda.device_count() if self.device in {"auto", "cuda"} else 0
        if not gpus:
            return [self.device] * (self.workers or 1)
        return [f"cuda:{index % gpus}" for index in range(self.workers or gpus)]


def _processors() -> int:
    """Return how many processors this process may use, which `taskset` limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@plain
class _Hand:
    """A process, the pipe to it and its current unit."""

    hire: Hire
    device: str
    threads: int
    unit: Unit | None
    pipe: Connection = field(init=False)
    _process: SpawnProcess | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._start()

    def give(self, unit: Unit) -> None:
        """Give the process a unit, after replacing a dead process."""
        self.unit = unit
        if self._process is not None:
            try:
                self.pipe.send(unit)
                self._heard = time.monotonic()
                return
            except OSError:
                self.end()  # it died without a report
        self._start()

    def reports(self, timeout: float) -> Iterator[Report]:
        """Yield the new reports of the process, or that it is lost."""
        assert self.unit is not None
        try:
            while self.unit is not None and self.pipe.poll():
                report: Report = self.pipe.recv()
                self._heard = time.monotonic()
                yield report
        except (EOFError, OSError):
            assert self._process is not None
            self._process.join()  # its pipe is closed, so it ends soon
            yield Report(self.unit, "lost", text=f"its worker died with exit code {self.end()}")
            return
        if self.unit is not None and time.monotonic() - self._heard > timeout:
            self.end()
            yield Report(self.unit, "lost", text=f"its worker gave no sign of life for {timeout:g} s and was ended")

    def end(self) -> int | None:
        """Kill the process if it lives, and return its exit code.

        Finished shards are on the disk.
        """
        if (process := self._process) is None:
            return None
        process.kill()
        process.join()
        code = process.exitcode
        process.close()
        self.pipe.close()
        self._process = None
        return code

    def _start(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(
            target=_work, args=(self.hire, self.device, self.threads, self.unit, theirs), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        self._heard = time.monotonic()


def _work(hire: Hire, device: str, threads: int, unit: Unit, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it and ends this process
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    worker = hire(device)
    while True:
        pipe.send(worker.do(unit, pipe.send))
        try:
            unit = pipe.recv()
        except EOFError:
            return


def _die_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
