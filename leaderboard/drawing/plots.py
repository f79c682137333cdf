"""Geometry of a board's plots, which templates draw as SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.core.schemas.flags import Knob
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.audit_curves import Curve
from leaderboard.boards.audit_curves import Point as SweepPoint
from leaderboard.boards.board import Board, Standing, ranking_rows, robustness
from leaderboard.drawing.axis import Axis, axis

Floats = npt.NDArray[np.float64]

LINES = 8
"""Number of models in one plot of curves at most, as colours and dashes tell no more apart."""

ROWS = 40
"""Number of models at most in a plot with one row per model."""

QUANTILES = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Interval:
    """A model's row in a plot of values with intervals."""

    model: str
    low: float
    value: float
    high: float
    group: int | None


@dataclass(frozen=True)
class Curves:
    """Cumulative distributions over the images, one line per model."""

    x: Axis
    y: Axis
    lines: tuple[tuple[str, str], ...]
    """Model name, and the `d` of its path."""


@dataclass(frozen=True)
class Panel:
    """Plot of one sweep, with its points at equal distances."""

    curve: Curve
    y: Axis
    points: tuple[tuple[float, SweepPoint], ...]
    """Pixel column, and the run, by rising value of the knob."""

    @property
    def path(self) -> str:
        """The `d` of the path through the means."""
        return "M" + "L".join(f"{x:g} {self.y.at(point.mean):g}" for x, point in self.points)


@dataclass(frozen=True)
class Sweep:
    """Plot of robustness against one knob, one line per model."""

    knob: Knob
    attack: str
    x: Axis
    y: Axis
    lines: tuple[tuple[str, Curve, str], ...]
    """Model name, its curve, and the `d` of the curve's path."""


def scores(board: Board) -> list[Interval]:
    """Return the scores of a board's first models, with intervals."""
    found = [(s, ends) for s in board.compared if (ends := score_ends(s)) is not None]
    return [Interval(s.entry.name, *ends, s.group) for s, ends in found][:ROWS]


def ranks(board: Board) -> list[Interval]:
    """Return the ranks of a board's first models, with intervals."""
    found = [(s, s.rank, s.rank_interval) for s in board.standings]
    return [
        Interval(s.entry.name, ends[0], rank, ends[1], s.group)
        for s, rank, ends in found
        if rank is not None and ends is not None
    ][:ROWS]


def distribution(board: Board, read_rows: Callable[[StoredRun], pd.DataFrame]) -> Curves | None:
    """Return the distributions of the primary metric over the images.

    One line per model, under the attack that scores it. None for a board without compared models.
    """
    curves: dict[str, Floats] = {}
    for standing in board.compared[:LINES]:
        rows = ranking_rows(board, read_rows(standing.runs[str(standing.headline)]))
        values = rows[board.spec.primary_metric].dropna()
        curves[standing.entry.name] = np.quantile(values.to_numpy(float), QUANTILES)
    if not curves:
        return None
    x, y = axis([float(v) for curve in curves.values() for v in curve[[0, -1]]], 56, 620), Axis(0, 1, 330, 14)
    lines = {name: _path(x, y, curve) for name, curve in curves.items()}
    return Curves(x, y, tuple(lines.items()))


def panel(curve: Curve) -> Panel:
    """Return the plot of a sweep, 360 pixels wide and 200 high."""
    ends = [end for p in curve.points for end in (p.summary.low, p.mean, p.summary.high) if end is not None]
    columns = np.linspace(80, 330, len(curve.points)).round(1).tolist()
    return Panel(curve, axis(ends, 160, 12), tuple(zip(columns, curve.points, strict=True)))


def sweeps(board: Board) -> list[Sweep]:
    """Return one plot of curves per attack and knob of the audits.

    Each plot shows the first audited models of the board.
    """
    groups: dict[tuple[str, Knob], list[tuple[str, Curve]]] = defaultdict(list)
    for standing in board.standings:
        for curve in standing.sweeps:
            groups[curve.attack, curve.knob].append((standing.entry.name, curve))
    made = []
    for (attack, knob), curves in sorted(groups.items()):
        shown = curves[:LINES]
        points = [point for _, curve in shown for point in curve.points]
        x = axis([point.value for point in points], 56, 620)
        ends = [(point.mean, point.summary.low, point.summary.high) for point in points]
        y = axis([value for end in ends for value in end if value is not None], 330, 14)
        lines = tuple((name, curve, _line(x, y, curve)) for name, curve in shown)
        made.append(Sweep(knob, attack, x, y, lines))
    return made


def _line(x: Axis, y: Axis, curve: Curve) -> str:
    return "M" + "L".join(f"{x.at(point.value):g} {y.at(point.mean):g}" for point in curve.points)


def heat(board: Board) -> list[tuple[Standing, list[tuple[str, float | None, int | None]]]]:
    """Return the cells of the table of models and attacks.

    A cell holds the attack's name, the mean, and the step of its colour from 0, the least robust, to 9.
    """
    primary = board.spec.primary_metric
    means = [{attack: _mean(s, attack, primary) for attack in board.attacks} for s in board.standings[:ROWS]]
    known = [robustness(board.spec.primary, mean) for row in means for mean in row.values() if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)

    def step(mean: float | None) -> int | None:
        if mean is None:
            return None
        return min(9, int(10 * (robustness(board.spec.primary, mean) - low) / ((high - low) or 1.0)))

    rows = [[(attack, mean, step(mean)) for attack, mean in row.items()] for row in means]
    return list(zip(board.standings, rows, strict=False))


def _mean(standing: Standing, attack: str, metric: str) -> float | None:
    summary = standing.summary(attack, metric)
    return None if summary is None else summary.mean


def _path(x: Axis, y: Axis, curve: Floats) -> str:
    return "M" + "L".join(f"{x.at(float(v)):g} {y.at(float(q)):g}" for v, q in zip(curve, QUANTILES, strict=True))


def score_ends(standing: Standing) -> tuple[float, float, float] | None:
    """Return low end, mean and high end of a score, or None."""
    score = standing.score
    if score is None or score.mean is None or score.low is None or score.high is None:
        return None
    return score.low, score.mean, score.high
