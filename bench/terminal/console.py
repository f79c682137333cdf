"""What people see in the terminal: progress on stderr, results on stdout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleDimensions
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from bench.core.errors import Interrupted
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import Summary
from bench.core.text import counted, printable

if TYPE_CHECKING:
    from bench.checks.doctor import Finding
    from bench.checks.verify import Check
    from bench.core.storage.store import StoredRun
    from bench.submission.convert import Converted

SECONDS_PER_LINE = 15.0
"""Of a training that is not watched at a terminal."""

ACCURACIES = ("clean", "PGD-40")
SOME_KEYS = 5
"""Of each kind, of a checkpoint that does not fit."""

UNBOUNDED = 10_000
"""Columns of a page that no terminal shows: wider than any line of ours."""


class _Page(Console):
    """As wide as its terminal; in a file or a pipe as wide as its lines, so that none breaks or ends in blanks."""

    @property  # type: ignore[misc]  # rich lets it be set; nobody here does
    def size(self) -> ConsoleDimensions:
        """Columns and rows."""
        size = super().size
        return size if self.is_terminal else ConsoleDimensions(UNBOUNDED, size.height)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as any console does."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))


out = _Page(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


def show_error(text: str) -> None:
    """Print one sentence on stderr."""
    err.print(Text.assemble(("error: ", "bold red"), printable(text)), soft_wrap=True)


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


def show_runs(runs: Sequence[StoredRun], protocol: Protocol) -> None:
    """Print the means of finished runs of one model, the floor beside the attack."""
    record = runs[0].record
    title = (
        f"{record.spec.model.name} under {protocol.key}, {counted(record.samples, 'image')}, {record.correct} correct"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("metric")
    for run in runs:
        table.add_column(run.record.spec.attack.name, justify="right")
    for metric in protocol.metrics:
        cells = [_interval(run.record.headline[metric.name]) for run in runs]
        style = "bold" if metric.name == protocol.primary_metric else ""
        table.add_row(metric.name, *cells, style=style)
    table.add_section()
    table.add_row("n", *(str(run.record.correct) for run in runs))
    table.add_row("infeasible", *(str(run.record.infeasible) for run in runs))
    table.caption = (
        f"mean [95 % bootstrap interval] over the correctly classified images (accuracy: over all); "
        f"{protocol.primary_metric} is what attacks minimise and what ranks"
    )
    out.print(table)
    for run in runs:
        for flag in run.record.flags:
            out.print(
                Text.assemble((f"{run.record.spec.attack.name}: {flag.name}", "yellow"), f": {printable(flag.detail)}")
            )
    if not protocol.rankable:
        out.print(f"{protocol.key} is not ranked; bench list protocols says what each is for.")
    for run in runs:
        out.print(f"record: {run.path}", soft_wrap=True)


def show_lists(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print one line per plug-in: its name, what there is to count, and its summary, which ends where a terminal does.

    The kinds are named where there are several.
    """
    for kind, rows in found.items():
        if len(found) > 1:
            out.print(Text(kind, "bold underline"))
        heads = list(rows[0]) if rows else ["name"]
        lines = [heads, *([printable(str(value), keep="") for value in row.values()] for row in rows)]
        widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
        for index, cells in enumerate(lines):
            padded = map(set_cell_size, cells[:-1], widths)
            line = Text("  ".join([*padded, cells[-1]]), "" if index else "bold")
            line.truncate(out.width, overflow="ellipsis")
            out.print(line)


def show_plugin(kind: str, name: str, content: Mapping[str, Any]) -> None:
    """Print what a plug-in says of itself."""
    out.print(Text.assemble((name, "bold"), f" ({kind})"))
    table = Table(show_header=False, show_edge=False, box=None)
    for key, value in content.items():
        if key == "parameters":
            for number, (parameter, said) in enumerate(value.items()):
                line = Text.assemble(f"{parameter}: {said['value']}", (f"\n  {said['meaning']}", "dim"))
                table.add_row("" if number else key, line)
        else:
            text = value if isinstance(value, str) else _compact(value)
            table.add_row(Text(printable(key)), Text(printable(text)))
    out.print(table)


