"""Which runs a board shows, and in which order."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.core.entry import ModelEntry
from bench.core.records import Confirmation, MetricSpec, ProtocolSpec, RunSpec, Summary
from bench.core.store import StoredRun
from leaderboard.edition import Edition, edition_of, of_weights
from leaderboard.rows import read_values
from leaderboard.samples import (
    ReadRows,
    Reference,
    SampleSetName,
    common_summaries,
    is_control,
    reference_of,
)
from leaderboard.statistics import Pairs
from leaderboard.sweeps import Curve, Finding, curves, findings

COMPANIONS = ("topk-intersection", "kendall")
"""Shown beside the primary metric: the first of these that is not the primary metric itself."""

HEADLINE = "auto"
"""The attack that scores where a board has it: per image, the worst of a frozen suite."""

SHORTFALL_FLAGS = ("partial", "off-protocol")
"""Flags that remarks tell already, so that the board does not repeat them."""


@dataclass(frozen=True)
class Standing:
    """One model on one board: its run per attack, and what they amount to."""

    entry: ModelEntry
    weights_sha256: str
    runs: dict[str, StoredRun]
    headline: str | None
    """The attack that scores: `auto` where the model has it, else the strongest one."""
    strongest: str | None
    """The attack of the lowest mean robustness, `auto` aside."""
    score: Summary | None
    remarks: tuple[str, ...]
    rank: int | None = None
    rank_interval: tuple[int, int] | None = None
    group: int | None = None
    common: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    """Per attack and metric, the means over the reference set's images; empty where the board has no such set."""
    sweeps: tuple[Curve, ...] = ()
    audit: tuple[Finding, ...] = ()
    """Flags that comparisons of the model's runs raise, those of its sweeps included."""

    def summary(self, attack: str | None, metric: str, sample_set: SampleSetName | None = None) -> Summary | None:
        """Return a metric's mean under an attack, if that was run; by default over the images that rank."""
        run = self.runs.get(attack) if attack is not None else None
        return None if run is None else summary_of(run, metric, sample_set or self.sample_set, self.common)

    @property
    def sample_set(self) -> SampleSetName:
        """The images that rank."""
        return "common" if self.common else "correct"

    @property
    def headline_run(self) -> StoredRun | None:
        """The run that scores."""
        return None if self.headline is None else self.runs[self.headline]

    @property
    def outdone_by(self) -> str | None:
        """The attack that hurts the model more than the one that scores, if there is one."""
        metric = None if self.headline_run is None else self.headline_run.record.spec.primary
        if metric is None or self.headline == self.strongest:
            return None
        scored, other = self.score, self.summary(self.strongest, metric.name)
        if scored is None or scored.mean is None or other is None or other.mean is None:
            return None
        return self.strongest if robustness(metric, other.mean) < robustness(metric, scored.mean) else None

    @property
    def origin(self) -> Literal["ours", "submitted"]:
        """Whether the weights come with this repository, or somebody brought them."""
        reference = next(iter(self.runs.values())).record.spec.model.reference
        registered = reference.startswith("hub:") and "/" not in reference
        return "ours" if registered and self.entry.weights.repo is None else "submitted"

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """The note that a second run agrees with the one that scores, if there is one."""
        return None if self.headline_run is None else self.headline_run.confirmation()

    @property
    def is_control(self) -> bool:
        """Whether the model is only there to be compared with."""
        return is_control(self.entry)

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
    `common` counts the images on which `pairs` compares the models: the reference set's where there is one, else those
    that all compared models classify correctly.
    """

    spec: RunSpec
    edition: Edition
    attacks: tuple[str, ...]
    metrics: tuple[str, ...]
    standings: tuple[Standing, ...]
    aside: tuple[Standing, ...] = ()
    """Models that have only explored so far: none of their runs can be compared with the board's."""
    excused: tuple[str, ...] = ()
    common: int | None = None
    pairs: Pairs | None = None
    reference: Reference | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        """The protocol that the board is about."""
        return self.spec.protocol

    @property
    def floor(self) -> str:
        """The attack without knowledge: what every other attack must beat."""
        return self.protocol.floor

    @property
    def sample_set(self) -> SampleSetName:
        """The images that rank."""
        return "common" if self.reference is not None and self.reference.complete else "correct"

    @property
    def lacking(self) -> tuple[str, ...]:
        """What the reference set lacks to be complete, in words."""
        return () if self.reference is None else self.reference.absent

    @property
    def ranks(self) -> bool:
        """Whether any model has a rank."""
        return any(standing.rank is not None for standing in self.standings)

    @cached_property
    def by_name(self) -> dict[str, Standing]:
        """The models by their names, those aside included."""
        return {standing.entry.name: standing for standing in (*self.standings, *self.aside)}

    def shows(self, standing: Standing) -> bool:
        """Whether a model has a line on the board, or stands aside."""
        return all(standing is not other for other in self.aside)

    @property
    def compared(self) -> tuple[Standing, ...]:
        """The models that can be compared with each other."""
        return tuple(s for s in self.standings if not s.remarks and s.score is not None)

    @property
    def mixed(self) -> bool:
        """Whether some of the models cannot be compared with the others."""
        return any(standing.remarks for standing in self.standings)


def boards(runs: Iterable[StoredRun], read_rows: ReadRows = read_values) -> list[Board]:
    """Return one board per protocol, those that rank first; rows are read where a protocol names a reference set."""
    by_protocol: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_protocol[run.record.spec.protocol.key].append(run)
    made = [_board(members, read_rows) for members in by_protocol.values()]
    return sorted(made, key=lambda board: (not board.protocol.rankable, board.protocol.key))


