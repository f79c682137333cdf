"""Lays out the plot of clean accuracy against robustness."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from leaderboard.boards.board import Board, Standing, robustness
from leaderboard.drawing.axis import Axis, axis
from leaderboard.drawing.plots import LINES, score_ends

OTHERS = "others"
"""The last entry of a legend that has more trainers than colours."""

NAMED = 12
"""With more points than this, a scatter plot names only the points on the Pareto front."""

NAME_WIDTH = 120
"""Width of a name in pixels."""


@dataclass(frozen=True)
class Point:
    """A model in the scatter plot."""

    model: str
    x: float
    y: float
    low: float
    high: float
    on_front: bool
    label: float | None
    """Pixel row of the name, or None for a point without a name."""
    leftward: bool
    """Whether the name stands left of the dot, because another dot is in the way on the right."""
    trainer: str
    """Who trained the model, as the legend names them."""


@dataclass(frozen=True)
class Scatter:
    """Plot of clean accuracy against robustness."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    trainers: tuple[str, ...]
    """Who trained the models, one colour each."""


def scatter(board: Board) -> Scatter | None:
    """Return the plot of clean accuracy against score, or None.

    The front holds the models that no other model beats in both. None means fewer than two models with a score.
    """
    found = [(s, _clean(s), *ends) for s in board.compared if (ends := score_ends(s)) is not None]
    if len(found) < 2:
        return None
    sign = robustness(board.spec.primary, 1.0)
    x, y = axis([f[1] for f in found], 56, 620), axis([v for f in found for v in f[2:]], 330, 14)
    best = {s.entry.name for s, clean, _, value, _ in found if not _beaten(clean, sign * value, found, sign)}
    rows: dict[str, float] = {}
    for standing, clean, _, value, _ in sorted(found, key=lambda f: (y.at(f[3]), f[0].entry.name)):
        if len(found) <= NAMED or standing.entry.name in best:
            here = x.at(clean)
            near = [
                rows[s.entry.name] for s, c, *_ in found if s.entry.name in rows and abs(x.at(c) - here) < NAME_WIDTH
            ]
            rows[standing.entry.name] = max([y.at(value) + 4, *(row + 14 for row in near)])
    dots = [(x.at(clean), y.at(value)) for _, clean, _, value, _ in found]

    def crowded(clean: float, value: float) -> bool:
        here, row = x.at(clean), y.at(value)
        in_the_way = any(0 < right - here < NAME_WIDTH and abs(down - row) < 12 for right, down in dots)
        return in_the_way and here - NAME_WIDTH > x.start

    named = _trainers([s.entry.training.trainer for s, *_ in found])
    points = [
        Point(
            model=s.entry.name,
            x=clean,
            y=value,
            low=low,
            high=high,
            on_front=s.entry.name in best,
            label=rows.get(s.entry.name),
            leftward=crowded(clean, value),
            trainer=s.entry.training.trainer if s.entry.training.trainer in named else OTHERS,
        )
        for s, clean, low, value, high in found
    ]
    front = sorted((p for p in points if p.on_front), key=lambda point: (point.x, point.model))
    return Scatter(x, y, tuple(points), tuple(front), named)


def _trainers(found: list[str]) -> tuple[str, ...]:
    """Return at most `LINES` trainers, those of most models first.

    The last one is `OTHERS` if there are more.
    """
    ordered = [name for name, _ in sorted(Counter(found).items(), key=lambda item: (-item[1], item[0]))]
    return tuple(ordered if len(ordered) <= LINES else [*ordered[: LINES - 1], OTHERS])


def _clean(standing: Standing) -> float:
    if standing.entry.accuracy is not None:
        return standing.entry.accuracy.clean
    record = next(iter(standing.runs.values())).record
    return record.correct / record.samples


def _beaten(clean: float, robust: float, found: list[tuple[Standing, float, float, float, float]], sign: float) -> bool:
    others = [(other, sign * value) for _, other, _, value, _ in found]
    return any(c >= clean and r >= robust and (c > clean or r > robust) for c, r in others)