def show_checks(checks: Sequence[Check]) -> None:
    """Print the answers of a verification."""
    for check in checks:
        mark = ("ok    ", "green") if check.ok else ("FAILED", "bold red")
        if check.skipped:
            mark = ("skip  ", "yellow")
        out.print(Text.assemble(mark, printable(f" {check.subject}: {check.question}: {check.detail}")), soft_wrap=True)
    failed, skipped = sum(not check.ok for check in checks), sum(check.skipped for check in checks)
    passed = f"{len(checks) - failed - skipped} of {len(checks)} checks passed"
    out.print(f"{passed}, {skipped} skipped" if skipped else passed)


def show_check_table(checks: Sequence[Check]) -> None:
    """Print the answers of a submission's checks as a table."""
    table = Table(title=printable(checks[0].subject), title_justify="left")
    for column in ("check", "", "answer"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = Text("ok", "green") if check.ok else Text("FAILED", "bold red")
        table.add_row(check.question, mark, Text(printable(check.detail)))
    out.print(table)
    failed = sum(not check.ok for check in checks)
    out.print(f"{len(checks) - failed} of {len(checks)} checks passed")


def show_conversion(converted: Converted) -> None:
    """Print what became of every key of a checkpoint, of some of each kind where they do not fit."""
    report, read = converted.fitted.report, converted.checkpoint
    params = ", ".join(f"{key} {value}" for key, value in converted.fitted.params.items())
    also = f"; it also holds {', '.join(map(repr, read.others))} (--table)" if read.others else ""
    lines = [
        f"read: {f'table {read.table!r}' if read.table else 'the file itself'}{also}",
        f"parameters: {params or 'defaults'}",
        f"normalisation: {converted.normalisation}",
        f"matched: {len(report.matched)}",
        f"renamed: {len(report.renamed)}",
        *_some([f"{theirs} -> {ours}" for theirs, ours in report.renamed.items()], report.complete),
        f"dropped: {len(read.dropped)}",
        *_some(read.dropped, False),
    ]
    for what in ("unused", "filled", "missing", "unexpected", "misshapen"):
        names = getattr(report, what)
        lines += [f"{what}: {len(names)}", *_some(names, report.complete)]
    show_text("\n".join(lines))


def _some(names: Sequence[str], every: bool) -> list[str]:
    """Return lines of names; of a conversion that failed the first few, which tell whether anything fits."""
    shown = names if every else names[:SOME_KEYS]
    rest = [f"  … and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
    return [*(f"  {name}" for name in shown), *rest]


def show_text(text: str) -> None:
    """Print lines that may hold a stranger's words."""
    out.print(Text(printable(text)), soft_wrap=True)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what `bench doctor` found."""
    for finding in findings:
        mark = ("ok     ", "green") if finding.ok else ("missing", "bold yellow")
        text = f" {finding.subject}: {finding.detail}" + ("" if finding.ok else f"; {finding.remedy}")
        out.print(Text.assemble(mark, text), soft_wrap=True)


def show_trained(entry: ModelEntry, path: Path) -> None:
    """Print what a finished training measured."""
    out.print(f"{entry.name}: {accuracies(entry)}")
    out.print(f"entry: {path}", soft_wrap=True)


def accuracies(entry: ModelEntry) -> dict[str, str]:
    """Return a model's measured accuracies as text."""
    measured = entry.accuracy
    clean = pgd = "unknown"
    if measured is not None:
        clean = f"{measured.clean:.2%}"
        pgd = pgd if measured.pgd40 is None else f"{measured.pgd40:.2%} at {measured.epsilon}"
    return dict(zip(ACCURACIES, (clean, pgd), strict=True))


def _interval(summary: Summary) -> str:
    if summary.mean is None:
        return "undefined"
    return f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"


def _compact(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"
