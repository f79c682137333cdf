"""Which runs a board shows, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.core.entry import ModelEntry
from bench.core.records import ProtocolSpec, RunRecord, RunSpec, Summary
from bench.core.store import StoredRun

FLOOR = "random-noise"
"""The attack without knowledge: what every other attack must beat."""

COMPANIONS = ("topk-intersection", "kendall")
"""Shown beside the primary metric: the first of these that is not the primary metric itself."""


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


@dataclass(frozen=True)
class Board:
    """One protocol's table."""

    spec: RunSpec
    engine: int
    attacks: tuple[str, ...]
    metrics: tuple[str, ...]
    standings: tuple[Standing, ...]

    @property
    def protocol(self) -> ProtocolSpec:
        """The protocol that the board is about."""
        return self.spec.protocol


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
    comparable = [run for run in shown if not shortfalls(run.record, engine)]
    required = {run.record.spec.attack.name for run in comparable}
    spec = max(comparable or shown, key=lambda run: run.record.run_id).record.spec
    standings = [_standing(of_model, spec.primary_metric, required, engine) for of_model in chosen.values()]
    attacks = sorted({run.record.spec.attack.name for run in shown}, key=lambda name: (name == FLOOR, name))
    companion = next(name for name in COMPANIONS if name != spec.primary_metric)
    known = {metric.name for metric in spec.metrics}
    metrics = [spec.primary_metric, *([companion] if companion in known else [])]
    return Board(spec, engine, tuple(attacks), tuple(metrics), tuple(_ranked(standings, spec.protocol.rankable)))


def _one_run_per_attack(runs: list[StoredRun], engine: int) -> dict[str, StoredRun]:
    weights = newest_weights(runs)

    def preference(run: StoredRun) -> tuple[object, ...]:
        record = run.record
        shorter = -len(shortfalls(record, engine))
        return shorter, record.spec.engine, record.spec.samples.count, record.environment.started, record.run_id

    chosen: dict[str, StoredRun] = {}
    for run in sorted((run for run in runs if run.record.spec.model.weights_sha256 == weights), key=preference):
        chosen[run.record.spec.attack.name] = run
    return chosen


def _standing(runs: dict[str, StoredRun], metric: str, required: set[str], engine: int) -> Standing:
    newest = max(runs.values(), key=lambda run: (run.record.environment.started, run.record.run_id)).record
    means = {
        attack: summary.mean
        for attack, run in sorted(runs.items())
        if (summary := summary_of(run, metric)) is not None and summary.mean is not None
    }
    strongest = min(means, key=lambda attack: means[attack], default=None)
    remarks = [
        f"{attack}: {reason}" for attack, run in sorted(runs.items()) for reason in shortfalls(run.record, engine)
    ]
    remarks += [f"{attack}: not run" for attack in sorted(required - set(runs))]
    remarks += [f"{attack}: {metric} undefined" for attack in sorted(set(runs) - set(means))]
    return Standing(
        entry=newest.entry,
        weights_sha256=newest.spec.model.weights_sha256,
        runs=runs,
        strongest=strongest,
        score=None if strongest is None else summary_of(runs[strongest], metric),
        remarks=tuple(remarks),
    )


def _ranked(standings: list[Standing], rankable: bool) -> list[Standing]:
    """Order by the mean under the strongest attack, most robust first; what cannot be compared follows, unranked.

    Every primary metric is a similarity (attacks seek its minimum), so a larger mean is a more robust model.
    """

    def score(standing: Standing) -> float:
        return -1e9 if standing.score is None or standing.score.mean is None else standing.score.mean

    ordered = sorted(standings, key=lambda s: (bool(s.remarks), -score(s), s.entry.name))
    if not rankable:
        return ordered
    better = {s.entry.name: sum(score(o) > score(s) for o in ordered if not o.remarks) for s in ordered}
    return [s if s.remarks else replace(s, rank=1 + better[s.entry.name]) for s in ordered]