def summary_of(
    run: StoredRun,
    metric: str,
    sample_set: SampleSetName = "correct",
    common: Mapping[str, Mapping[str, Summary]] | None = None,
) -> Summary | None:
    """Return a run's mean over a sample set; `common` holds, by attack, what records do not."""
    if sample_set == "common":
        return (common or {}).get(run.record.spec.attack.name, {}).get(metric)
    return run.record.summaries.get(sample_set, {}).get(metric)


def ranking_rows(board: Board, rows: pd.DataFrame) -> pd.DataFrame:
    """Return those of a model's rows that the board's means are over."""
    return rows[ranking(board, rows)]


def ranking(board: Board, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Say of each of a model's rows whether the board's means are over it."""
    if board.sample_set == "common" and board.reference is not None:
        return np.array([sample in board.reference.ids for sample in rows["sample_id"].tolist()], bool)
    return rows["correct"].to_numpy(bool)


def robustness(metric: MetricSpec, value: float) -> float:
    """Return a metric's value with the sign that makes more robust larger."""
    return -value if metric.higher_is == "less-robust" else value


def _board(runs: list[StoredRun], read_rows: ReadRows) -> Board:
    edition = edition_of(runs)
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    chosen = {name: edition.fittest(members) for name, members in by_model.items()}
    shown = [run for of_model in chosen.values() for run in of_model.values()]
    judged = [run for run in shown if not is_control(run.record.entry)] or shown
    best = max(judged, key=edition.fitness)
    excused = edition.shortfalls(best.record)
    found = {run.record.spec.attack.name for run in judged if edition.shortfalls(run.record) == excused}
    spec = best.record.spec
    attacks = tuple(sorted(found, key=lambda name: (name != HEADLINE, name == spec.protocol.floor, name)))
    reference = reference_of(spec.protocol, shown, read_rows)
    terms = _Terms(spec, edition, excused, attacks, reference)
    standings = [_audited(_standing(of_model, terms, read_rows), by_model[name]) for name, of_model in chosen.items()]
    companion = next(name for name in COMPANIONS if name != spec.primary_metric)
    known = {metric.name for metric in spec.metrics}
    metrics = [spec.primary_metric, *([companion] if companion in known else [])]
    complete = reference is None or reference.complete
    ordered = _ranked(standings, spec.primary, spec.protocol.rankable and not excused and complete)
    parts = [[s for s in ordered if any(map(terms.compares, s.runs.values())) == fit] for fit in (True, False)]
    on_board, aside = map(tuple, parts)
    return Board(spec, edition, attacks, tuple(metrics), on_board, aside, tuple(excused), reference=reference)


@dataclass(frozen=True)
class _Terms:
    """What a model's runs must be to be compared."""

    spec: RunSpec
    edition: Edition
    excused: list[str]
    attacks: tuple[str, ...]
    """Those of the board."""
    reference: Reference | None

    @property
    def required(self) -> set[str]:
        """The attacks that a model needs to rank: `auto` and the floor; all, where the strongest scores."""
        scoring = {HEADLINE, self.spec.protocol.floor} if HEADLINE in self.attacks else set(self.attacks)
        return scoring & set(self.attacks)

    def compares(self, run: StoredRun) -> bool:
        """Whether a run is as complete as the board's best."""
        return self.edition.shortfalls(run.record) == self.excused

    def shows(self, run: StoredRun) -> bool:
        """Whether a run stands in the model's line: where it is required, also one that falls short."""
        attack = run.record.spec.attack.name
        return attack in self.required or (attack in self.attacks and self.compares(run))


def _audited(standing: Standing, runs: list[StoredRun]) -> Standing:
    """Add what all runs of the standing's model, also those that are not on the board, say together."""
    of_model = of_weights(runs, standing.weights_sha256)
    return replace(standing, sweeps=curves(of_model), audit=findings(of_model))


def _standing(found: dict[str, StoredRun], terms: _Terms, read_rows: ReadRows) -> Standing:
    newest = max(found.values(), key=lambda run: (run.record.environment.started, run.record.run_id)).record
    runs = {attack: run for attack, run in found.items() if terms.shows(run)} or found
    common: dict[str, dict[str, Summary]] = {}
    if terms.reference is not None and terms.reference.complete:
        common = common_summaries(runs, read_rows, terms.reference)
    primary = terms.spec.primary
    sample_set: SampleSetName = "common" if common else "correct"
    summaries = {attack: summary_of(run, primary.name, sample_set, common) for attack, run in sorted(runs.items())}
    means = {attack: s.mean for attack, s in summaries.items() if s is not None and s.mean is not None}
    single = {attack: mean for attack, mean in means.items() if attack != HEADLINE} or means
    strongest = min(single, key=lambda attack: robustness(primary, means[attack]), default=None)
    headline = HEADLINE if HEADLINE in means else strongest
    return Standing(
        entry=newest.entry,
        weights_sha256=newest.spec.model.weights_sha256,
        runs=runs,
        headline=headline,
        strongest=strongest,
        score=None if headline is None else summaries[headline],
        remarks=tuple(_remarks(newest.entry, runs, set(means), terms)),
        common=common,
    )


def _remarks(entry: ModelEntry, runs: dict[str, StoredRun], defined: set[str], terms: _Terms) -> Iterator[str]:
    """Yield the reasons why a model cannot be ranked with the others."""
    if is_control(entry):
        yield "a control: shown beside the others, never ranked"
    else:
        for attack in sorted(terms.required & set(runs)):
            if not terms.compares(runs[attack]):
                yield from (f"{attack}: {reason}" for reason in terms.edition.shortfalls(runs[attack].record))
        yield from (f"{attack}: not run" for attack in sorted(terms.required - set(runs)))
    yield from (
        f"{attack}: {terms.spec.primary_metric} undefined" for attack in sorted(set(runs) & terms.required - defined)
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
