"""Measures the time of pieces of work on a device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Stopwatch:
    """A clock for pieces of work on one device."""

    device: torch.device
    repeats: int
    """Number of measurements; the shortest counts."""
    processor_time: bool = False
    """Whether to measure processor time, summed over all threads of this process, and not wall time."""

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the time of a piece of work."""
        clock, times = time.process_time if self.processor_time else time.perf_counter, []
        for _ in range(self.repeats):
            self._wait()
            start = clock()
            work()
            self._wait()
            times.append(clock() - start)
        return min(times)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
