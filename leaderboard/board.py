"""Which runs a board shows, and in which order."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from bench.core.entry import ModelEntry
from bench.core.records import MetricSpec, ProtocolSpec, RunRecord, RunSpec, Summary
from bench.core.store import StoredRun
from leaderboard.statistics import Pairs
from leaderboard.sweeps import Curve, Finding, curves, findings

COMPANIONS = ("topk-intersection", "kendall")
"""Shown beside the primary metric: the first of these that is not the primary metric itself."""


SHORTFALL_FLAGS = ("partial", "off-protocol")
"""Flags that remarks tell already, so that the board does not repeat them."""


@dataclass(frozen=True)
class Standing:
    """One model on one board: its run per attack, and what they amount to."""

    entry: ModelEntry
    weights_sha256: str
    runs: dict[str, StoredRun]
    strongest: str | None
    score: Summary | None
    remarks: tuple[str, ...]
    rank: int | None = None
    rank_interval: tuple[int, int] | None = None
    group: int | None = None
    sweeps: tuple[Curve, ...] = ()
    audit: tuple[Finding, ...] = ()
    """Flags that comparisons of the model's runs raise, those of its sweeps included."""

    def summary(self, attack: str | None, metric: str) -> Summary | None:
        """Return a metric's mean under an attack, if that was run."""
        run = self.runs.get(attack) if attack is not None else None
        return None if run is None else summary_of(run, metric)

    def floor(self, metric: str) -> Summary | None:
        """Return a metric's mean under the protocol's floor, if that was run."""
        return self.summary(next(iter(self.runs.values())).record.spec.protocol.floor, metric)

    @property
    def flags(self) -> dict[str, list[str]]:
        """The caveats of the runs and of the audit, each with the attacks that raised it."""
        found: dict[str, list[str]] = defaultdict(list)
        for attack, run in sorted(self.runs.items()):
            for flag in run.record.flags:
                if flag.name not in SHORTFALL_FLAGS:
                    found[flag.name].append(attack)
        for finding in self.audit:
            found[finding.flag.name].append(finding.attack)
        return dict(found)


@dataclass(frozen=True)
class Board:
    """One protocol's table.

    Where not one run is fit to be ranked, `excused` says what the best of them lack: they are ordered, but not ranked.
    `common` counts the images that all compared models classify correctly, on which `pairs` compares them.
    """

    spec: RunSpec
    engine: int
    attacks: tuple[str, ...]
    metrics: tuple[str, ...]
    standings: tuple[Standing, ...]
    excused: tuple[str, ...] = ()
    common: int | None = None
    pairs: Pairs | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        """The protocol that the board is about."""
        return self.spec.protocol

    @property
    def floor(self) -> str:
        """The attack without knowledge: what every other attack must beat."""
        return self.protocol.floor

    @property
    def ranks(self) -> bool:
        """Whether any model has a rank."""
        return any(standing.rank is not None for standing in self.standings)

    @cached_property
    def by_name(self) -> dict[str, Standing]:
        """The models by their names."""
        return {standing.entry.name: standing for standing in self.standings}

    @property
    def compared(self) -> tuple[Standing, ...]:
        """The models that can be compared with each other."""
        return tuple(s for s in self.standings if not s.remarks and s.score is not None)

    @property
    def mixed(self) -> bool:
        """Whether some of the models cannot be compared with the others."""
        return any(standing.remarks for standing in self.standings)


def boards(runs: Iterable[StoredRun]) -> list[Board]:
    """Return one board per protocol, those that rank first."""
    by_protocol: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_protocol[run.record.spec.protocol.key].append(run)
    made = [_board(members) for members in by_protocol.values()]
    return sorted(made, key=lambda board: (not board.protocol.rankable, board.protocol.key))


def summary_of(run: StoredRun, metric: str) -> Summary | None:
    """Return a run's mean over the images that its model classifies correctly, which is what boards show."""
    return run.record.summaries.get("correct", {}).get(metric)


def robustness(metric: MetricSpec, value: float) -> float:
    """Return a metric's value with the sign that makes more robust larger."""
    return -value if metric.higher_is == "less-robust" else value


def shortfalls(record: RunRecord, engine: int) -> list[str]:
    """Return the reasons why a run cannot be compared with the board's others, in words."""
    spec, reasons = record.spec, []
    if spec.samples.count < spec.samples.of:
        reasons.append(f"{spec.samples.count} of {spec.samples.of} images")
    if not spec.on_protocol:
        reasons.append("attack or threat differs from the protocol")
    if spec.engine < engine:
        reasons.append(f"evaluated by engine {spec.engine}, the board's is {engine}")
    return reasons


