"""The three sets of images over which means are taken.

The sets are all images, the images that one model classifies correctly, and the images that a whole reference set
classifies correctly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import Summary
from bench.core.schemas.spec import ProtocolSpec
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.rows import matrix
from leaderboard.records.statistics import shared_bootstrap_intervals

SampleSetName = Literal["common", "correct", "all"]

MEANINGS: dict[SampleSetName, str] = {
    "common": "S_common: the images that every model of the protocol's reference set classifies correctly",
    "correct": "S_each: the images that this model classifies correctly before the attack",
    "all": "S_fixed: every image of the run",
}

DIGITS = 9
"""Decimals of the means that are computed here, few enough that sums on different machines agree."""

ReadRows = Callable[[StoredRun], pd.DataFrame]
ReadTable = Callable[[StoredRun], pa.Table]


@dataclass(frozen=True)
class Reference:
    """Set of models whose common correct images are ranked on."""

    models: tuple[str, ...]
    absent: tuple[str, ...]
    """Reasons in words why the set is incomplete."""
    ids: frozenset[str]
    """Ids of the common correct images, empty if the set is incomplete."""

    @property
    def complete(self) -> bool:
        """Whether every model of the set has a complete run."""
        return not self.absent


def is_control(entry: ModelEntry) -> bool:
    """Say whether a model is a control or a manipulated network.

    Controls are, for example, untrained or linear networks.
    """
    return not entry.contends


def reference_of(protocol: ProtocolSpec, runs: Iterable[StoredRun], read: ReadTable) -> Reference | None:
    """Return a protocol's reference set, or None if it names none.

    Whether an image is classified correctly does not depend on the attack, so each model's run with the most samples is
    enough.

    Args:
        protocol: the protocol, which names the models.
        runs: the runs under the protocol, one set of weights per model.
        read: returns a run's rows.
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
    correct = [_correct_ids(read(widest[name])) for name in protocol.reference]
    return Reference(protocol.reference, (), frozenset.intersection(*correct))


def common_summaries(
    runs: Mapping[str, StoredRun], read: ReadTable, reference: Reference
) -> dict[str, dict[str, Summary]]:
    """Return the means over the reference set's images by run and metric.

    Images count even if the run's own model misclassifies them. Runs with the same number of images are resampled
    together, which is many times faster and changes no number.
    """
    values = {name: _common_values(run, read(run), reference) for name, run in runs.items()}
    found = {}
    for count in {len(of_run) for of_run in values.values()}:
        alike = [name for name, of_run in values.items() if len(of_run) == count]
        widths = [values[name].shape[1] for name in alike]
        intervals = shared_bootstrap_intervals(np.hstack([values[name] for name in alike]))
        for name, ends in zip(alike, np.split(intervals, np.cumsum(widths)[:-1]), strict=True):
            found[name] = _summed_up(runs[name], values[name], ends)
    return {name: found[name] for name in runs}


def _common_values(run: StoredRun, rows: pa.Table, reference: Reference) -> npt.NDArray[np.float64]:
    """Return a run's (N, M) metrics on the reference set's images."""
    return matrix(rows, [metric.name for metric in run.record.spec.metrics])[among(rows, reference.ids)]


def among(rows: pa.Table, ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Return (N,) booleans, True for rows of images with the ids."""
    found: npt.NDArray[np.bool_] = pc.is_in(rows["sample_id"], pa.array(ids, pa.string())).to_numpy()
    return found


def _summed_up(
    run: StoredRun, values: npt.NDArray[np.float64], intervals: npt.NDArray[np.float64]
) -> dict[str, Summary]:
    known = ~np.isnan(values)
    counts, totals = known.sum(axis=0), np.where(known, values, 0.0).sum(axis=0)
    names = [metric.name for metric in run.record.spec.metrics]
    return {
        name: Summary(
            mean=round(total / n, DIGITS) if n else None,
            low=round(low, DIGITS) if n else None,
            high=round(high, DIGITS) if n else None,
            n=n,
            n_undefined=len(values) - n,
        )
        for name, n, total, (low, high) in zip(names, counts.tolist(), totals.tolist(), intervals.tolist(), strict=True)
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


def _correct_ids(rows: pa.Table) -> frozenset[str]:
    return frozenset(rows["sample_id"].filter(rows["correct"]).to_pylist())
