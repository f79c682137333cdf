"""An attack's settings, costs and results on the models of a board."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from bench.core.schemas.records import RunRecord, Summary
from bench.core.schemas.spec import PluginSpec
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, Standing, robustness
from leaderboard.comparisons.rivalry import Rivalry

WINNER = "winner"
"""Row column of a suite of attacks: the member that found the worst image."""


class Definition(NamedTuple):
    """Description of an attack, empty for attacks of other packages."""

    text: str
    parameters: Mapping[str, str]
    """Meanings of the parameters, by name."""


@dataclass(frozen=True)
class Cost:
    """Mean cost of a run per image."""

    gradients: float
    forwards: float
    seconds: float


@dataclass(frozen=True)
class Tally:
    """Costs of a run and winners of its suite, from the rows."""

    cost: Cost
    winners: Mapping[str, int]
    """For a suite of attacks: on how many images each member found the worst. Empty for single attacks."""


@dataclass(frozen=True)
class ModelResult:
    """Result of an attack on one model."""

    standing: Standing
    run: StoredRun
    tally: Tally
    summary: Summary | None
    beyond_floor: float | None
    """How much less robust the model is than under the floor attack, in the primary metric. Positive: more damage."""

    @property
    def cost(self) -> Cost:
        """Mean cost of the run per image."""
        return self.tally.cost

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def strongest(self) -> bool:
        """Whether no other attack hurts the model more.

        `auto` consists of other attacks, so it does not count as another attack here.
        """
        name, standing = self.record.spec.attack.name, self.standing
        return name == standing.strongest or (name == standing.headline and standing.outdone_by is None)


@dataclass(frozen=True)
class AttackResults:
    """Results of an attack on the models of one board."""

    board: Board
    settings: tuple[PluginSpec, ...]
    """The attack's parameters: the protocol's own setting, and settings that differ from the protocol."""
    models: tuple[ModelResult, ...]
    rivalry: Rivalry

    @property
    def strongest_of(self) -> int:
        """Number of models that no other attack hurts more."""
        return sum(result.strongest for result in self.models)

    @property
    def members(self) -> tuple[tuple[str, int], ...]:
        """Members of a suite with their counts of worst images, highest first.

        The counts are over the images of all models. Empty for single attacks.
        """
        counts = Counter[str]()
        for result in self.models:
            counts.update(result.tally.winners)
        return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def tally(record: RunRecord, rows: pa.Table) -> Tally:
    """Return a run's mean costs per image and its suite's winner counts."""
    gradients, forwards = (float(rows[f"{what}_evaluations"].to_numpy().mean()) for what in ("gradient", "forward"))
    cost = Cost(gradients, forwards, record.environment.seconds / record.samples)
    winners = Counter(rows[WINNER].drop_null().to_pylist()) if WINNER in rows.column_names else Counter[str]()
    return Tally(cost, dict(sorted(winners.items())))


def attack_results(
    attack: str, made: list[Board], tallies: dict[str, Tally], rivalries: dict[str, Rivalry]
) -> list[AttackResults]:
    """Return an attack's results, board by board, most robust model first."""
    found = []
    for board in made:
        standings = [(s, run) for s in board.standings if (run := s.runs.get(attack)) is not None]
        results = sorted((_model_result(board, *found, tallies) for found in standings), key=_left)
        settings = {run.record.spec.attack.model_dump_json(): run.record.spec.attack for _, run in standings}
        if results:
            chosen = tuple(settings[key] for key in sorted(settings))
            found.append(AttackResults(board, chosen, tuple(results), rivalries[board.protocol.key]))
    return found


def _left(result: ModelResult) -> tuple[float, str]:
    """Return the sort key that puts robust models first, undefined means last."""
    mean = None if result.summary is None else result.summary.mean
    left = -math.inf if mean is None else robustness(result.record.spec.primary, mean)
    return -left, result.record.entry.name


def _model_result(board: Board, standing: Standing, run: StoredRun, tallies: dict[str, Tally]) -> ModelResult:
    primary = board.spec.primary_metric
    summary, floor = standing.summary(run.record.spec.attack.name, primary), standing.floor(primary)
    beyond = None
    if summary is not None and summary.mean is not None and floor is not None and floor.mean is not None:
        beyond = robustness(board.spec.primary, floor.mean - summary.mean)
    return ModelResult(standing, run, tallies[run.record.run_id], summary, beyond)
