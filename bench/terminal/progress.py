"""Progress of long work on stderr: bars at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

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

SECONDS_PER_LINE = 15.0
"""Of a training that is not watched at a terminal."""


def seconds_left(task: Task) -> float | None:
    """Return how long a task will take at its pace since this process began it; None before anything is done.

    Batches of many workers come in bursts, so that the pace of a short while says nothing.
    """
    advanced = task.completed - task.fields["begun"]
    if advanced <= 0 or task.elapsed is None or task.total is None:
        return None
    return float(task.elapsed * (task.total - task.completed) / advanced)


class _TimeLeft(ProgressColumn):
    """The estimate, as hours, minutes and seconds."""

    def render(self, task: Task) -> Text:
        """Show one task's."""
        left = seconds_left(task)
        return Text("-:--:--" if left is None else str(timedelta(seconds=round(left))), "progress.remaining")


class _Bar:
    """A progress bar with an ETA; where stderr is no terminal, a line now and then.

    An interrupt from the keyboard becomes a sentence that says what is kept of the work.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if isinstance(error, KeyboardInterrupt) and self._kept is not None:
            raise Interrupted(f"interrupted; {self._kept()}") from error


class RunProgress(_Bar):
    """Progress of runs, in images; after an interrupt the same command continues them, where one was given."""

    def __init__(self, *, command: bool = True) -> None:
        super().__init__(
            "images", (lambda: "finished shards are kept: the same command continues") if command else None
        )

    def start(self, title: str, total: int, done: int) -> None:
        """Begin a run of `total` images, `done` of which earlier processes finished."""
        self._task = self._bar.add_task(title, total=total, completed=done, begun=done)
        self._title, self._total, self._done = title, total, done
        if not err.is_terminal:
            err.print(f"{title}: {done} of {counted(total, 'image')} done", soft_wrap=True)

    def advance(self, images: int) -> None:
        """Count so many more images as finished."""
        self._bar.advance(self._task, images)
        before, self._done = self._done, self._done + images
        tenth = max(1, self._total // 10)
        if not err.is_terminal and self._done // tenth > before // tenth:
            left = seconds_left(self._bar.tasks[self._task])
            eta = "" if left is None else f", about {left:.0f} s left"
            err.print(f"{self._title}: {self._done} of {counted(self._total, 'image')}{eta}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Print a remark above the bar."""
        self._bar.console.print(printable(text), soft_wrap=True)


class TrainingProgress(_Bar):
    """Progress of a training, in steps; `kept` says what there is after an interrupt."""

    def __init__(self, name: str, kept: Callable[[], str]) -> None:
        super().__init__("steps", kept)
        self._name = name
        self._tasks: dict[int, Any] = {}
        self._said = 0.0

    def __call__(self, text: str, done: int, total: int) -> None:
        """Show a line of text, the steps done and the steps in all."""
        if begins := total not in self._tasks:
            self._tasks[total] = self._bar.add_task(self._name, total=total, completed=done, begun=done)
        self._bar.update(self._tasks[total], completed=done, description=f"{self._name}: {text}")
        if not err.is_terminal and (begins or done == total or time.monotonic() - self._said > SECONDS_PER_LINE):
            self._said = time.monotonic()
            left = seconds_left(self._bar.tasks[self._tasks[total]])
            eta = "" if left is None or done == total else f", about {timedelta(seconds=round(left))} left"
            err.print(f"{self._name}: {done} of {total}: {text}{eta}", soft_wrap=True)
