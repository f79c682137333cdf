"""Geometry of the figures of studies, which templates draw as SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.core.schemas.study import Figure, Point
from leaderboard.drawing.axis import Axis, axis
from leaderboard.drawing.labels import Labels, below
from leaderboard.records.statistics import shared_bootstrap_interval

COLOURS = 8
"""Number of colours and dashes; a further series takes the first again."""

LEFT, RIGHT, TOP, BOTTOM = 58.0, 452.0, 12.0, 262.0
"""Frame of a panel, in pixels."""

MOST_LABELS = 8
"""Labels that a scatter plot writes beside its dots; more would cover them, and stand in the table alone."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Group:
    """The points of one series at one place of the horizontal axis."""

    x: float | str
    column: float
    mean: float
    low: float
    high: float
    """The 95 % bootstrap interval of the mean; of a single point the interval that it brings, or the mean itself."""
    quantiles: tuple[float, ...]
    """The quantiles of `QUANTILES`."""
    count: int


@dataclass(frozen=True)
class Dot:
    """One point of a scatter plot, in pixels."""

    column: float
    row: float
    words: str


@dataclass(frozen=True)
class Series:
    """The points of one series in a panel."""

    name: str
    colour: int
    groups: tuple[Group, ...]
    path: str
    """The `d` of the line through the means."""
    dots: tuple[Dot, ...]

    @property
    def by_x(self) -> dict[float | str, Group]:
        """The groups by their place."""
        return {group.x: group for group in self.groups}


@dataclass(frozen=True)
class Panel:
    """One small plot of a figure."""

    title: str
    x: Axis
    y: Axis
    marks: Labels
    """The marks of the horizontal axis, with their texts."""
    series: tuple[Series, ...]

    @property
    def labels(self) -> tuple[tuple[float, float, str], ...]:
        """Column, row and text of the labels of a scatter plot.

        Each label has a row of its own, so that labels of close columns stay readable.
        """
        groups = (group for series in self.series if series.dots for group in series.groups)
        columns = {str(group.x): group.column for group in groups}
        if len(columns) > MOST_LABELS:
            return ()
        ordered = sorted(columns.items(), key=lambda item: item[1])
        return tuple((column, TOP + 13 * k + 10, text) for k, (text, column) in enumerate(ordered))


@dataclass(frozen=True)
class Drawn:
    """A figure with its panels, which share their axes."""

    figure: Figure
    panels: tuple[Panel, ...]
    legend: tuple[tuple[str, int], ...]
    """Series and their colours."""

    @property
    def columns(self) -> tuple[float | str, ...]:
        """Every place that has points, from left to right."""
        groups = [group for panel in self.panels for series in panel.series for group in series.groups]
        return tuple(dict.fromkeys(group.x for group in sorted(groups, key=lambda group: group.column)))


def drawn(figure: Figure, points: Sequence[Point]) -> Drawn | None:
    """Return a figure of points, or None if it has none.

    Points without a panel are part of every panel.
    """
    own = [point for point in points if point.figure == figure.name]
    if not own:
        return None
    colours = {name: 1 + k % COLOURS for k, name in enumerate(dict.fromkeys(point.series for point in own))}
    titles = sorted({point.panel for point in own if point.panel}) or [""]
    across = _horizontal(figure, own)
    up = axis(_heights(figure, own), BOTTOM, TOP)
    panels = tuple(
        _panel(title, figure, [p for p in own if p.panel in {"", title}], colours, (across, up)) for title in titles
    )
    return Drawn(figure, panels, tuple(colours.items()))


class _Horizontal:
    """The horizontal axis: numbers, or words at equal distances."""

    def __init__(self, places: Iterable[float | str], numbers: bool) -> None:
        found = list(dict.fromkeys(places))
        self.words = {} if numbers else {word: k for k, word in enumerate(found)}
        if numbers:
            self.axis = axis([float(x) for x in found], LEFT, RIGHT)
        else:
            self.axis = Axis(-0.5, len(found) - 0.5, LEFT, RIGHT)

    def at(self, x: float | str) -> float:
        """Return the pixel of a number or a word."""
        return self.axis.at(self.words[x] if self.words else float(x))

    @property
    def places(self) -> tuple[tuple[float, str], ...]:
        """The marks of the axis."""
        if self.words:
            return tuple((self.at(word), str(word)) for word in self.words)
        return tuple((self.axis.at(tick), f"{tick:g}") for tick in self.axis.ticks)


