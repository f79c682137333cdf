"""The contracts of executors and their workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from bench.core.contracts.plugin import Plugin
from bench.core.schemas.units import Report, Unit


class Worker(ABC):
    """A worker that does one unit after the other.

    It keeps what the units share.
    """

    @abstractmethod
    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        """Do a unit and return the last report on it.

        Signs of life go to `tell`. An error in the unit is a report, not an exception.
        """


Hire = Callable[[str], Worker]
"""Makes a worker for a device; it is sent to the worker's process, so it must be picklable."""


@checked(frozen=True, kw_only=True)
class Executor(Plugin, ABC):
    """A way to run the units of a sweep.

    It does not know what a unit computes. Whatever happens to a worker, each unit ends with exactly one report of a
    kind in `bench.core.schemas.units.FINAL`. The caller decides whether a lost unit is tried again.
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
        """Return how many workers share the memory of one machine."""
        return self.workers or 1

    @abstractmethod
    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come.

        Closing the iterator ends all workers.
        """