def newest_weights(runs: Iterable[StoredRun]) -> str:
    """Return the checksum of a model's newest weights: the entry's date decides, then the run's."""
    newest = max(runs, key=lambda run: (run.record.entry.added, run.record.environment.started, run.record.run_id))
    return newest.record.spec.model.weights_sha256


def _board(runs: list[StoredRun]) -> Board:
    engine = max(run.record.spec.engine for run in runs)
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    chosen = {name: _one_run_per_attack(members, engine) for name, members in by_model.items()}
    shown = [run for of_model in chosen.values() for run in of_model.values()]
    best = max(shown, key=lambda run: _fitness(run, engine))
    excused = shortfalls(best.record, engine)
    required = {run.record.spec.attack.name for run in shown if shortfalls(run.record, engine) == excused}
    spec = best.record.spec
    terms = _Terms(engine, excused, required)
    standings = [_audited(_standing(of_model, spec, terms), by_model[name]) for name, of_model in chosen.items()]
    attacks = sorted(
        {run.record.spec.attack.name for run in shown}, key=lambda name: (name == spec.protocol.floor, name)
    )
    companion = next(name for name in COMPANIONS if name != spec.primary_metric)
    known = {metric.name for metric in spec.metrics}
    metrics = [spec.primary_metric, *([companion] if companion in known else [])]
    ordered = _ranked(standings, spec.primary, spec.protocol.rankable and not excused)
    return Board(spec, engine, tuple(attacks), tuple(metrics), tuple(ordered), tuple(excused))


@dataclass(frozen=True)
class _Terms:
    """What a model's runs must be to be compared."""

    engine: int
    excused: list[str]
    required: set[str]


def _fitness(run: StoredRun, engine: int) -> tuple[object, ...]:
    record = run.record
    lacking = -len(shortfalls(record, engine))
    return lacking, record.spec.engine, record.spec.samples.count, record.environment.started, record.run_id


def _one_run_per_attack(runs: list[StoredRun], engine: int) -> dict[str, StoredRun]:
    """Return a model's fittest runs; those off the protocol stand on a board only where there are no others."""
    weights = newest_weights(runs)
    candidates = _of_weights(runs, weights)
    on_protocol = [run for run in candidates if run.record.spec.on_protocol]
    by_fitness = sorted(on_protocol or candidates, key=lambda run: _fitness(run, engine))
    return {run.record.spec.attack.name: run for run in by_fitness}


def _of_weights(runs: list[StoredRun], weights: str) -> list[StoredRun]:
    return [run for run in runs if run.record.spec.model.weights_sha256 == weights]


def _audited(standing: Standing, runs: list[StoredRun]) -> Standing:
    """Add what all runs of the standing's model, also those that are not on the board, say together."""
    of_model = _of_weights(runs, standing.weights_sha256)
    return replace(standing, sweeps=curves(of_model), audit=findings(of_model))


def _standing(runs: dict[str, StoredRun], spec: RunSpec, terms: _Terms) -> Standing:
    newest = max(runs.values(), key=lambda run: (run.record.environment.started, run.record.run_id)).record
    means = {
        attack: summary.mean
        for attack, run in sorted(runs.items())
        if (summary := summary_of(run, spec.primary_metric)) is not None and summary.mean is not None
    }
    strongest = min(means, key=lambda attack: robustness(spec.primary, means[attack]), default=None)
    remarks = []
    for attack, run in sorted(runs.items()):
        if (lacking := shortfalls(run.record, terms.engine)) != terms.excused:
            remarks += [f"{attack}: {reason}" for reason in lacking]
    remarks += [f"{attack}: not run" for attack in sorted(terms.required - set(runs))]
    remarks += [f"{attack}: {spec.primary_metric} undefined" for attack in sorted(set(runs) - set(means))]
    return Standing(
        entry=newest.entry,
        weights_sha256=newest.spec.model.weights_sha256,
        runs=runs,
        strongest=strongest,
        score=None if strongest is None else summary_of(runs[strongest], spec.primary_metric),
        remarks=tuple(remarks),
    )


def _ranked(standings: list[Standing], primary: MetricSpec, rankable: bool) -> list[Standing]:
    """Order by the mean under the strongest attack, most robust first; what cannot be compared follows, unranked."""

    def score(standing: Standing) -> float:
        if standing.score is None or standing.score.mean is None:
            return -math.inf
        return robustness(primary, standing.score.mean)

    ordered = sorted(standings, key=lambda s: (bool(s.remarks), -score(s), s.entry.name))
    if not rankable:
        return ordered
    better = {s.entry.name: sum(score(o) > score(s) for o in ordered if not o.remarks) for s in ordered}
    return [s if s.remarks else replace(s, rank=1 + better[s.entry.name]) for s in ordered]
