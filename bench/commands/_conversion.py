"""The printed report of `bench submit convert` about a checkpoint's keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.terminal import console

if TYPE_CHECKING:
    from bench.submission.convert import Converted

SOME_KEYS = 5
"""The most names to list per group, when the checkpoint does not fit."""


def show_conversion(converted: Converted) -> None:
    """Print for every key of a checkpoint how the conversion used it.

    If the checkpoint does not fit, only the first names are listed.
    """
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
    console.show_text("\n".join(lines))


def _some(names: Sequence[str], every: bool) -> list[str]:
    """Return names as indented lines, shortened when the conversion failed."""
    shown = names if every else names[:SOME_KEYS]
    rest = [f"  … and {len(names) - len(shown)} more"] if len(names) > len(shown) else []
    return [*(f"  {name}" for name in shown), *rest]
