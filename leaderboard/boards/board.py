"""Boards, and the lines of models on them."""

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
from bench.core.schemas.records import Confirmation, Summary
from bench.core.schemas.spec import MetricSpec, ProtocolSpec, RunSpec
from bench.core.storage.stored_run import StoredRun
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
"""The attack that scores on boards that have it: per image, the worst of a frozen suite."""

SHORTFALL_FLAGS = ("partial", "off-protocol")
"""Flags that the board leaves out, because its remarks already say the same."""


@dataclass(frozen=True)
class BestKnown:
    """Mean of the lowest known values on the images of a score."""

    mean: float
    gap: float
    """By how much the score leaves more: never negative."""
    low: float
    """Lower end of the gap's 95 % interval (paired bootstrap)."""
    high: float
    images: int
    found_by: tuple[tuple[str, int], ...]
    """Attacks that are lower than the one that scores, with their numbers of images, most first."""


@dataclass(frozen=True)
class Shortfall:
    """By how much `auto` leaves more than `auto-long`."""

    reason: str
    """Why there is no number; empty where there is one."""
    gap: float | None = None
    low: float | None = None
    """Lower end of the gap's 95 % interval (paired bootstrap)."""
    high: float | None = None
    images: int = 0


@dataclass(frozen=True)
class Standing:
    """One model on one board, with its runs and its score."""

    entry: ModelEntry
    weights_sha256: str
    runs: dict[str, StoredRun]
    headline: str | None
    """The attack that scores: `auto` where the model has it, else the strongest one."""
    strongest: str | None
    """The attack with the lowest mean robustness, `auto` not counted."""
    score: Summary | None
    remarks: tuple[str, ...]
    rank: int | None = None
    rank_interval: tuple[int, int] | None = None
    group: int | None = None
    common: Mapping[str, Mapping[str, Summary]] = field(default_factory=dict)
    """Means over the reference set's images, per attack and metric; empty on a board without a reference set."""
    sweeps: tuple[Curve, ...] = ()
    audit: tuple[Finding, ...] = ()
    """Flags that comparisons of the model's runs raise, its sweeps included."""
    best_known: BestKnown | None = None
    """The ledger's lowest values beside the score."""
    shortfall: Shortfall | None = None
    """How `auto` compares with `auto-long`; None on a board without `auto`."""

    def summary(self, attack: str | None, metric: str, sample_set: SampleSetName | None = None) -> Summary | None:
        """Return a metric's mean under an attack, or None without a run.

        The default sample set is the images that rank.
        """
        run = self.runs.get(attack) if attack is not None else None
        return None if run is None else summary_of(run, metric, sample_set or self.sample_set, self.common)

    @property
    def sample_set(self) -> SampleSetName:
        """Name of the sample set that ranks."""
        return "common" if self.common else "correct"

    @property
    def headline_run(self) -> StoredRun | None:
        """The run of the attack that scores."""
        return None if self.headline is None else self.runs[self.headline]

    @property
    def outdone_by(self) -> str | None:
        """An attack that hurts more than the one that scores, or None."""
        metric = None if self.headline_run is None else self.headline_run.record.spec.primary
        if metric is None or self.headline == self.strongest:
            return None
        scored, other = self.score, self.summary(self.strongest, metric.name)
        if scored is None or scored.mean is None or other is None or other.mean is None:
            return None
        return self.strongest if robustness(metric, other.mean) < robustness(metric, scored.mean) else None

    @property
    def origin(self) -> Literal["ours", "published", "submitted"]:
        """Where the weights come from.

        ours: they come with this repository; published: others published them; submitted: somebody submitted them.
        """
        reference = next(iter(self.runs.values())).record.spec.model.reference
        registered = reference.startswith("hub:") and "/" not in reference
        if registered and self.entry.weights.checkpoint is not None:
            return "published"
        return "ours" if registered and self.entry.weights.repo is None else "submitted"

    @cached_property
    def confirmation(self) -> Confirmation | None:
        """Note that a second run agrees with the scoring run, or None."""
        return None if self.headline_run is None else self.headline_run.confirmation()

    @property
    def is_control(self) -> bool:
        """Whether the model has no rank, as a control or manipulated network."""
        return is_control(self.entry)

    def floor(self, metric: str) -> Summary | None:
        """Return a metric's mean under the floor attack, or None."""
        return self.summary(next(iter(self.runs.values())).record.spec.protocol.floor, metric)

    @property
    def flags(self) -> dict[str, list[str]]:
        """Flags of the runs and of the audit, each with its attacks."""
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
    """Table of the models under one protocol.

    If no run meets the conditions for a rank, `excused` says what the best runs lack. The models are then ordered, but
    not ranked. `common` counts the images on which `pairs` compares the models: the images of the reference set or,
    without one, the images that all compared models classify correctly.
    """

    spec: RunSpec
    edition: Edition
    attacks: tuple[str, ...]
    metrics: tuple[str, ...]
    standings: tuple[Standing, ...]
    aside: tuple[Standing, ...] = ()
    """Models with exploratory runs only: none of these runs can be compared with the board's runs."""
    excused: tuple[str, ...] = ()
    common: int | None = None
    pairs: Pairs | None = None
    reference: Reference | None = None

    @property
    def protocol(self) -> ProtocolSpec:
        """The board's protocol."""
        return self.spec.protocol

    @property
    def floor(self) -> str:
        """Name of the floor attack, which every other attack must beat."""
        return self.protocol.floor

    @property
    def ranking_ids(self) -> frozenset[str] | None:
        """Images of a complete reference set, or None.

        None means that each model ranks on the images that it classifies correctly.
        """
        return self.reference.ids if self.reference is not None and self.reference.complete else None

    @property
    def sample_set(self) -> SampleSetName:
        """Name of the sample set that ranks."""
        return "correct" if self.ranking_ids is None else "common"

    @property
    def lacking(self) -> tuple[str, ...]:
        """Reasons in words why the reference set is incomplete."""
        return () if self.reference is None else self.reference.absent

    @property
    def ranks(self) -> bool:
        """Whether any model has a rank."""
        return any(standing.rank is not None for standing in self.standings)

    @cached_property
    def by_name(self) -> dict[str, Standing]:
        """The models by name, including the models aside."""
        return {standing.entry.name: standing for standing in (*self.standings, *self.aside)}

    def shows(self, standing: Standing) -> bool:
        """Say whether a model has a line on the board."""
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
    """Return a run's mean over a sample set, or None.

    Records do not hold the means of the sample set `common`; the argument `common` gives them by attack and metric.
    """
    if sample_set == "common":
        return (common or {}).get(run.record.spec.attack.name, {}).get(metric)
    return run.record.summaries.get(sample_set, {}).get(metric)


def ranking_rows(board: Board, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a model that count in the board's means."""
    ids = board.ranking_ids
    return rows[rows["correct"].astype(bool) if ids is None else rows["sample_id"].isin(ids)]


def ranking(board: Board, rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Return (N,) booleans, True for rows that count in the board's means."""
    if board.ranking_ids is not None:
        return among(rows, board.ranking_ids)
    correct: npt.NDArray[np.bool_] = rows["correct"].to_numpy().astype(bool)
    return correct


def robustness(metric: MetricSpec, value: float) -> float:
    """Return a value with the sign under which larger is more robust."""
    return -value if metric.higher_is == "less-robust" else value
