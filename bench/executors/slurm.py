"""Slurm jobs through submitit.

A preempted job goes back into the queue and continues with the remaining units.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.contracts import Executor, Hire
from bench.core.errors import EnvironmentFault
from bench.core.schemas.units import FINAL, Report, Unit
from bench.core.storage.files import write_atomic
from bench.core.storage.folders import cache_folder
from bench.executors._start import starting

TICK = 1.0
"""Seconds between two checks of the folder of answers."""

BEGUN = "begun"
"""Content of an answer file while a job works on the unit."""


@dataclass(frozen=True, kw_only=True)
class Slurm(Executor):
    """Slurm jobs that each do some of the units in order.

    The nodes must share the folder of unfinished work (BENCH_CACHE). Slurm ends a job that hangs at its time limit; the
    job's current unit counts as lost.
    """

    version: ClassVar[int] = 1

    cluster: Literal["slurm", "local"] = "slurm"
    """`slurm`, or `local` to run the jobs as processes of this machine for a test."""
    partition: str | None = None
    """Partition of the cluster; by default the cluster chooses."""
    hours: float = Field(default=4.0, gt=0, le=10_000, allow_inf_nan=False)
    """Time limit of a job."""
    gpus: int = Field(default=0, ge=0, le=1000)
    """GPUs per job."""
    cpus: int = Field(default=1, ge=1, le=10_000)
    """CPU cores per job."""
    memory: int | None = Field(default=None, ge=1, le=10**6)
    """Memory per job, in GB."""

    @property
    def neighbours(self) -> int:
        """The number of workers that share the memory of one machine.

        It is one, because Slurm gives each job its own memory, unless all jobs are processes of this machine.
        """
        return super().neighbours if self.cluster == "local" else 1

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come.

        When the iterator is closed, the jobs are cancelled.
        """
        folder, count = cache_folder() / "work" / "slurm", min(self.workers or 1, len(units))
        shares = [Share(list(units[index::count]), hire, self.device, folder / "answers") for index in range(count)]
        for share in shares:
            share.forget()
        jobs: list[tuple[Any, Share]] = []
        try:
            with starting("Slurm's jobs", "run it where sbatch and srun are, or choose another --executor"):
                executor = self._executor(folder / "jobs")
                for share in shares:
                    jobs.append((executor.submit(share), share))  # noqa: PERF401 # if one fails, the earlier jobs are cancelled
            while jobs:
                over = [job.done() for job, _ in jobs]  # ask before reading the answers, so that no answer is missed
                for _, share in jobs:
                    yield from share.answers()
                for (_, share), done in zip(jobs, over, strict=True):
                    yield from share.lost() if done else ()
                jobs = [each for each, done in zip(jobs, over, strict=True) if not done and each[1].left]
                time.sleep(TICK if jobs else 0)
        finally:
            for job, _ in jobs:
                job.cancel()

    def _executor(self, folder: Path) -> Any:
        executor = _import().AutoExecutor(folder=folder, cluster=self.cluster)
        executor.update_parameters(
            name="attribution-bench",
            timeout_min=max(1, round(60 * self.hours)),
            gpus_per_node=self.gpus,
            cpus_per_task=self.cpus,
            **({} if self.memory is None else {"mem_gb": self.memory}),
            **({} if self.partition is None else {"slurm_partition": self.partition}),
        )
        return executor


class Share:
    """The units of one job and the answers to them.

    The answers wait in a folder, because the job may end and begin again.
    """

    def __init__(self, units: list[Unit], hire: Hire, device: str, folder: Path) -> None:
        self.left = {unit.id: unit for unit in units}
        self._hire, self._device, self._folder = hire, device, folder

    def __call__(self) -> None:
        """Do the units, inside the job."""
        worker = self._hire(self._device)
        for unit in self.left.values():
            if self._answer(unit)[0] in {"", BEGUN}:
                write_atomic(self._path(unit), BEGUN.encode())
                report = worker.do(unit, lambda _: None)
                write_atomic(self._path(unit), f"{report.kind}\n{report.text}".encode())

    def checkpoint(self) -> Any:
        """Return the task of a preempted job when it starts again.

        It is the same task without the units that have an answer.
        """
        return _import().helpers.DelayedSubmission(self)

    def answers(self) -> Iterator[Report]:
        """Yield the new answers, in the process that submitted the job."""
        for unit in list(self.left.values()):
            word, text = self._answer(unit)
            for kind in FINAL & {word}:
                del self.left[unit.id]
                yield Report(unit, kind, text=text)

    def lost(self) -> Iterator[Report]:
        """Yield reports for the units without an answer after a job ended.

        The job's current unit is lost. Later units were not begun and only wait again.
        """
        begun = {unit.id for unit in self.left.values() if self._answer(unit)[0] == BEGUN}
        for unit in list(self.left.values()):
            del self.left[unit.id]
            if unit.id in begun or not begun:
                yield Report(unit, "lost", text=f"its job ended without an answer; its log is in {self._folder.parent}")
            else:
                yield Report(unit, "busy", text="its job ended before it was begun")

    def forget(self) -> None:
        """Remove answers of an earlier round."""
        for unit in self.left.values():
            self._path(unit).unlink(missing_ok=True)

    def _answer(self, unit: Unit) -> tuple[str, str]:
        """Return word and text of a unit's answer, or empty texts."""
        try:
            word, _, text = self._path(unit).read_text().partition("\n")
        except FileNotFoundError:
            return "", ""
        return word, text

    def _path(self, unit: Unit) -> Path:
        return self._folder / unit.id


def _import() -> Any:
    try:
        import submitit
    except ImportError:
        raise EnvironmentFault(
            'expected submitit, got no such package; pip install "attribution-bench[slurm]", or choose another executor'
        ) from None
    return submitit
