"""Tables and charts of the tracks.

A track is a question about models other than the robustness of their attributions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from bench import registry
from bench.core.schemas.records import LEVEL_MARK, OVER_ALL, Summary
from bench.core.schemas.spec import PluginSpec, RunSpec
from bench.core.schemas.track import Track
from leaderboard.drawing.axis import Axis
from leaderboard.drawing.plots import LINES
from leaderboard.records.index import Book, Measure

AFTER = "-after"
"""Ending of a metric's name where it is measured after the attack."""
TICKS = 10
"""Most labels on an axis; more would cover each other."""
BEST = "best"
"""Level of a column that shows the best of a metric's own levels."""


@cache
def questions() -> dict[str, Track]:
    """Return the tracks by name, in the order of their pages.

    The attribution track is not among them, as the boards show it.
    """
    found = {name: registry.load("tracks", name) for name in registry.names("tracks")}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


@dataclass(frozen=True)
class Column:
    """Column of a table, for one attack or one of its levels."""

    attack: str
    level: str


@dataclass(frozen=True)
class Line:
    """Row of a model."""

    model: str
    apart: str
    """Why the model stands beside the others; empty if it contends."""
    values: tuple[Summary | None, ...]


@dataclass(frozen=True)
class Table:
    """Table with models as rows and attacks or levels as columns."""

    caption: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The attacks with their numbers of columns."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.attack:
                found[-1] = (column.attack, found[-1][1] + 1)
            else:
                found.append((column.attack, 1))
        return found


@dataclass(frozen=True)
class Chart:
    """Plot of a metric against the levels of a series.

    It has one line per model; the levels stand at equal distances.
    """

    attack: str
    words: str
    """What is drawn, such as a metric under an attack."""
    ticks: tuple[tuple[float, str], ...]
    y: Axis
    lines: tuple[tuple[str, str], ...]
    """Model name, and the `d` of its path."""


@dataclass(frozen=True)
class Section:
    """Tables and charts of one protocol of a track."""

    key: str
    spec: RunSpec
    attacks: tuple[PluginSpec, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]


def sections(book: Book, track: str) -> list[Section]:
    """Return the tables and charts of a track, per protocol."""
    keys = sorted(key for key, protocol in book.protocols.items() if protocol.track == track)
    return [_section(book, key, questions()[track].metrics) for key in keys]


def _section(book: Book, key: str, metrics: tuple[str, ...]) -> Section:
    found = {
        attack: next(run for model in book.models(key) if (run := book.run(key, model, attack)) is not None)
        for attack in book.attacks(key)
    }
    anyone = next(iter(found.values())).record.spec
    measured = {metric.name for metric in anyone.metrics}
    alone = [name for name in metrics if name in measured and _before(name) not in measured.intersection(metrics)]
    tables = [table for metric in alone for table in tables_of(book, anyone, metric)]
    drawn = [metric for metric in metrics if metric in measured]
    charts = [c for metric in drawn for c in _charts(book, key, metric, before=f"{metric}{AFTER}" in measured)]
    charts = list({(chart.words, chart.lines): chart for chart in charts}.values())
    specs = tuple(run.record.spec.attack for run in found.values())
    return Section(key, anyone, specs, tuple(tables), tuple(charts))


def _before(metric: str) -> str:
    """Return the metric before the attack of one after it, or nothing."""
    return metric.removesuffix(AFTER) if metric.endswith(AFTER) else ""


def tables_of(book: Book, spec: RunSpec, metric: str) -> Iterator[Table]:
    """Yield a metric's table if any model has it.

    If the protocol measures it after the attack, too, the table shows both.

    Args:
        book: all records.
        spec: of any run of the protocol.
        metric: a name.
    """
    after = any(measured.name == f"{metric}{AFTER}" for measured in spec.metrics)
    return _tables(book, spec.protocol.key, metric, after=after)


def _tables(book: Book, key: str, metric: str, *, after: bool = False) -> Iterator[Table]:
    own = tuple(_columns(book, key, metric))
    columns = (Column("before", own[0].level), *_columns(book, key, f"{metric}{AFTER}")) if after else own
    lines = []
    for model in book.models(key):
        seen = [_shown(book, key, column, metric, model) for column in own]
        if after:  # before it, the value is the same under every attack
            known = next((value for value in seen if value is not None), None)
            seen = [known, *(_shown(book, key, column, f"{metric}{AFTER}", model) for column in columns[1:])]
        if any(value is not None for value in seen):
            lines.append(Line(model, book.entries[model].apart, tuple(seen)))
    if lines:
        sides = " before and after the attack" if after else ""
        yield Table(f"Mean {metric}{sides} over {_over(metric)}", columns, tuple(sorted(lines, key=_order)))


def _over(metric: str) -> str:
    """Return in words the images that a mean is over."""
    if metric == "accuracy-on-correct":
        return "the images that each model classifies correctly before the change"
    if metric == "shape-bias":
        return "the images that each model answers by shape or texture"
    return "the images that each model classifies correctly" if _of_maps(metric) else "all images"


def _order(line: Line) -> tuple[object, ...]:
    means = [value.mean for value in line.values if value is not None and value.mean is not None]
    return bool(line.apart), -sum(means) / max(1, len(means)), line.model


