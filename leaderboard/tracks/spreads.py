"""Computes quantiles of metrics over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book, Measure

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Spread:
    """Quantiles of a metric over the images."""

    model: str
    metric: str
    quantiles: tuple[float, ...]


def spreads(book: Book, key: str, metrics: Sequence[str], read: ReadRows) -> list[Spread]:
    """Return the quantiles of metrics over the unchanged images, per model."""
    found = []
    for metric in metrics:
        for model in book.models(key):
            run = book.run(key, model, "unchanged")
            if run is None or metric not in {m.name for m in run.record.spec.metrics}:
                continue
            values = read(run)[metric].dropna().to_numpy(float)
            if len(values):
                found.append(Spread(model, metric, _quantiles(values)))
    return found


def spread_of(book: Book, measure: Measure, model: str, read: ReadRows) -> Spread | None:
    """Return the quantiles of a measure of a run for one model.

    None if it is not measured.
    """
    run = book.run(measure.protocol, model, measure.attack)
    if run is None or measure.metric not in run.record.summaries.get(measure.samples, {}):
        return None
    rows = read(run)
    chosen = rows[rows["correct"].astype(bool)] if measure.samples == "correct" else rows
    values = chosen[measure.metric].dropna().to_numpy(float)
    return Spread(model, measure.metric, _quantiles(values)) if len(values) else None


def _quantiles(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(q), 9) for q in np.quantile(values, QUANTILES))
