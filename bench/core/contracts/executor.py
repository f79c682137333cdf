"""What an executor promises: reports on units, whatever becomes of its workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from bench.core.schemas.units import Report, Unit


class Worker(ABC):
    """Does one unit after the other, and keeps what they share."""

    @abstractmethod
    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        """Do a unit, telling of signs of life, and return the last report on it; an error of the unit is a report."""


Hire = Callable[[str], Worker]
"""From the device to compute on to a worker; travels to the process that shall work, so it must be picklable."""


@checked(frozen=True, kw_only=True)
class Executor(ABC):
    """Who runs the units of a sweep; knows nothing of what a unit is about.

    Whatever happens to a worker, each unit ends with exactly one report of a kind in
    `bench.core.schemas.units.FINAL`. Whether a lost unit is tried again is for the caller to decide.
    """

    version: ClassVar[int] = 1

    workers: int | None = Field(default=None, ge=1, le=10_000)
    """How many work at once; by default what the machine offers."""
    device: str = "auto"
    """What each worker computes on."""
    timeout: float = Field(default=900.0, gt=0, le=10**7, allow_inf_nan=False)
    """Seconds without a sign of life after which a worker counts as hung and is ended."""

    @property
    def neighbours(self) -> int:
        """How many of the workers share the memory of one machine."""
        return self.workers or 1

    @abstractmethod
    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come; closing the iterator ends all workers."""
