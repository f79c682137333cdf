"""What runs that differ in one value say together: curves of robustness, and the flags that no single run can raise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

from bench.core.schemas.flags import INFEASIBLE_SHARE, MATERIAL
from bench.core.schemas.records import Flag, RunSpec, Summary
from bench.core.storage.files import canonical_json
from bench.core.storage.store import StoredRun
from leaderboard.records.image_sets import ReadTable
from leaderboard.records.pairing import gain
from leaderboard.records.rows import read_values

Knob = Literal["epsilon", "steps", "restarts", "beta"]
KNOBS: dict[Knob, str] = {
    "epsilon": "radius, in grey levels",
    "steps": "steps",
    "restarts": "random starts",
    "beta": "sharpness of the surrogate",
}


@dataclass(frozen=True)
class Point:
    """One run of a curve."""

    value: float
    """Of the knob; a radius is in grey levels, 1/255."""
    run: StoredRun

    @property
    def summary(self) -> Summary:
        """Mean and interval of the primary metric over the correctly classified images."""
        return self.run.record.summaries["correct"][self.run.record.spec.primary_metric]

    @property
    def mean(self) -> float:
        """The summary's mean."""
        assert self.summary.mean is not None
        return self.summary.mean

    @property
    def robustness(self) -> float:
        """The mean, with the sign that makes more robust larger."""
        return -self.mean if self.run.record.spec.primary.higher_is == "less-robust" else self.mean

    @property
    def on_protocol(self) -> bool:
        """Whether the knob stands where the protocol has it."""
        return self.run.record.spec.on_protocol

    @property
    def counts(self) -> bool:
        """Whether few samples are infeasible: those count as not moved, so that the mean says nothing of the attack."""
        return self.run.record.infeasible <= INFEASIBLE_SHARE * self.run.record.samples


@dataclass(frozen=True)
class Curve:
    """Robustness of a model under an attack against the value of one knob, all else being as the protocol has it."""

    knob: Knob
    attack: str
    metric: str
    samples: int
    points: tuple[Point, ...]
    """By rising value; one of them is the protocol's own run."""

    @property
    def own(self) -> Point:
        """The protocol's own run."""
        return next(point for point in self.points if point.on_protocol)

    @property
    def counting(self) -> tuple[Point, ...]:
        """The points that say something of the attack."""
        return tuple(point for point in self.points if point.counts)

    @property
    def undecided(self) -> str | None:
        """Why the curve decides nothing; None where it does."""
        if len(self.counting) > 1:
            return None
        return f"{len(self.counting)} of {len(self.points)} runs with at most {INFEASIBLE_SHARE:.0%} infeasible images"


class Finding(NamedTuple):
    """A flag that a comparison of runs raises, and the attack that it concerns."""

    attack: str
    flag: Flag


def curves(runs: Iterable[StoredRun]) -> tuple[Curve, ...]:
    """Return the sweeps among the runs of one model under one protocol: per attack and knob that over the most samples.

    A sweep is a set of runs whose specifications differ in one knob only, the protocol's own run among them.
    """
    known = _measured(runs)
    if all(run.record.spec.on_protocol for run in known):
        return ()
    groups: dict[tuple[Knob, str], list[Point]] = defaultdict(list)
    for run in known:
        for knob in get_args(Knob):
            if (value := _value(run.record.spec, knob)) is not None:
                groups[knob, _all_but(run.record.spec, knob)].append(Point(value, run))
    found: dict[tuple[str, int], Curve] = {}
    for (knob, _), points in groups.items():
        if len(points) < 2 or not any(point.on_protocol for point in points):
            continue
        spec = points[0].run.record.spec
        key = spec.attack.name, get_args(Knob).index(knob)
        if key not in found or spec.samples.count > found[key].samples:
            ordered = tuple(sorted(points, key=lambda point: point.value))
            found[key] = Curve(knob, spec.attack.name, spec.primary_metric, spec.samples.count, ordered)
    return tuple(found[key] for key in sorted(found))


def findings(runs: Iterable[StoredRun], read: ReadTable = read_values) -> tuple[Finding, ...]:
    """Return the flags that comparisons between the runs of one model under one protocol raise.

    Runs are compared image by image, so that what makes images differ from one another does not hide what attacks do.

    Args:
        runs: the runs.
        read: returns a run's rows; it is asked for those that are compared alone.
    """
    known = _measured(runs)
    raised = []
    for curve in curves(known):
        for name, (knob, check) in CURVE_CHECKS.items():
            if knob == curve.knob and (detail := check(curve, read)) is not None:
                raised.append(Finding(curve.attack, Flag(name=name, detail=f"{detail} ({curve.samples} samples)")))
    return (*raised, *_gradients_beaten(known, read))


