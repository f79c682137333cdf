"""Profiles of models: one bar per question.

A bar runs from the worst to the best model of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.core.schemas.records import Summary
from leaderboard.records.index import Book, Measure


@dataclass(frozen=True)
class Side:
    """One question of a profile."""

    title: str
    measures: tuple[Measure, ...]
    """Each data set has its own protocols; the first measure that the model has counts."""
    page: str
    """The page of the site that shows where the number comes from."""


def _of(protocol: str, attack: str, metric: str, samples: str = "all") -> Measure:
    return Measure.model_validate({"protocol": protocol, "attack": attack, "metric": metric, "samples": samples})


def _maps(protocol: str, attack: str) -> Measure:
    return _of(protocol, attack, "kendall", "correct")


SIDES = (
    Side("Clean accuracy", (Measure(entry="clean"),), ""),
    Side("PGD-500 accuracy", (_of("cifar10-predictions-v1", "pgd-lengths", "robust-accuracy@500"),), "prediction"),
    Side("Accuracy when turned and moved", (_of("cifar10-spatial-v1", "spatial", "robust-accuracy"),), "prediction"),
    Side("Accuracy under corruptions", (_of("cifar10-corruptions-v1", "corruption", "robust-accuracy"),), "corruption"),
    Side(
        "Shapes: accuracy in black and white",
        (_of("cifar10-shape-texture-v1", "saturation", "accuracy-on-correct@1024"),),
        "shape-texture",
    ),
    Side(
        "Textures: accuracy in 4 x 4 shuffled patches",
        (_of("cifar10-shape-texture-v1", "patch-shuffle", "accuracy-on-correct@4"),),
        "shape-texture",
    ),
    Side("Accuracy on USPS", (_of("mnist-to-usps-v1", "unchanged", "robust-accuracy"),), "transfer"),
    Side(
        "Alignment of gradient and image",
        tuple(
            _of(f"{data}-alignment-v1", "unchanged", "input-gradient-alignment-abs", "correct")
            for data in ("cifar10", "mnist", "gtsrb")
        ),
        "alignment",
    ),
    Side(
        "Insertion by the attacked map",
        (_of("cifar10-faithfulness-v1", "ifia-topk", "insertion-after", "correct"),),
        "faithfulness",
    ),
    Side(
        "Attributional robustness (Kendall)",
        (
            _maps("cifar10-gradient-v1", "auto"),
            _maps("mnist-linf0.3-v1", "ifia-topk"),
            _maps("gtsrb-linf8-v1", "ifia-topk"),
        ),
        "",
    ),
)


@dataclass(frozen=True)
class Bar:
    """Value of a model on one side of its profile.

    `low` and `high` are the values of the worst and the best model that can have a rank.
    """

    side: Side
    value: Summary
    low: float
    high: float
    place: int | None
    """None for a control, which has no place."""
    of: int


def profile(book: Book, model: str) -> list[Bar]:
    """Return a model's bars, from complete runs only.

    A side has a bar only if at least two models of the data set can be compared on it.
    """
    entry, bars = book.entries[model], []
    peers = [name for name, other in book.entries.items() if other.dataset == entry.dataset and other.contends]
    for side in SIDES:
        measure = next((m for m in side.measures if book.whole(m, model) is not None), None)
        if measure is None or (value := book.whole(measure, model)) is None or value.mean is None:
            continue
        means = [v.mean for name in peers if (v := book.whole(measure, name)) is not None and v.mean is not None]
        if len(means) > 1:
            place = None if entry.apart else 1 + sum(mean > value.mean for mean in means)
            bars.append(Bar(side, value, min(means), max(means), place, len(means)))
    return bars
