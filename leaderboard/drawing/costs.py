"""Geometry of cost curves: lowest value against gradient evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass

from leaderboard.comparisons.attack_costs import Entrant, Race
from leaderboard.drawing.axis import Axis, axis
from leaderboard.drawing.plots import LINES


@dataclass(frozen=True)
class Line:
    """The curve of one attack."""

    entrant: Entrant
    path: str
    """The `d` of its steps."""
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CostPlot:
    """Lowest values against costs, which have a logarithmic axis."""

    x: Axis
    """Of the decimal logarithms of the costs."""
    y: Axis
    ticks: tuple[tuple[float, str], ...]
    """Pixel column and text of round costs."""
    lines: tuple[Line, ...]
    floor: float | None
    """Pixel row of the best known mean."""


def cost_plot(race: Race) -> CostPlot | None:
    """Return the plot of a race, or None.

    None if no attacks share enough images. It shows the attacks that are lowest most often.
    """
    shown = [entrant for entrant in race.entrants if entrant.points][:LINES]
    if not shown:
        return None
    points = [point for entrant in shown for point in entrant.points]
    logs = [math.log10(max(point.evaluations, 1.0)) for point in points]
    x = Axis(min(logs) - 0.1, max(logs) + 0.25, 56, 620)
    y = axis([*(point.mean for point in points), *([] if race.best_known is None else [race.best_known])], 330, 14)
    lines = tuple(_line(entrant, x, y) for entrant in shown)
    return CostPlot(x, y, tuple(_ticks(x)), lines, None if race.best_known is None else y.at(race.best_known))


def _line(entrant: Entrant, x: Axis, y: Axis) -> Line:
    """Return the steps of an attack.

    A value holds until a dearer setting reaches a lower one.
    """
    dots = tuple((x.at(math.log10(max(p.evaluations, 1.0))), y.at(p.mean)) for p in entrant.points)
    path = "M" + "".join(
        f"{across:g} {down:g}" if not place else f"H{across:g}V{down:g}" for place, (across, down) in enumerate(dots)
    )
    return Line(entrant, f"{path}H{x.end:g}", dots)


def _ticks(x: Axis) -> list[tuple[float, str]]:
    """Return round costs within the axis."""
    steps = [factor * 10**power for power in range(math.ceil(x.high) + 1) for factor in (1, 2, 5)]
    return [(x.at(math.log10(step)), f"{step:,}") for step in steps if x.low <= math.log10(step) <= x.high]
