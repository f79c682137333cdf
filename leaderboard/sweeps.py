"""Robustness as the attack gets stronger: curves from runs that differ from the protocol's in one value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.core.files import canonical_json
from bench.core.records import RunSpec
from bench.core.store import StoredRun
from leaderboard.board import Board
from leaderboard.plots import LINES, Axis, axis
from leaderboard.samples import ReadRows
from leaderboard.statistics import bootstrap_interval

FOLLOWS = {"epsilon": {"step_size"}, "steps": {"step_size"}}
"""Parameters that may change with the swept one: a larger budget or fewer steps ask for larger steps."""


@dataclass(frozen=True)
class Variable:
    """A value that is swept."""

    name: str
    title: str
    of: Callable[[RunSpec], float | None]


def _parameter(name: str) -> Callable[[RunSpec], float | None]:
    def of(spec: RunSpec) -> float | None:
        value = spec.attack.params.get(name)
        return float(value) if isinstance(value, int | float) else None

    return of


VARIABLES = (
    Variable("epsilon", "\N{GREEK SMALL LETTER EPSILON}, in 1/255", lambda spec: float(spec.threat.epsilon * 255)),
    Variable("steps", "steps", _parameter("steps")),
    Variable("restarts", "restarts", _parameter("restarts")),
    Variable("beta", "sharpness \N{GREEK SMALL LETTER BETA} of the surrogate", lambda spec: spec.surrogate.beta),
)


@dataclass(frozen=True)
class Stop:
    """One run of a sweep: mean and interval over the images that all runs of the sweep hold."""

    x: float
    low: float
    mean: float
    high: float
    on_protocol: bool


@dataclass(frozen=True)
class Series:
    """One model's sweep."""

    model: str
    images: int
    stops: tuple[Stop, ...]


@dataclass(frozen=True)
class Sweep:
    """The curves of one attack over one variable."""

    attack: str
    variable: Variable
    x: Axis
    y: Axis
    series: tuple[Series, ...]

    def path(self, series: Series) -> str:
        """Return the `d` of a series' line."""
        return "M" + "L".join(f"{self.x.at(stop.x):g} {self.y.at(stop.mean):g}" for stop in series.stops)


def sweeps(board: Board, runs: list[StoredRun], read_rows: ReadRows) -> list[Sweep]:
    """Return the sweeps among a board's runs and those beside it: at least two values for at least one model."""
    groups: dict[tuple[str, str], dict[str, list[list[StoredRun]]]] = defaultdict(lambda: defaultdict(list))
    for variable in VARIABLES:
        for (attack, model, _), members in _alike(board, runs, variable).items():
            if len(members) > 1:
                groups[attack, variable.name][model].append(list(members.values()))
    made = []
    for variable in VARIABLES:
        for attack in sorted({attack for attack, name in groups if name == variable.name}):
            by_model = groups[attack, variable.name]
            order = [s.entry.name for s in board.standings if s.entry.name in by_model]
            series = tuple(_series(board, name, variable, by_model[name], read_rows) for name in order[:LINES])
            made.append(_drawn(attack, variable, tuple(s for s in series if s.stops)))
    return [sweep for sweep in made if sweep is not None]


def _alike(
    board: Board, runs: list[StoredRun], variable: Variable
) -> dict[tuple[str, str, str], dict[float, StoredRun]]:
    """Return, per attack, model and everything else that may change a number, the runs by the value of a variable."""
    found: dict[tuple[str, str, str], dict[float, StoredRun]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: (run.record.spec.on_protocol, run.record.spec.samples.count, run.path)):
        spec = run.record.spec
        standing = board.by_name.get(spec.model.name)
        value = variable.of(spec)
        if spec.protocol != board.protocol or value is None or standing is None:
            continue
        if standing.weights_sha256 == spec.model.weights_sha256:
            found[spec.attack.name, spec.model.name, _rest(spec, variable)][value] = run
    return found


def _rest(spec: RunSpec, variable: Variable) -> str:
    content: dict[str, Any] = spec.model_dump(mode="json", exclude={"samples", "on_protocol", "metrics", "protocol"})
    for name in {variable.name} | FOLLOWS.get(variable.name, set()):
        for part in ("threat", "surrogate"):
            content[part].pop(name, None)
        content["attack"]["params"].pop(name, None)
    return canonical_json(content)


def _series(board: Board, model: str, variable: Variable, groups: list[list[StoredRun]], read_rows: ReadRows) -> Series:
    """Return a model's longest sweep, every run on the images that all of its runs hold."""
    members = max(groups, key=lambda group: (len(group), sum(run.record.spec.on_protocol for run in group)))
    tables = {run.record.run_id: read_rows(run).set_index("sample_id") for run in members}
    first, *others = tables.values()
    shared = first.index[first["correct"].astype(bool)]
    for other in others:
        shared = shared.intersection(other.index)
    stops = []
    for run in members:
        values = tables[run.record.run_id].loc[shared, board.spec.primary_metric].dropna().to_numpy(np.float64)
        if len(values):
            low, high = bootstrap_interval(values)
            x = variable.of(run.record.spec) or 0.0
            stops.append(Stop(x, low, float(values.mean()), high, run.record.spec.on_protocol))
    return Series(model, len(shared), tuple(sorted(stops, key=lambda stop: stop.x)))


def _drawn(attack: str, variable: Variable, series: tuple[Series, ...]) -> Sweep | None:
    if not series:
        return None
    stops = [stop for one in series for stop in one.stops]
    x = axis([stop.x for stop in stops], 56, 620)
    y = axis([value for stop in stops for value in (stop.low, stop.high)], 330, 14)
    return Sweep(attack, variable, x, y, series)
