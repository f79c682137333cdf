"""Units by the workers of an executor, lost units tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from bench.core.contracts import Executor, Hire
from bench.core.schemas.units import Report, Unit

ATTEMPTS = 3
"""How often a unit is tried when its workers disappear. A unit that kills every worker must end."""


def rounds(
    todo: Sequence[Unit], executor: Executor, hire: Callable[[bool], Hire], advance: Callable[[int], None]
) -> Iterator[Report]:
    """Yield reports, and try lost units again.

    Args:
        todo: the units, in the order of their importance.
        executor: does the units with its workers.
        hire: makes workers; its argument says whether they wait for a unit that another process works on.
        advance: called with the size that was finished, as it comes; it is negative for a unit that was lost.
    """
    lost, advanced, patient = Counter[str](), Counter[str](), False

    def count(unit: Unit, size: int) -> None:
        advanced[unit.id] += size
        if size:
            advance(size)

    while todo:
        again = []
        for report in executor.run(todo, hire(patient)):
            unit = report.unit
            if report.kind == "done":
                count(unit, unit.size - advanced[unit.id])
            elif report.kind in {"failed", "busy", "lost"}:
                count(unit, -advanced[unit.id])
            else:
                count(unit, report.advanced)
            if report.kind == "busy":
                again.append(unit)
            elif report.kind == "lost":
                lost[unit.id] += 1
                if lost[unit.id] < ATTEMPTS:
                    again.append(unit)
                    yield report._replace(kind="note", text=f"{report.text}; it will be begun again")
                else:
                    yield report._replace(kind="failed", text=f"{report.text}, {ATTEMPTS} times")
            else:
                yield report
        todo, patient = again, True
