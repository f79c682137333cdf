"""Which runs a board shows, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.flags import Finding
from bench.core.schemas.records import Confirmation, MetricSpec, ProtocolSpec, RunSpec, Summary
from bench.core.storage.store import StoredRun
from leaderboard.boards.audit_curves import Curve
from leaderboard.records.image_sets import (
    Reference,
    SampleSetName,
    among,
    is_control,
)
from leaderboard.records.selection import Edition
from leaderboard.records.statistics import Pairs

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
    def origin(self) -> Literal["ours", "published", "submitted"]:
        """Whether the weights come with this repository, others published them, or somebody brought them."""
        reference = next(iter(self.runs.values())).record.spec.model.reference
        registered = reference.startswith("hub:") and "/" not in reference
        if registered and self.entry.weights.origin is not None:
            return "published"
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
    def ranking_ids(self) -> frozenset[str] | None:
        """The reference set's images, where they rank; None where those do that each model classifies correctly."""
        return self.reference.ids if self.reference is not None and self.reference.complete else None

    @property
    def sample_set(self) -> SampleSetName:
        """The images that rank."""
        return "correct" if self.ranking_ids is None else "common"

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
    ids = board.ranking_ids
    return rows[rows["correct"].astype(bool) if ids is None else rows["sample_id"].isin(ids)]


def ranking(board: Board, rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Say of each of a model's rows whether the board's means are over it."""
    if board.ranking_ids is not None:
        return among(rows, board.ranking_ids)
    correct: npt.NDArray[np.bool_] = rows["correct"].to_numpy().astype(bool)
    return correct


def robustness(metric: MetricSpec, value: float) -> float:
    """Return a metric's value with the sign that makes more robust larger."""
    return -value if metric.higher_is == "less-robust" else value