def _horizontal(figure: Figure, points: Sequence[Point]) -> _Horizontal:
    """Return the horizontal axis of a figure.

    Boxes stand in the order of falling means.
    """
    if figure.kind != "boxes":
        numbers = not any(isinstance(point.x, str) for point in points)
        return _Horizontal((point.x for point in points), numbers)
    values: dict[float | str, list[float]] = defaultdict(list)
    for point in points:
        values[point.x].append(point.y)
    return _Horizontal(sorted(values, key=lambda x: -float(np.mean(values[x]))), numbers=False)


def _heights(figure: Figure, points: Sequence[Point]) -> list[float]:
    """Return the values that the vertical axis must hold."""
    if figure.kind == "scatter":
        ys = [point.y for point in points]
        count = len({point.label for point in points} - {""})
        room = 0.07 * (count if count <= MOST_LABELS else 0) * (max(ys) - min(ys))
        return [*ys, max(ys) + room]
    groups = [group for found in _grouped(points).values() for group in found.values()]
    if figure.kind == "boxes":
        ends = [QUANTILES[0], QUANTILES[-1]]
        return [float(q) for own in groups for q in np.quantile([point.y for point in own], ends)]
    return [end for own in groups for end in _interval(own)]


def _grouped(points: Iterable[Point]) -> dict[tuple[str, str], dict[float | str, list[Point]]]:
    """Return the points by panel and series, and by x."""
    found: dict[tuple[str, str], dict[float | str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        found[point.panel, point.series][point.x].append(point)
    return found


def _interval(points: Sequence[Point]) -> tuple[float, float]:
    if len(points) > 1:
        return shared_bootstrap_interval(np.asarray([point.y for point in points]))
    (only,) = points
    return only.y if only.low is None else only.low, only.y if only.high is None else only.high


def _panel(
    title: str, figure: Figure, points: Sequence[Point], colours: dict[str, int], axes: tuple[_Horizontal, Axis]
) -> Panel:
    across, up = axes
    series = []
    for name, colour in colours.items():
        own = [point for point in points if point.series == name]
        groups = _by_label(own, across) if figure.kind == "scatter" else _groups(own, across)
        path = "M" + "L".join(f"{group.column} {up.at(group.mean)}" for group in groups) if groups else ""
        dots = tuple(_dot(point, across, up) for point in own) if figure.kind == "scatter" else ()
        if own:
            series.append(Series(name, colour, groups, path if figure.kind == "curve" else "", dots))
    return Panel(title, across.axis, up, below(across.places, RIGHT - LEFT), tuple(series))


def _groups(points: Sequence[Point], across: _Horizontal) -> tuple[Group, ...]:
    found: dict[float | str, list[Point]] = defaultdict(list)
    for point in points:
        found[point.x].append(point)
    made = []
    for x, own in found.items():
        (low, high), ys = _interval(own), [point.y for point in own]
        quantiles = tuple(float(q) for q in np.quantile(ys, QUANTILES))
        count = sum(point.over for point in own)
        made.append(Group(x, across.at(x), float(np.mean(ys)), low, high, quantiles, count))
    return tuple(sorted(made, key=lambda group: group.column))


def _by_label(points: Sequence[Point], across: _Horizontal) -> tuple[Group, ...]:
    """Return the points of a scatter plot by their labels."""
    by_label: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        if point.label:
            by_label[point.label].append(point)
    together = {label: [p.model_copy(update={"x": own[0].x}) for p in own] for label, own in by_label.items()}
    return tuple(replace(_groups(own, across)[0], x=label) for label, own in together.items())


def _dot(point: Point, across: _Horizontal, up: Axis) -> Dot:
    where = f"{point.x:.3g}" if isinstance(point.x, float) else point.x
    words = ", ".join(filter(None, [point.series, point.label, f"{where}: {point.y:.3g}"]))
    return Dot(across.at(point.x), up.at(point.y), words)