def _of_maps(metric: str) -> bool:
    return not f"{metric}-".startswith(("robust-accuracy-", *(f"{name}-" for name in OVER_ALL)))


def _columns(book: Book, key: str, metric: str) -> Iterator[Column]:
    """Yield a column per attack, level or kind of corruption.

    An attack without levels has one column. Corruptions have a column per kind, and one for the mean over all. A metric
    with levels of its own, such as thresholds, has one column with the best of them.
    """
    for attack in book.attacks(key):
        levels = book.levels(key, attack, metric)
        if levels and _has_levels_itself(book, key, attack, metric):
            yield Column(attack, BEST)
            continue
        if attack == "corruption":
            levels = list(dict.fromkeys(level.rpartition("-")[0] for level in levels))
        yield from (Column(attack, level) for level in levels)
        if not levels or attack == "corruption":
            yield Column(attack, "mean" if levels else "")


def _has_levels_itself(book: Book, key: str, attack: str, metric: str) -> bool:
    """Return whether levels belong to the metric and not to the attack.

    Neutral metrics are measured at the last level of an attack only.
    """
    runs = (book.run(key, model, attack) for model in book.models(key))
    spec = next(run.record.spec for run in runs if run is not None)
    return any(found.name == metric and found.higher_is == "neutral" for found in spec.metrics)


def _shown(book: Book, key: str, column: Column, metric: str, model: str) -> Summary | None:
    """Return the value of a table's cell."""
    if column.level != BEST:
        return _value(book, _measure(key, column, metric), model)
    levels = [Column(column.attack, level) for level in book.levels(key, column.attack, metric)]
    values = [_value(book, _measure(key, each, metric), model) for each in levels]
    known = [(value.mean, value) for value in values if value is not None and value.mean is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


def _measure(key: str, column: Column, metric: str) -> list[Measure]:
    """Return the measures whose mean a column shows."""
    samples = "correct" if _of_maps(metric) else "all"
    kind = column.attack == "corruption" and column.level not in ("", "mean")
    suffixes = [f"{LEVEL_MARK}{column.level}-{s}" for s in range(1, 6)] if kind else [f"{LEVEL_MARK}{column.level}"]
    if column.level in ("", "mean"):
        suffixes = [""]
    return [
        Measure.model_validate(
            {"protocol": key, "attack": column.attack, "metric": metric + suffix, "samples": samples}
        )
        for suffix in suffixes
    ]


def _value(book: Book, measures: list[Measure], model: str) -> Summary | None:
    found = [value for measure in measures if (value := book.value(measure, model)) is not None]
    if len(found) < 2:
        return found[0] if found else None
    means = [value.mean for value in found if value.mean is not None]
    return Summary(mean=sum(means) / len(means), low=None, high=None, n=found[0].n, n_undefined=found[0].n_undefined)


def _charts(book: Book, key: str, metric: str, *, before: bool) -> Iterator[Chart]:
    """Yield a chart for each series whose levels have one scale."""
    for attack in book.attacks(key):
        levels = book.levels(key, attack, metric)
        if len(levels) < 2 or attack == "corruption":
            continue
        every = -(-len(levels) // TICKS)
        ticks = tuple((56 + 564 * i / (len(levels) - 1), "" if i % every else level) for i, level in enumerate(levels))
        (table,) = _tables(book, key, metric)
        columns = [Column(attack, level) for level in levels]
        chosen = [line.model for line in table.lines if not line.apart][:LINES]
        values = {model: [_shown(book, key, column, metric, model) for column in columns] for model in chosen}
        heights = [v.mean for own in values.values() for v in own if v is not None and v.mean is not None]
        if not heights:
            continue
        y = Axis(min(0.0, *heights), max(1.0, *heights), 330, 14)
        drawn = tuple((model, _path(own, ticks, y)) for model, own in values.items())
        when = "before the attack" if before else f"under {attack}"
        yield Chart(attack, f"{metric.removesuffix(AFTER)} {when}", ticks, y, drawn)


def _path(values: list[Summary | None], ticks: tuple[tuple[float, str], ...], y: Axis) -> str:
    points = [
        f"{x:g} {y.at(value.mean):g}"
        for (x, _), value in zip(ticks, values, strict=True)
        if value is not None and value.mean is not None
    ]
    return "M" + "L".join(points)


def corruption_errors(book: Book, key: str, baseline: str) -> list[tuple[str, float]]:
    """Return each model's mean corruption error (mCE), best first.

    It is the mean over the kinds of the model's error divided by the baseline's error.
    """
    found = []
    for model in book.models(key):
        ratios = []
        for column in _columns(book, key, "robust-accuracy"):
            if column.attack != "corruption" or column.level == "mean":
                continue
            measures = _measure(key, column, "robust-accuracy")
            own, base = (_value(book, measures, name) for name in (model, baseline))
            if own is not None and base is not None and own.mean is not None and base.mean not in (None, 1.0):
                assert base.mean is not None
                ratios.append((1 - own.mean) / (1 - base.mean))
        if ratios:
            found.append((model, sum(ratios) / len(ratios)))
    return sorted(found, key=lambda item: item[1])
