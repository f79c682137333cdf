"""From runs to boards: choosing runs, scoring models and ordering them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from bench import registry
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import Summary
from bench.core.schemas.spec import MetricSpec, RunSpec
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.audit_curves import curves, findings
from leaderboard.boards.board import HEADLINE, Board, Standing, robustness, summary_of
from leaderboard.boards.roles import metrics_of
from leaderboard.records.image_sets import (
    ReadTable,
    Reference,
    SampleSetName,
    common_summaries,
    is_control,
    reference_of,
)
from leaderboard.records.rows import read_values
from leaderboard.records.selection import Edition, of_weights, select


def boards(runs: Iterable[StoredRun], read: ReadTable = read_values) -> list[Board]:
    """Return one board per protocol.

    Boards that rank come first; then boards with more models. Rows are read only if a protocol names a reference set.
    Submitted images have no line on a board: the ledger holds what they reached.
    """
    by_protocol: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        if not run.record.spec.attack.is_external:
            by_protocol[run.record.spec.protocol.key].append(run)
    made = [_board(members, read) for members in by_protocol.values()]
    return sorted(made, key=lambda board: (not board.protocol.rankable, -len(board.standings), board.protocol.key))


def _board(runs: list[StoredRun], read: ReadTable) -> Board:
    selection = select(runs)
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    edition, chosen = selection.edition, {name: selection.on_board(name) for name in selection.runs}
    shown = [run for of_model in chosen.values() for run in of_model.values()]
    judged = [run for run in shown if not is_control(run.record.entry)] or shown
    best = max(judged, key=edition.fitness)
    excused = edition.shortfalls(best.record)
    found = {run.record.spec.attack.name for run in judged if edition.shortfalls(run.record) == excused}
    spec = best.record.spec
    attacks = tuple(sorted(found, key=lambda name: (name != HEADLINE, name == spec.protocol.floor, name)))
    reference = reference_of(spec.protocol, shown, read)
    terms = _Terms(spec, edition, excused, attacks, reference)
    standings = [_audited(_standing(of_model, terms, read), by_model[name], read) for name, of_model in chosen.items()]
    companion = next(name for name in metrics_of("companion") if name != spec.primary_metric)
    known = {metric.name for metric in spec.metrics}
    metrics = [spec.primary_metric, *([companion] if companion in known else [])]
    complete = reference is None or reference.complete
    ordered = _ranked(standings, spec.primary, spec.protocol.rankable and not excused and complete)
    parts = [[s for s in ordered if any(map(terms.compares, s.runs.values())) == fit] for fit in (True, False)]
    on_board, aside = map(tuple, parts)
    return Board(spec, edition, attacks, tuple(metrics), on_board, aside, tuple(excused), reference=reference)


@dataclass(frozen=True)
class _Terms:
    """Conditions under which a model's runs can be compared."""

    spec: RunSpec
    edition: Edition
    excused: list[str]
    attacks: tuple[str, ...]
    """The attacks of the board."""
    reference: Reference | None

    @property
    def required(self) -> set[str]:
        """Attacks that a model needs for a rank.

        These are `auto` and the floor; on a board without `auto`, all attacks, as the strongest one scores.
        """
        scoring = {HEADLINE, self.spec.protocol.floor} if HEADLINE in self.attacks else set(self.attacks)
        return scoring & set(self.attacks)

    def compares(self, run: StoredRun) -> bool:
        """Say whether a run is as complete as the board's best run."""
        return self.edition.shortfalls(run.record) == self.excused

    def shows(self, run: StoredRun) -> bool:
        """Say whether a run stands in the model's line.

        A run of a required attack stands there even if it is less complete than the board's best.
        """
        attack = run.record.spec.attack.name
        return attack in self.required or (attack in self.attacks and self.compares(run))


def _audited(standing: Standing, runs: list[StoredRun], read: ReadTable) -> Standing:
    """Return a standing with its model's sweeps and audit flags.

    They come from all runs of the model, also from runs that are not on the board.
    """
    of_model = of_weights(runs, standing.weights_sha256)
    sweeps = curves(of_model, read)
    return replace(standing, sweeps=sweeps, audit=findings(of_model, read, sweeps=sweeps))


def _standing(found: dict[str, StoredRun], terms: _Terms, read: ReadTable) -> Standing:
    newest = max(found.values(), key=lambda run: (run.record.environment.started, run.record.run_id)).record
    runs = {attack: run for attack, run in found.items() if terms.shows(run)} or found
    common: dict[str, dict[str, Summary]] = {}
    if terms.reference is not None and terms.reference.complete:
        common = common_summaries(runs, read, terms.reference)
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
        what = {"control": "a control", "manipulated": "made to explain falsely"}[entry.apart]
        yield f"{what}: shown beside the others, never ranked"
    else:
        for attack in sorted(terms.required & set(runs)):
            if not terms.compares(runs[attack]):
                yield from (f"{attack}: {reason}" for reason in terms.edition.shortfalls(runs[attack].record))
        yield from (f"{attack}: not run" for attack in sorted(terms.required - set(runs)))
        raised = {flag.name: flag.detail for run in runs.values() for flag in run.record.flags}
        yield from (f"{name}: {raised[name]}" for name in sorted(raised.keys() & unfit_to_rank()))
    yield from (
        f"{attack}: {terms.spec.primary_metric} undefined" for attack in sorted(set(runs) & terms.required - defined)
    )


@cache
def unfit_to_rank() -> frozenset[str]:
    """Return the names of the flags that exclude a run from ranking."""
    return frozenset(name for name in registry.names("flags") if not registry.load("flags", name).ranks)


def _ranked(standings: list[Standing], primary: MetricSpec, rankable: bool) -> list[Standing]:
    """Return the standings in order of their scores, most robust first.

    Models that cannot be compared come last, without a rank.
    """

    def score(standing: Standing) -> float:
        if standing.score is None or standing.score.mean is None:
            return -math.inf
        return robustness(primary, standing.score.mean)

    ordered = sorted(standings, key=lambda s: (bool(s.remarks), -score(s), s.entry.name))
    if not rankable:
        return ordered
    better = {s.entry.name: sum(score(o) > score(s) for o in ordered if not o.remarks) for s in ordered}
    return [s if s.remarks else replace(s, rank=1 + better[s.entry.name]) for s in ordered]
