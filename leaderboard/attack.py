"""One attack: how it was set, what it costs, and what it found on each model."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.core.records import PluginSpec, RunRecord, Summary
from bench.core.store import StoredRun
from leaderboard.board import Board, Standing, robustness


@dataclass(frozen=True)
class Cost:
    """Means per image."""

    gradients: float
    forwards: float
    seconds: float


@dataclass(frozen=True)
class Finding:
    """What an attack did to one model."""

    standing: Standing
    run: StoredRun
    cost: Cost
    summary: Summary | None
    beyond_floor: float | None
    """How much less robust than the floor leaves it, in the primary metric: positive if the attack found something."""

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def strongest(self) -> bool:
        """Whether no other attack hurts the model more."""
        return self.standing.strongest == self.record.spec.attack.name


@dataclass(frozen=True)
class Campaign:
    """An attack on the models of one board."""

    board: Board
    settings: tuple[PluginSpec, ...]
    """Its parameters: one setting on the protocol, and any others off it."""
    findings: tuple[Finding, ...]

    @property
    def strongest_of(self) -> int:
        """Models that no other attack hurts more."""
        return sum(finding.strongest for finding in self.findings)


def cost(record: RunRecord, rows: pd.DataFrame) -> Cost:
    """Return what a run spent on an image, on average."""
    gradients, forwards = rows["gradient_evaluations"].mean(), rows["forward_evaluations"].mean()
    return Cost(float(gradients), float(forwards), record.environment.seconds / record.samples)


def campaigns(attack: str, made: list[Board], costs: dict[str, Cost]) -> list[Campaign]:
    """Return an attack's runs that are on a board, in the order of the boards and of their models."""
    found = []
    for board in made:
        standings = [(s, run) for s in board.standings if (run := s.runs.get(attack)) is not None]
        findings = [_finding(board, standing, run, costs) for standing, run in standings]
        settings = {run.record.spec.attack.model_dump_json(): run.record.spec.attack for _, run in standings}
        if findings:
            found.append(Campaign(board, tuple(settings[key] for key in sorted(settings)), tuple(findings)))
    return found


def _finding(board: Board, standing: Standing, run: StoredRun, costs: dict[str, Cost]) -> Finding:
    primary = board.spec.primary_metric
    summary, floor = standing.summary(run.record.spec.attack.name, primary), standing.floor(primary)
    beyond = None
    if summary is not None and summary.mean is not None and floor is not None and floor.mean is not None:
        beyond = robustness(board.spec.primary, floor.mean - summary.mean)
    return Finding(standing, run, costs[run.record.run_id], summary, beyond)
