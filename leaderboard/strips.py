"""Image strips: what an attack did to one image and its explanation, in pictures, words and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import pandas as pd

from bench.core.errors import IntegrityError
from bench.core.files import sha256_of
from bench.core.records import MetricSpec, RunRecord
from bench.core.store import StoredRun
from leaderboard import tiles as draw
from leaderboard.board import robustness
from leaderboard.tiles import Pixels

SAID_IN_WORDS = {"accuracy", "prediction-kept"}
"""Metrics that a strip's captions tell already."""


@dataclass(frozen=True)
class Tile:
    """One picture of a strip. Equal pictures share one file: its name is its content's checksum."""

    kind: Literal["pixels", "marks"]
    title: str
    caption: str
    alt: str
    content: bytes = field(repr=False)

    @cached_property
    def file(self) -> str:
        """Name of the picture's file."""
        return f"{sha256_of(self.content)[:20]}.png"


@dataclass(frozen=True)
class Strip:
    """One showcase image under one attack."""

    sample_id: str
    label: str
    remarks: tuple[str, ...]
    numbers: dict[str, float | None]
    tiles: tuple[Tile, ...]


def strips(run: StoredRun, rows: pd.DataFrame) -> list[Strip]:
    """Return a run's strips, the most damaged explanation first.

    Raises:
        IntegrityError: if the showcase is damaged, or is not what the record says.
    """
    content = run.showcase()
    if content is None:
        return []
    by_id = {row["sample_id"]: {str(name): value for name, value in row.items()} for row in rows.to_dict("records")}
    if unknown := [sample for sample in run.record.showcase if sample not in by_id]:
        raise IntegrityError(f"expected a row of sample {unknown[0]} in {run.rows_path}, got none; restore it")
    cut = zip(run.record.showcase, draw.cut(content, run), strict=True)
    made = [_strip(run.record, pixels, by_id[sample]) for sample, pixels in cut]
    return sorted(made, key=lambda strip: _left(run.record.spec.primary, strip))


def class_name(record: RunRecord, label: int) -> str:
    """Return the name of a class, or its number where the record names none."""
    return record.classes[label] if 0 <= label < len(record.classes) else f"class {label}"


def _left(primary: MetricSpec, strip: Strip) -> float:
    """Return how much of an explanation the attack left; an undefined number sorts last."""
    value = strip.numbers[primary.name]
    return math.inf if value is None else robustness(primary, value)


def _strip(record: RunRecord, pixels: dict[str, Pixels], row: dict[str, Any]) -> Strip:
    label = class_name(record, row["label"])
    numbers = {m.name: _number(row[m.name]) for m in record.spec.metrics if m.name not in SAID_IN_WORDS}
    tiles = (*_image_tiles(record, label, pixels, row), *_heatmap_tiles(label, pixels, numbers))
    original, perturbed, change, before, after, marks = tiles
    shown = (original, before, perturbed, after, change, marks)
    return Strip(row["sample_id"], label, tuple(_remarks(record, row)), numbers, shown)


def _image_tiles(record: RunRecord, label: str, pixels: dict[str, Pixels], row: dict[str, Any]) -> list[Tile]:
    before = f"{class_name(record, row['predicted_before'])} ({row['confidence_before']:.0%})"
    after = f"{class_name(record, row['predicted_after'])} ({row['confidence_after']:.0%})"
    attack, moved = record.spec.attack.name, f"{row['linf'] * 255:.1f}/255"
    return [
        Tile(
            "pixels",
            "Original",
            f"seen as {before}",
            f"Original image of class {label}, predicted {before}.",
            draw.png(pixels["before"]),
        ),
        Tile(
            "pixels",
            "Perturbed",
            f"seen as {after}, L∞\N{NO-BREAK SPACE}{moved}",
            f"The image after {attack}, predicted {after}; largest change of a pixel value {moved}.",
            draw.png(pixels["after"]),
        ),
        Tile(
            "pixels",
            f"Perturbation \N{MULTIPLICATION SIGN}{draw.MAGNIFICATION}",
            "about grey, 8-bit",
            f"The perturbation magnified {draw.MAGNIFICATION} times about grey.",
            draw.magnified_perturbation(pixels["before"], pixels["after"]),
        ),
    ]


def _heatmap_tiles(label: str, pixels: dict[str, Pixels], numbers: dict[str, float | None]) -> list[Tile]:
    counts = draw.counts(pixels["top-k"])
    k, tally = counts["kept"] + counts["lost"], ", ".join(f"{count} {mark}" for mark, count in counts.items())
    return [
        Tile(
            "pixels",
            "Heatmap before",
            "what the model looks at",
            f"Heatmap of the original image of class {label}.",
            draw.heatmap(pixels["heatmap-before"]),
        ),
        Tile(
            "pixels",
            "Heatmap after",
            "same colour scale",
            f"Heatmap of the perturbed image, on the same scale; {_in_words(numbers)}.",
            draw.heatmap(pixels["heatmap-after"]),
        ),
        Tile(
            "marks",
            f"Top {k} pixels",
            tally,
            f"The {k} most important pixels before and after: {tally}.",
            draw.marks(pixels["top-k"], pixels["before"]),
        ),
    ]


def _remarks(record: RunRecord, row: dict[str, Any]) -> list[str]:
    remarks = []
    if not row["correct"]:
        remarks.append("misclassified before the attack, so not in the means")
    if not row["feasible"]:
        remarks.append(
            "infeasible: the attack found no change that keeps the prediction, so the image counts as not moved"
        )
    elif row["predicted_before"] != row["predicted_after"] and record.spec.threat.keep_prediction:
        remarks.append("the prediction changed")
    return remarks


def _in_words(numbers: dict[str, float | None]) -> str:
    return (
        ", ".join(f"{name} {value:.2f}" for name, value in numbers.items() if value is not None)
        or "no metric is defined"
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
