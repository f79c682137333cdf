"""Slurm jobs through submitit; a preempted job goes back into the queue and continues with what is left."""

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
"""Seconds between two looks at the folder of answers."""

BEGUN = "begun"
"""What stands in place of an answer while a job is at the unit."""


@dataclass(frozen=True, kw_only=True)
class Slurm(Executor):
    """Jobs that each do a share of the units, one after the other.

    The nodes must share the folder of unfinished work (BENCH_CACHE). Slurm itself ends a job that hangs, at its time
    limit; the unit that it was at counts as lost.
    """

    version: ClassVar[int] = 1

    cluster: Literal["slurm", "local"] = "slurm"
    """`local` runs the jobs as processes of this machine, to try things out."""
    partition: str | None = None
    """Of the cluster; by default its own choice."""
    hours: float = Field(default=4.0, gt=0, le=10_000, allow_inf_nan=False)
    """Time limit of a job."""
    gpus: int = Field(default=0, ge=0, le=1000)
    """Of each job."""
    cpus: int = Field(default=1, ge=1, le=10_000)
    """Of each job."""
    memory: int | None = Field(default=None, ge=1, le=10**6)
    """Of each job, in GB."""

    @property
    def neighbours(self) -> int:
        """One: each job has the memory that Slurm gives it, unless all are processes of this machine."""
        return super().neighbours if self.cluster == "local" else 1

    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come; closing the iterator cancels the jobs."""
        folder, count = cache_folder() / "work" / "slurm", min(self.workers or 1, len(units))
        shares = [Share(list(units[index::count]), hire, self.device, folder / "answers") for index in range(count)]
        for share in shares:
            share.forget()
        jobs: list[tuple[Any, Share]] = []
        try:
            with starting("Slurm's jobs", "run it where sbatch and srun are, or choose another --executor"):
                executor = self._executor(folder / "jobs")
                for share in shares:
                    jobs.append((executor.submit(share), share))  # noqa: PERF401 # those are cancelled, if one fails
            while jobs:
                over = [job.done() for job, _ in jobs]  # before the answers are read, so that none comes in between
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
    """The units of one job, and the answers on them, which wait in a folder: the job may end and begin again."""

    def __init__(self, units: list[Unit], hire: Hire, device: str, folder: Path) -> None:
        self.left = {unit.id: unit for unit in units}
        self._hire, self._device, self._folder = hire, device, folder

    def __call__(self) -> None:
        """Do the units; in the job."""
        worker = self._hire(self._device)
        for unit in self.left.values():
            if self._answer(unit)[0] in {"", BEGUN}:
                write_atomic(self._path(unit), BEGUN.encode())
                report = worker.do(unit, lambda _: None)
                write_atomic(self._path(unit), f"{report.kind}\n{report.text}".encode())

    def checkpoint(self) -> Any:
        """Say what a preempted job is to do when it comes up again: the same, less what has an answer."""
        return _import().helpers.DelayedSubmission(self)

    def answers(self) -> Iterator[Report]:
        """Yield the answers that came since; in the process that submitted the job."""
        for unit in list(self.left.values()):
            word, text = self._answer(unit)
            for kind in FINAL & {word}:
                del self.left[unit.id]
                yield Report(unit, kind, text=text)

    def lost(self) -> Iterator[Report]:
        """Yield that the unit which the job was at is lost; those behind it were not begun, and only wait again."""
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
        """Return the word and the text of a unit's answer, both empty where there is none."""
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