def _not_falling(curve: Curve, read: ReadTable) -> str | None:
    """Find a rise from one point to the next, or that there is surely no fall from the first to the last."""
    points = curve.counting
    for first, second in pairwise(points):
        if (rise := gain(second.run, first.run, read)).holds:
            return f"{_at(curve, first)}, {_at(curve, second)}; more robust by {rise}"
    if len(points) > 1 and (fall := gain(points[0].run, points[-1].run, read)).high < MATERIAL:
        return f"{_at(curve, points[0])}, {_at(curve, points[-1])}; less robust by {fall}"
    return None


def _stronger_elsewhere(curve: Curve, read: ReadTable) -> str | None:
    return _stronger(curve, curve.counting, read)


def _stronger_beyond(curve: Curve, read: ReadTable) -> str | None:
    return _stronger(curve, [point for point in curve.counting if point.value > curve.own.value], read)


def _stronger(curve: Curve, points: Sequence[Point], read: ReadTable) -> str | None:
    if not curve.own.counts:
        return None
    found = [(gain(curve.own.run, point.run, read), point) for point in points if not point.on_protocol]
    held = [(less, point) for less, point in found if less.holds]
    if not held:
        return None
    less, best = max(held, key=lambda pair: pair[0].mean)
    return f"{_at(curve, best)}, {curve.metric} {curve.own.mean:.3f} at the protocol's {curve.own.value:g}; by {less}"


def _at(curve: Curve, point: Point) -> str:
    return f"{curve.metric} {point.mean:.3f} at {point.value:g}"


CURVE_CHECKS: dict[str, tuple[Knob, Callable[[Curve, ReadTable], str | None]]] = {
    "not-falling-with-epsilon": ("epsilon", _not_falling),
    "not-falling-with-steps": ("steps", _not_falling),
    "steps-matter": ("steps", _stronger_beyond),
    "restarts-matter": ("restarts", _stronger_beyond),
    "other-surrogate-stronger": ("beta", _stronger_elsewhere),
}
"""Per flag, the knob whose curve decides it, and how."""


def _gradients_beaten(runs: Sequence[StoredRun], read: ReadTable) -> list[Finding]:
    """Compare the strongest attack with gradients of the model with those that had none: black-box and transferred."""
    if not any(_is_control(run) for run in runs):
        return []
    groups: dict[str, list[Point]] = defaultdict(list)
    for run in runs:
        groups[run.record.spec.conditions].append(Point(0, run))
    raised = {}
    for points in groups.values():
        counting = [p for p in points if p.counts]
        with_gradients = [p for p in counting if p.run.record.knowledge == "white-box" and p.on_protocol]
        controls = [p for p in counting if _is_control(p.run)]
        if with_gradients and controls:
            best = min(with_gradients, key=lambda point: point.robustness)
            less, control = max(
                ((gain(best.run, p.run, read), p) for p in controls), key=lambda pair: (pair[0].holds, pair[0].mean)
            )
            if less.holds:
                spec = best.run.record.spec
                detail = f"{spec.primary_metric} {control.mean:.3f} under {_named(control)}, {best.mean:.3f} under it"
                detail += f"; by {less} ({spec.samples.count} samples)"
                raised[spec.attack.name] = Flag(name="black-box-beats-white-box", detail=detail)
    return [Finding(attack, flag) for attack, flag in sorted(raised.items())]


def _is_control(run: StoredRun) -> bool:
    """Say whether a run's attack searched, but without gradients of the attacked model."""
    return run.record.knowledge == "black-box" or run.record.spec.crafted_on is not None


def _named(point: Point) -> str:
    spec = point.run.record.spec
    source = "" if spec.crafted_on is None else f" from {spec.crafted_on.model.name}"
    return f"{spec.attack.name}{source}"


def _measured(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return the runs whose primary metric has a mean."""

    def mean(run: StoredRun) -> float | None:
        summary = run.record.summaries.get("correct", {}).get(run.record.spec.primary_metric)
        return None if summary is None else summary.mean

    return [run for run in runs if mean(run) is not None]


def _value(spec: RunSpec, knob: Knob) -> float | None:
    if knob == "epsilon":
        return float(255 * spec.threat.epsilon)
    value = spec.surrogate.beta if knob == "beta" else spec.attack.params.get(knob)
    return None if value is None else float(value)


def _all_but(spec: RunSpec, knob: Knob) -> str:
    """Return what the runs of a sweep have in common."""
    content = spec.model_dump(mode="json", exclude={"on_protocol"})
    part = {"epsilon": content["threat"], "beta": content["surrogate"]}.get(knob, content["attack"]["params"])
    del part[knob]
    return canonical_json(content)
