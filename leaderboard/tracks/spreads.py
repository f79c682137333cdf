"""Computes quantiles of metrics over unchanged images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book

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
                found.append(Spread(model, metric, tuple(round(float(q), 9) for q in np.quantile(values, QUANTILES))))
    return found
