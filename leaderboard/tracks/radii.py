"""A metric against the radius, from runs of one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from bench.core.schemas.records import LEVEL_MARK, Summary
from bench.core.schemas.study import Figure, Point
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.drawing.studies import Drawn, drawn
from leaderboard.records.selection import newest_weights, of_weights

WITHOUT_ATTACK = {"robust-accuracy": "accuracy"}
"""The metric at radius 0, where it has another name."""
UNITS = {"linf": "L∞ radius in grey levels", "l2": "L2 radius in pixel units"}

Runs = dict[str, dict[float, StoredRun]]
"""Runs by model and radius."""


def radius_figures(runs: Sequence[StoredRun], metric: str) -> list[Drawn]:
    """Return one figure per attack that ran at several radii.

    The runs of a figure differ in network and radius alone, and perhaps in the levels at which a search is judged; then
    each level that several radii have is a figure. A network shows its newest weights.

    Args:
        runs: the runs of one protocol, also those whose radius is not the protocol's.
        metric: name of the metric over all images.
    """
    figures = (_figure(group, name) for group in _comparable(runs) for name in _levels(group, metric))
    return [figure for figure in figures if figure is not None]


def _levels(group: Runs, metric: str) -> list[str]:
    """Return the metric's names at all levels, or its own name."""
    names = {name for own in group.values() for run in own.values() for name in run.record.summaries["all"]}
    return sorted((name for name in names if name.startswith(metric + LEVEL_MARK)), key=_by_number) or [metric]


def _by_number(name: str) -> tuple[float, str]:
    level = name.partition(LEVEL_MARK)[2]
    return float(level) if level.replace(".", "", 1).isdigit() else 0.0, name


def _figure(group: Runs, name: str) -> Drawn | None:
    points = [point for model in sorted(group) for point in _points(model, group[model], name)]
    spec = next(iter(next(iter(group.values())).values())).record.spec
    metric, _, level = name.partition(LEVEL_MARK)
    title = f"{metric} against the radius, under {spec.attack.name}" + (f" at {level}" if level else "")
    words = f"Mean over all {spec.samples.count} images. Tables and ranks show the protocol's own radius alone."
    if metric in WITHOUT_ATTACK:
        words += f" Radius 0: {WITHOUT_ATTACK[metric]} without an attack."
    x = UNITS[spec.threat.norm]
    return drawn(Figure(name="radius", kind="curve", title=title, words=words, x=x, y=metric), points)


def _comparable(runs: Iterable[StoredRun]) -> Iterator[Runs]:
    """Yield groups of runs that differ in network, radius and levels alone."""
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        if run.record.spec.crafted_on is None:
            by_model[run.record.entry.name].append(run)
    groups: dict[str, Runs] = defaultdict(lambda: defaultdict(dict))
    for model, members in by_model.items():
        ordered = of_weights(members, newest_weights(members))
        for run in sorted(ordered, key=lambda run: (run.record.spec.on_protocol, run.record.environment.started)):
            groups[_all_but_radius(run)][model][_radius(run)] = run
    for _, group in sorted(groups.items()):
        several = {model: own for model, own in group.items() if len(own) > 1}
        if several:
            yield several


def _all_but_radius(run: StoredRun) -> str:
    content = run.record.spec.model_dump(mode="json", exclude={"on_protocol", "model"})
    del content["threat"]["epsilon"]
    params = content["attack"]["params"]
    content["attack"]["params"] = {key: value for key, value in params.items() if not isinstance(value, list)}
    return canonical_json(content)


def _radius(run: StoredRun) -> float:
    threat = run.record.spec.threat
    return float(255 * threat.epsilon if threat.norm == "linf" else threat.epsilon)


def _points(model: str, own: dict[float, StoredRun], name: str) -> Iterator[Point]:
    """Yield a network's points if it has several radii.

    The first one is its value without an attack.
    """
    measured = {
        radius: summary
        for radius, run in sorted(own.items())
        if (summary := run.record.summaries["all"].get(name)) is not None
    }
    if len(measured) < 2:
        return
    before = WITHOUT_ATTACK.get(name.partition(LEVEL_MARK)[0], "")
    if 0 not in measured and (clean := next(iter(own.values())).record.summaries["all"].get(before)) is not None:
        measured = {0.0: clean, **measured}
    yield from (_point(model, radius, summary) for radius, summary in measured.items() if summary.mean is not None)


def _point(model: str, radius: float, summary: Summary) -> Point:
    assert summary.mean is not None
    return Point(
        figure="radius", series=model, x=radius, y=summary.mean, low=summary.low, high=summary.high, over=summary.n
    )
