"""Which images a mean is over: all, those that a model gets right, or those that a whole reference set gets right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from bench.core.entry import ModelEntry
from bench.core.records import ProtocolSpec, Summary
from bench.core.store import StoredRun
from leaderboard.rows import matrix
from leaderboard.statistics import bootstrap_intervals

SampleSetName = Literal["common", "correct", "all"]

MEANINGS: dict[SampleSetName, str] = {
    "common": "S_common: the images that every model of the protocol's reference set classifies correctly",
    "correct": "S_each: the images that this model classifies correctly before the attack",
    "all": "S_fixed: every image of the run",
}

DIGITS = 9
"""Decimals of means that are computed here: less than machines differ in when they sum."""

ReadRows = Callable[[StoredRun], pd.DataFrame]


@dataclass(frozen=True)
class Reference:
    """The frozen set of models whose common correct images rank."""

    models: tuple[str, ...]
    absent: tuple[str, ...]
    """What keeps the set from being complete, in words."""
    ids: frozenset[str]
    """The images; none where the set is not complete."""

    @property
    def complete(self) -> bool:
        """Whether every model of the set has its rows."""
        return not self.absent


def is_control(entry: ModelEntry) -> bool:
    """Say whether a model is a control, such as an untrained or a linear network."""
    return entry.control


def reference_of(protocol: ProtocolSpec, runs: Iterable[StoredRun], read_rows: ReadRows) -> Reference | None:
    """Return a protocol's reference set with the images that all its models classify correctly; None if it names none.

    Whether an image is classified correctly does not depend on the attack, so each model's widest run tells it.

    Args:
        protocol: names the models.
        runs: the runs under the protocol, one set of weights per model.
        read_rows: returns a run's rows.
    """
    if not protocol.reference:
        return None
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    widest = {name: max(members, key=_width) for name, members in by_model.items()}
    images = max((run.record.spec.samples.count for run in widest.values()), default=0)
    absent = [f"{name}: {why}" for name in protocol.reference if (why := _lack(widest.get(name), images))]
    if absent:
        return Reference(protocol.reference, tuple(absent), frozenset())
    correct = [_correct_ids(read_rows(widest[name])) for name in protocol.reference]
    return Reference(protocol.reference, (), frozenset.intersection(*correct))


def common_summaries(run: StoredRun, rows: pd.DataFrame, reference: Reference) -> dict[str, Summary]:
    """Return the mean of every metric of a run over the reference set's images, misclassified ones among them."""
    names = [metric.name for metric in run.record.spec.metrics]
    chosen = [sample in reference.ids for sample in rows["sample_id"].tolist()]
    values = matrix(rows, names)[chosen]
    known = ~np.isnan(values)
    counts, totals = known.sum(axis=0), np.where(known, values, 0.0).sum(axis=0)
    intervals = bootstrap_intervals(values)
    return {
        name: Summary(
            mean=round(float(totals[column] / n), DIGITS) if n else None,
            low=round(float(intervals[column, 0]), DIGITS) if n else None,
            high=round(float(intervals[column, 1]), DIGITS) if n else None,
            n=n,
            n_undefined=len(values) - n,
        )
        for column, (name, n) in enumerate(zip(names, counts.tolist(), strict=True))
    }


def _width(run: StoredRun) -> tuple[int, str]:
    return run.record.spec.samples.count, run.record.run_id


def _lack(run: StoredRun | None, images: int) -> str | None:
    if run is None:
        return "no run"
    if is_control(run.record.entry):
        return "a control"
    count = run.record.spec.samples.count
    return f"{count} of {images} images" if count < images else None


def _correct_ids(rows: pd.DataFrame) -> frozenset[str]:
    return frozenset(rows.loc[rows["correct"].astype(bool), "sample_id"])
