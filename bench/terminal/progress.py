"""Progress of long work on stderr.

At a terminal it is a bar, elsewhere a line from time to time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from bench.core.errors import Interrupted
from bench.core.text import counted, printable
from bench.terminal.console import err

Item = TypeVar("Item")
Result = TypeVar("Result")

SECONDS_PER_LINE = 15.0
"""Seconds between two lines of a training that runs without a terminal."""


def seconds_left(task: Task) -> float | None:
    """Return the seconds that a task still needs, or None.

    It is None before anything is done. The pace is the mean since this process began the task. Batches of many workers
    finish in bursts, so a pace over a short time would be misleading.
    """
    advanced = task.completed - task.fields["begun"]
    if advanced <= 0 or task.elapsed is None or task.total is None:
        return None
    return float(task.elapsed * (task.total - task.completed) / advanced)


def duration(seconds: float | None) -> str:
    """Return seconds as hours, minutes and seconds, or "unknown"."""
    return "unknown" if seconds is None else str(timedelta(seconds=round(seconds)))


class _TimeLeft(ProgressColumn):
    """A column with the estimate as hours, minutes and seconds."""

    def render(self, task: Task) -> Text:
        """Return the estimate for one task."""
        left = seconds_left(task)
        return Text("-:--:--" if left is None else str(timedelta(seconds=round(left))), "progress.remaining")


class _Bar:
    """A progress bar with an estimate of the time left.

    If stderr is not a terminal, it prints a line from time to time. An interrupt from the keyboard becomes a sentence
    that says which work is kept.
    """

    def __init__(self, unit: str, kept: Callable[[], str] | None) -> None:
        self._kept = kept
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            TextColumn("left"),
            _TimeLeft(),
            console=err,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def close(self) -> None:
        """Take the bar away before tables are printed."""
        self._bar.stop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if isinstance(error, KeyboardInterrupt) and self._kept is not None:
            raise Interrupted(f"interrupted; {self._kept()}") from error


class RunProgress(_Bar):
    """Progress of runs, in images.

    After an interrupt it says that the same command continues, if a command was given.
    """

    item, parts = "image", "shards"

    def __init__(self, *, command: bool = True) -> None:
        self._told: set[str] = set()
        kept = f"finished {self.parts} are kept: the same command continues"
        super().__init__(f"{self.item}s", (lambda: kept) if command else None)

    def start(self, title: str, total: int, done: int) -> None:
        """Begin work on `total` items, `done` of which earlier processes finished."""
        self._task = self._bar.add_task(title, total=total, completed=done, begun=done)
        self._title, self._total, self._done = title, total, done
        if not err.is_terminal:
            err.print(f"{title}: {done} of {counted(total, self.item)} done", soft_wrap=True)

    def advance(self, images: int) -> None:
        """Count this number of items as finished."""
        self._bar.advance(self._task, images)
        before, self._done = self._done, self._done + images
        tenth = max(1, self._total // 10)
        if not err.is_terminal and self._done // tenth > before // tenth:
            left = seconds_left(self._bar.tasks[self._task])
            eta = "" if left is None or self._done >= self._total else f", about {left:.0f} s left"
            err.print(f"{self._title}: {self._done} of {counted(self._total, self.item)}{eta}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a remark above the bar, once."""
        if text not in self._told:
            self._told.add(text)
            self._bar.console.print(printable(text), soft_wrap=True)


class StudyProgress(RunProgress):
    """Progress of a study, in pieces."""

    item, parts = "piece", "pieces"


class ReadingProgress(_Bar):
    """Progress of reading the rows of records.

    Without a terminal it prints one line in the beginning.
    """

    def __init__(self, total: int) -> None:
        super().__init__("records", None)
        self._task = self._bar.add_task("reading", total=total, begun=0)
        if not err.is_terminal:
            err.print(f"reading {counted(total, 'record')}", soft_wrap=True)

    def counting(self, read: Callable[[Item], Result]) -> Callable[[Item], Result]:
        """Return a function that reads an item and counts it as done."""

        def read_one(item: Item) -> Result:
            found = read(item)
            self._bar.advance(self._task)
            return found

        return read_one


class TrainingProgress(_Bar):
    """Progress of a training, in steps.

    `kept` returns what is kept after an interrupt.
    """

    def __init__(self, name: str, kept: Callable[[], str]) -> None:
        super().__init__("steps", kept)
        self._name = name
        self._tasks: dict[int, Any] = {}
        self._said = 0.0

    def __call__(self, text: str, done: int, total: int) -> None:
        """Show a line of text, the steps done and all steps."""
        if begins := total not in self._tasks:
            self._tasks[total] = self._bar.add_task(self._name, total=total, completed=done, begun=done)
        self._bar.update(self._tasks[total], completed=done, description=f"{self._name}: {text}")
        if not err.is_terminal and (begins or done == total or time.monotonic() - self._said > SECONDS_PER_LINE):
            self._said = time.monotonic()
            left = seconds_left(self._bar.tasks[self._tasks[total]])
            eta = "" if left is None or done == total else f", about {timedelta(seconds=round(left))} left"
            err.print(f"{self._name}: {done} of {total}: {text}{eta}", soft_wrap=True)
