"""One attack: how it was set, what it costs, and what it found on each model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from bench.core.schemas.records import PluginSpec, RunRecord, Summary
from bench.core.storage.store import StoredRun
from leaderboard.boards.board import Board, Standing, robustness
from leaderboard.comparisons.rivalry import Rivalry

WINNER = "winner"
"""Column of the rows of a suite of attacks: the member that found the worst image."""


class Definition(NamedTuple):
    """What an attack says of itself; empty for those of other packages."""

    text: str
    parameters: Mapping[str, str]
    """What each means, by name."""


@dataclass(frozen=True)
class Cost:
    """Means per image."""

    gradients: float
    forwards: float
    seconds: float


@dataclass(frozen=True)
class Tally:
    """What the rows of a run say beside its metrics."""

    cost: Cost
    winners: Mapping[str, int]
    """For a suite of attacks: on how many images each member found the worst; empty for single attacks."""


@dataclass(frozen=True)
class Finding:
    """What an attack did to one model."""

    standing: Standing
    run: StoredRun
    tally: Tally
    summary: Summary | None
    beyond_floor: float | None
    """How much less robust than the floor leaves it, in the primary metric: positive if the attack found something."""

    @property
    def cost(self) -> Cost:
        """What the run spent on an image."""
        return self.tally.cost

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def strongest(self) -> bool:
        """Whether no other attack hurts the model more; `auto`, which holds others, stays aside."""
        name, standing = self.record.spec.attack.name, self.standing
        return name == standing.strongest or (name == standing.headline and standing.outdone_by is None)


@dataclass(frozen=True)
class Campaign:
    """An attack on the models of one board."""

    board: Board
    settings: tuple[PluginSpec, ...]
    """Its parameters: one setting on the protocol, and any others off it."""
    findings: tuple[Finding, ...]
    rivalry: Rivalry

    @property
    def strongest_of(self) -> int:
        """Models that no other attack hurts more."""
        return sum(finding.strongest for finding in self.findings)

    @property
    def members(self) -> tuple[tuple[str, int], ...]:
        """For a suite: its members, and on how many images of all models each found the worst; most often first."""
        counts = Counter[str]()
        for finding in self.findings:
            counts.update(finding.tally.winners)
        return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def tally(record: RunRecord, rows: pa.Table) -> Tally:
    """Return what a run spent on an image on average, and which member of a suite found the worst how often."""
    gradients, forwards = (float(rows[f"{what}_evaluations"].to_numpy().mean()) for what in ("gradient", "forward"))
    cost = Cost(gradients, forwards, record.environment.seconds / record.samples)
    winners = Counter(rows[WINNER].drop_null().to_pylist()) if WINNER in rows.column_names else Counter[str]()
    return Tally(cost, dict(sorted(winners.items())))


def campaigns(
    attack: str, made: list[Board], tallies: dict[str, Tally], rivalries: dict[str, Rivalry]
) -> list[Campaign]:
    """Return an attack's runs that are on a board, the model first whose explanations it leaves the most of."""
    found = []
    for board in made:
        standings = [(s, run) for s in board.standings if (run := s.runs.get(attack)) is not None]
        findings = sorted((_finding(board, *found, tallies) for found in standings), key=_left)
        settings = {run.record.spec.attack.model_dump_json(): run.record.spec.attack for _, run in standings}
        if findings:
            chosen = tuple(settings[key] for key in sorted(settings))
            found.append(Campaign(board, chosen, tuple(findings), rivalries[board.protocol.key]))
    return found


def _left(finding: Finding) -> tuple[float, str]:
    """Return what sorts the most robust model first, and a mean of no image last."""
    mean = None if finding.summary is None else finding.summary.mean
    left = -math.inf if mean is None else robustness(finding.record.spec.primary, mean)
    return -left, finding.record.entry.name


def _finding(board: Board, standing: Standing, run: StoredRun, tallies: dict[str, Tally]) -> Finding:
    primary = board.spec.primary_metric
    summary, floor = standing.summary(run.record.spec.attack.name, primary), standing.floor(primary)
    beyond = None
    if summary is not None and summary.mean is not None and floor is not None and floor.mean is not None:
        beyond = robustness(board.spec.primary, floor.mean - summary.mean)
    return Finding(standing, run, tallies[run.record.run_id], summary, beyond)
