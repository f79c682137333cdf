"""Image strips: an attack's effect in pictures, words and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench import registry
from bench.core.errors import IntegrityError
from bench.core.schemas.records import LEVEL_MARK, RunRecord
from bench.core.schemas.spec import MetricSpec
from bench.core.storage.showcase import Pixels
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import robustness
from leaderboard.drawing import tiles as draw
from leaderboard.records.image_sets import ReadRows

SAID_IN_WORDS = {"accuracy", "prediction-kept"}
"""Metrics that a strip leaves out of its numbers, as its captions already say them."""

ORDER = ("original", "heatmap-before", "perturbed", "perturbation", "heatmap-after", "marks")
"""Order of the pictures in a strip. Readers can switch the perturbed image to the perturbation."""


@dataclass(frozen=True)
class Tile:
    """One picture of a strip, a box in the run's sprite."""

    picture: str
    title: str
    caption: str
    alt: str
    file: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class Strip:
    """One showcase image under one attack."""

    sample_id: str
    label: str
    remarks: tuple[str, ...]
    numbers: dict[str, float | None]
    """The metrics' values on the images that are shown."""
    elsewhere: dict[str, float | None]
    """For a suite, the worst values of the other metrics. They can come from other images than the one shown."""
    tiles: tuple[Tile, ...]


def sprite_name(run: StoredRun) -> str:
    """Return the name of the file with all pictures of a run."""
    return f"{run.record.run_id[:12]}.png"


def showcase_tiles(run: StoredRun) -> dict[str, Pixels] | None:
    """Return the tiles of a run's showcase, or None without one.

    Raises:
        IntegrityError: if the showcase is damaged, or does not match the record.
    """
    content = run.showcase()
    return None if content is None else draw.cut(content, run)


def strips(run: StoredRun, read_rows: ReadRows, tiles: dict[str, Pixels] | None = None) -> list[Strip]:
    """Return a run's strips, the most damaged explanation first.

    Args:
        run: the run.
        read_rows: returns a run's rows.
        tiles: the tiles of the run's showcase, if they are cut already.
    Raises:
        IntegrityError: if the showcase is damaged, or does not match the record.
    """
    record, tiles = run.record, tiles or showcase_tiles(run)
    if tiles is None:
        return []
    rows = read_rows(run)
    shown = rows[rows["sample_id"].isin(record.showcase)].to_dict("records")
    by_id = {row["sample_id"]: {str(name): value for name, value in row.items()} for row in shown}
    if unknown := [sample for sample in record.showcase if sample not in by_id]:
        raise IntegrityError(f"expected a row of sample {unknown[0]} in {run.rows_path}, got none; restore it")
    made = [_strip(run, tiles, index, by_id[sample]) for index, sample in enumerate(record.showcase)]
    return sorted(made, key=lambda strip: _left(record.spec.primary, strip))


def class_name(record: RunRecord, label: int) -> str:
    """Return a class's name, or its number without a name."""
    return record.classes[label] if 0 <= label < len(record.classes) else f"class {label}"


def _left(primary: MetricSpec, strip: Strip) -> float:
    """Return the robustness on a strip's image, infinity if undefined."""
    value = strip.numbers[primary.name]
    return math.inf if value is None else robustness(primary, value)


def _strip(run: StoredRun, tiles: dict[str, Pixels], index: int, row: dict[str, Any]) -> Strip:
    record, place = run.record, draw.layout(tiles)
    label = class_name(record, row["label"])
    numbers, elsewhere = _numbers(record, row)
    words = _image_words(record, label, row) | _heatmap_words(label, draw.counts(tiles["top-k"][index]), numbers)
    pictures = tuple(Tile(name, *words[name], sprite_name(run), place.box(index, name), place.size) for name in ORDER)
    return Strip(row["sample_id"], label, tuple(_remarks(record, row)), numbers, elsewhere, pictures)


class _Numbers(NamedTuple):
    here: dict[str, float | None]
    elsewhere: dict[str, float | None]


def _numbers(record: RunRecord, row: dict[str, Any]) -> _Numbers:
    """Split a row's values into the shown image's and other images' values.

    A suite shows the worst image by the primary metric; another metric can have another worst image. A series of levels
    shows the image of its last level; its columns without a level are means over all levels.
    """
    here: dict[str, float | None] = {}
    elsewhere: dict[str, float | None] = {}
    for metric in record.spec.metrics:
        if metric.name in SAID_IN_WORDS:
            continue
        of_series = metric.higher_is != "neutral"  # a neutral metric's levels are settings of its own
        levels = [name for name in row if of_series and name.startswith(metric.name + LEVEL_MARK)]
        shown = "winner" not in row or metric.name == record.spec.primary_metric or metric.higher_is == "neutral"
        (here if shown else elsewhere)[metric.name] = _number(row[levels[-1] if levels else metric.name])
    return _Numbers(here, elsewhere)


Words = dict[str, tuple[str, str, str]]
"""Title, caption and text alternative, by picture."""


def _image_words(record: RunRecord, label: str, row: dict[str, Any]) -> Words:
    before = f"{class_name(record, row['predicted_before'])} ({row['confidence_before']:.0%})"
    after = f"{class_name(record, row['predicted_after'])} ({row['confidence_after']:.0%})"
    attack, moved = record.spec.attack.name, f"{row['linf'] * 255:.1f}/255"
    outlined = _outlined(record)
    outline = " Its outline, as the terms of its source do not allow to show it." if outlined else ""
    return {
        "original": (
            "Outline" if outlined else "Original",
            f"seen as {before}",
            f"Original image of class {label}, predicted {before}.{outline}",
        ),
        "perturbed": (
            "Outline, perturbed" if outlined else "Perturbed",
            f"seen as {after}, L∞\N{NO-BREAK SPACE}{moved}",
            f"The image after {attack}, predicted {after}; largest change of a pixel value {moved}.{outline}",
        ),
        "perturbation": (
            f"Perturbation \N{MULTIPLICATION SIGN}{draw.MAGNIFICATION}",
            "about grey, 8-bit",
            f"The perturbation magnified {draw.MAGNIFICATION} times about grey.",
        ),
    }


def _outlined(record: RunRecord) -> bool:
    """Return whether outlines stand in place of the images."""
    if (key := record.spec.protocol.key) not in registry.names("protocols"):
        return False
    source = registry.load("protocols", key).samples.source
    return registry.constants("datasets", source).get("shows_images") is False


def _heatmap_words(label: str, counts: dict[str, int], numbers: dict[str, float | None]) -> Words:
    k, tally = counts["kept"] + counts["lost"], ", ".join(f"{count} {mark}" for mark, count in counts.items())
    return {
        "heatmap-before": (
            "Heatmap before",
            "what the model looks at",
            f"Heatmap of the original image of class {label}.",
        ),
        "heatmap-after": (
            "Heatmap after",
            "same colour scale",
            f"Heatmap of the perturbed image, on the same scale; {_in_words(numbers)}.",
        ),
        "marks": (
            f"Top {k} pixels",
            tally,
            f"The {k} most important pixels before and after: {tally}.",
        ),
    }


def _remarks(record: RunRecord, row: dict[str, Any]) -> list[str]:
    remarks = []
    if not row["correct"]:
        remarks.append("misclassified before the attack, so not one of the model's own correct images")
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
