"""Compares networks by the images that one of them was attacked with."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book


@dataclass(frozen=True)
class Matrix:
    """Robust accuracies of models on images crafted on the sources."""

    key: str
    attack: str
    sources: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float | None, ...]], ...]


def transfer_matrix(book: Book, key: str) -> Matrix | None:
    """Return the accuracies on transferred images, or None without any."""
    sources = book.sources(key)
    runs = {(m, s): run for m in book.models(key) for s in sources if (run := book.run(key, m, "transfer", s))}
    if not runs:
        return None
    spec = next(iter(runs.values())).record.spec.crafted_on
    assert spec is not None
    lines = []
    for model in book.models(key):
        found = [runs.get((model, source)) for source in sources]
        values = tuple(None if run is None else run.record.summaries["all"]["robust-accuracy"].mean for run in found)
        if any(value is not None for value in values):
            lines.append((model, values))
    return Matrix(key, spec.attack.name, tuple(sources), tuple(lines))


@dataclass(frozen=True)
class Agreement:
    """How often two networks predict the same class on one network's images.

    The images were made on `model`; `judge` is the other, independent network.
    """

    model: str
    judge: str
    share: float
    images: int


def agreements(book: Book, key: str, attack: str, read: ReadRows) -> list[Agreement]:
    """Return the agreements of networks with their judges, highest first."""
    found = []
    for judge in book.models(key):
        for source in book.sources(key):
            judged, own = book.run(key, judge, "transfer", source), book.run(key, source, attack)
            if judged is None or own is None or judge == source:
                continue
            both = read(judged).merge(read(own), on="sample_id", suffixes=("", "_own"))
            same = both["predicted_after"] == both["predicted_after_own"]
            found.append(Agreement(source, judge, round(float(same.mean()), 9), len(both)))
    return sorted(found, key=lambda a: (-a.share, a.model))
