"""Many runs by many workers.

Runs are planned as units, the workers of an executor do them, and they are filed as one process would file them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from typing import Protocol as Interface

from bench.core.contracts import Executor, Hire
from bench.core.errors import BenchError, IntegrityError, NetworkError
from bench.core.schemas.units import RunUnit
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.plan import Plan, plan
from bench.run.request import Request
from bench.run.shards import Shards
from bench.run.steps import file
from bench.sweeps.rounds import rounds
from bench.sweeps.status import Manifest, write_manifest
from bench.sweeps.worker import RunWorker


class SweepRun(NamedTuple):
    """One run of a sweep."""

    request: Request
    plan: Plan
    floor: str | None
    """The run of the floor for comparison; None for the floor itself."""

    @property
    def run_id(self) -> str:
        """The identity of the run."""
        return self.plan.spec.run_id

    @property
    def name(self) -> str:
        """The name for people."""
        return f"{self.plan.spec.model.name} under {self.plan.spec.attack.name}"


class Failure(NamedTuple):
    """A run or model that failed, and the reason."""

    what: str
    why: str


class Outcome(NamedTuple):
    """The result of a sweep."""

    finished: list[StoredRun]
    failures: list[Failure]


class Watcher(Interface):
    """A display for the progress of a sweep."""

    def start(self, title: str, total: int, done: int) -> None:
        """Begin `total` images, `done` of which earlier processes finished."""

    def advance(self, images: int) -> None:
        """Count this number of images, perhaps negative, as finished."""

    def say(self, text: str) -> None:
        """Show a remark."""


class Wanted(NamedTuple):
    """The models and attacks of a sweep."""

    models: Sequence[str]
    attacks: Sequence[str]
    protocol: str
    floor: str
    """The protocol's floor; it always runs, and first."""
    limit: int | None = None


def choose(wanted: Wanted) -> tuple[list[SweepRun], list[Failure]]:
    """Return the runs of every attack on every model, and the failures.

    A failure is a model that cannot be loaded.

    Raises:
        UsageError: if a name is unknown, or a model does not fit the protocol.
    """
    runs, failures = [], []
    for model in dict.fromkeys(wanted.models):
        floor: str | None = None
        try:
            for attack in dict.fromkeys([wanted.floor, *wanted.attacks]):
                request = Request(model=model, attack=attack, protocol=wanted.protocol, limit=wanted.limit)
                runs.append(SweepRun(request, plan(request), floor))
                floor = floor or runs[-1].run_id
        except (IntegrityError, NetworkError) as error:
            failures.append(Failure(model, str(error)))
    return runs, failures


def units(run: SweepRun, execution: Execution) -> list[RunUnit]:
    """Return the remaining units of a run, none if it is stored."""
    if execution.store.find(run.plan.spec) is not None:
        return []
    shards, request, sizes = Shards(run.plan.spec, execution.work), asdict(run.request), run.plan.shard_sizes
    found = []
    for group in execution.together(len(sizes), run.plan.protocol.shard_size):
        left = sum(sizes[index] for index in group if not shards.is_measured(index))
        if left:
            found.append(RunUnit(request=request, run_id=run.run_id, shard=group.start, shards=len(group), images=left))
    return found


def sweep(runs: Sequence[SweepRun], execution: Execution, executor: Executor, watcher: Watcher) -> Outcome:
    """Complete all runs as far as they can be completed.

    Args:
        runs: the runs from `choose`.
        execution: folders and limits; the executor chooses a device per worker.
        executor: does the units with its workers.
        watcher: shows the progress.
    Returns:
        The finished runs in the order of `runs`, and the failures. A failure does not stop other runs.
    """
    return _Sweep(runs, execution, executor, watcher).complete()


@dataclass
class _Sweep:
    runs: Sequence[SweepRun]
    execution: Execution
    executor: Executor
    watcher: Watcher
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    failures: list[Failure] = field(default_factory=list)
    finished: dict[str, StoredRun] = field(default_factory=dict)

    def complete(self) -> Outcome:
        todo = [unit for run in self.runs for unit in self._begin(run)]
        self._left = Counter(unit.run_id for unit in todo)
        total = sum(run.plan.spec.samples.count for run in self.runs)
        self.watcher.start(f"{len(self.runs)} runs", total, total - sum(unit.images for unit in todo))
        self._describe()
        self._file_what_is_ready()
        for report in rounds(todo, self.executor, self._workers, self.watcher.advance):
            if report.kind == "done":
                assert isinstance(report.unit, RunUnit)
                self._left[report.unit.run_id] -= 1
                self._file_what_is_ready()
            elif report.kind == "failed":
                self._fail(report.unit.name, report.text)
            elif report.kind == "note":
                self.watcher.say(f"{report.unit.name}: {report.text}")
        for run in self.runs:
            if run.run_id not in self.finished and not self._left[run.run_id] and run.floor not in self.finished:
                self._fail(run.name, "its shards are finished, but its floor is not, which it is compared with")
        return Outcome([self.finished[r.run_id] for r in self.runs if r.run_id in self.finished], self.failures)

    def _begin(self, run: SweepRun) -> list[RunUnit]:
        self.execution.store.prepare(run.plan.spec)
        return units(run, self.execution)

    def _workers(self, patient: bool) -> Hire:
        return partial(RunWorker, self.execution, patient)

    def _file_what_is_ready(self) -> None:
        for run in self.runs:  # a floor comes before the runs that are compared with it
            ready = run.floor is None or run.floor in self.finished
            if run.run_id not in self.finished and ready and not self._left[run.run_id]:
                floor = None if run.floor is None else self.finished[run.floor]
                try:
                    self.finished[run.run_id] = file(run.plan, self.execution, self.started, floor)
                except BenchError as error:
                    self._left[run.run_id] = -1
                    self._fail(run.name, str(error))

    def _fail(self, what: str, why: str) -> None:
        self.failures.append(Failure(what, why))
        self.watcher.say(f"{what} failed: {why}")
        self._describe()

    def _describe(self) -> None:
        """Write the manifest for `bench status`."""
        runs = tuple((run.plan.spec, tuple(run.plan.shard_sizes)) for run in self.runs)
        results = self.execution.store.root.absolute()
        write_manifest(self.execution.work, Manifest(results=results, runs=runs, failures=tuple(self.failures)))
