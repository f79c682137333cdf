"""Curves and flags from runs that differ in one value.

These flags need several runs: a single run cannot raise them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import get_args

from bench import registry
from bench.core.schemas.flags import INFEASIBLE_SHARE, Audit, AuditFlag, Finding, Knob
from bench.core.schemas.protocol import Knowledge
from bench.core.schemas.records import Flag, Summary
from bench.core.schemas.spec import RunSpec
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.image_sets import ReadTable
from leaderboard.records.pairing import Gain, gain
from leaderboard.records.rows import read_values

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
    """Value of the knob. A radius is in grey levels, 1/255."""
    run: StoredRun
    read: ReadTable = field(default=read_values, compare=False, repr=False)
    """Function that returns a run's rows."""

    @property
    def spec(self) -> RunSpec:
        """The run's specification."""
        return self.run.record.spec

    @property
    def knowledge(self) -> Knowledge | None:
        """What the attack may know."""
        return self.run.record.knowledge

    def gain(self, stronger: Point) -> Gain:
        """Return how much less robust another point's run leaves the maps.

        The two runs are compared image by image.
        """
        return gain(self.run, stronger.run, self.read)

    @property
    def summary(self) -> Summary:
        """Summary of the primary metric over the correctly classified images."""
        return self.run.record.summaries["correct"][self.run.record.spec.primary_metric]

    @property
    def mean(self) -> float:
        """The summary's mean."""
        assert self.summary.mean is not None
        return self.summary.mean

    @property
    def robustness(self) -> float:
        """The mean, with the sign under which larger is more robust."""
        return -self.mean if self.run.record.spec.primary.higher_is == "less-robust" else self.mean

    @property
    def on_protocol(self) -> bool:
        """Whether the knob has the protocol's value."""
        return self.run.record.spec.on_protocol

    @property
    def counts(self) -> bool:
        """Whether few enough samples are infeasible.

        An infeasible sample counts as not moved; with many of them the mean says nothing about the attack.
        """
        return self.run.record.infeasible <= INFEASIBLE_SHARE * self.run.record.samples


@dataclass(frozen=True)
class Curve:
    """Robustness under an attack against the value of one knob.

    Everything else is as in the protocol.
    """

    knob: Knob
    attack: str
    metric: str
    samples: int
    points: tuple[Point, ...]
    """In the order of rising values; one point is the protocol's own run."""

    @property
    def own(self) -> Point:
        """The protocol's own run."""
        return next(point for point in self.points if point.on_protocol)

    @property
    def counting(self) -> tuple[Point, ...]:
        """The points whose means say something about the attack."""
        return tuple(point for point in self.points if point.counts)

    @property
    def undecided(self) -> str | None:
        """Reason why the curve decides nothing, or None."""
        if len(self.counting) > 1:
            return None
        return f"{len(self.counting)} of {len(self.points)} runs with at most {INFEASIBLE_SHARE:.0%} infeasible images"


def curves(runs: Iterable[StoredRun], read: ReadTable = read_values) -> tuple[Curve, ...]:
    """Return the sweeps among one model's runs under one protocol.

    A sweep is a set of runs whose specifications differ in one knob only, the protocol's own run among them. Of several
    sweeps with the same attack and knob, the one over the most samples is returned.
    """
    known = _measured(runs)
    if all(run.record.spec.on_protocol for run in known):
        return ()
    groups: dict[tuple[Knob, str], list[Point]] = defaultdict(list)
    for run in known:
        for knob in get_args(Knob):
            if (value := _value(run.record.spec, knob)) is not None:
                groups[knob, _all_but(run.record.spec, knob)].append(Point(value, run, read))
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


def findings(
    runs: Iterable[StoredRun], read: ReadTable = read_values, *, sweeps: tuple[Curve, ...] | None = None
) -> tuple[Finding, ...]:
    """Return the flags that comparisons of one model's runs raise.

    All runs are under one protocol. They are compared image by image, so that differences between images do not hide
    the effect of the attacks.

    Args:
        runs: the runs.
        read: returns a run's rows; it is called only for runs that are compared.
        sweeps: the curves of the runs, where they are known.
    """
    known = _measured(runs)
    groups: dict[str, list[Point]] = defaultdict(list)
    for run in known:
        groups[run.record.spec.conditions].append(Point(0, run, read))
    comparable = [[point for point in points if point.counts] for points in groups.values()]
    audit = Audit(curves(known, read) if sweeps is None else sweeps, comparable)
    found = {name: flag.find(audit) for name, flag in audit_flags().items()}
    return tuple(
        Finding(attack, Flag(name=name, detail=detail)) for name, raised in found.items() for attack, detail in raised
    )


@cache
def audit_flags() -> dict[str, AuditFlag]:
    """Return the flags that comparisons of runs can raise, by name."""
    found = {name: registry.load("flags", name) for name in registry.names("flags")}
    return {name: flag() for name, flag in found.items() if issubclass(flag, AuditFlag)}


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
    """Return the values that all runs of a sweep share, as text."""
    content = spec.model_dump(mode="json", exclude={"on_protocol"})
    part = {"epsilon": content["threat"], "beta": content["surrogate"]}.get(knob, content["attack"]["params"])
    del part[knob]
    return canonical_json(content)
