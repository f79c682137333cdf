"""Comparing two models image by image, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bench.core.errors import UsageError, suggestion
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, Standing, ranking_rows, robustness
from leaderboard.drawing.axis import Axis
from leaderboard.drawing.strips import Strip, class_name, strips
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.statistics import paired_interval

MODELS = 8
"""Number of models, from the top of a board, whose pairs have a page each."""

EXTREMES = 5
"""Number of images in each list of largest differences."""


@dataclass(frozen=True)
class Image:
    """Values of both models on one image.

    They are values of the primary metric, each under the attack that scores the model.
    """

    sample_id: str
    label: str
    first: float
    second: float
    gain: float
    """How much more robust the first model is on this image."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of two models, the higher one on the board first.

    It covers the images that rank or, without a reference set, the images that both classify correctly.
    """

    first: Standing
    second: Standing
    images: tuple[Image, ...]
    """Ordered from the image on which the first model leads most to the image on which the second one does."""
    interval: tuple[float, float]
    """95 % interval of the mean gain."""
    strips: tuple[tuple[Image, Strip, Strip], ...]
    """The showcase images that both models have, the largest difference first."""

    @property
    def mean(self) -> float:
        """Mean gain of the first model."""
        return float(np.mean([image.gain for image in self.images]))

    @property
    def wins(self) -> tuple[int, int]:
        """Numbers of images on which each model is more robust."""
        return sum(i.gain > 0 for i in self.images), sum(i.gain < 0 for i in self.images)

    @property
    def extremes(self) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
        """Images on which the first, and then the second model leads most."""
        ahead, behind = self.images[:EXTREMES], self.images[: -EXTREMES - 1 : -1]
        return tuple(i for i in ahead if i.gain > 0), tuple(i for i in behind if i.gain < 0)

    @property
    def data(self) -> dict[str, Any]:
        """The comparison as plain data, without pictures."""
        sides = {"model": self.first, "other": self.second}
        return {
            **{role: side.entry.name for role, side in sides.items()},
            **{f"{role}_scored_under": side.headline for role, side in sides.items()},
            "lead": self.mean,
            **{end: at if math.isfinite(at) else None for end, at in zip(("low", "high"), self.interval, strict=True)},
            "wins": self.wins[0],
            "losses": self.wins[1],
            "images": [asdict(image) for image in self.images],
        }

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """Two axes with the same scale, one for each model's values."""
        values = [value for image in self.images for value in (image.first, image.second)]
        low, high = min(values), max(values)
        air = 0.04 * (high - low) or 0.5
        return Axis(low - air, high + air, 56, 372), Axis(low - air, high + air, 330, 14)

    @property
    def cloud(self) -> str:
        """The `d` of a path with a dot per image."""
        x, y = self.axes
        return "".join(f"M{x.at(i.first):g} {y.at(i.second):g}h0" for i in self.images)


def page_name(first: str, second: str) -> str:
    """Return the name of the page that compares two models."""
    return f"{first}--{second}.html"


def comparisons(board: Board, read_rows: ReadRows) -> list[Comparison]:
    """Return the comparisons of a board's first models with each other.

    A pair without an image in common is left out.
    """
    shown = [(s, s.runs[str(s.headline)]) for s in board.compared[:MODELS]]
    rows = {s.entry.name: read_rows(run) for s, run in shown}
    drawn = {s.entry.name: {strip.sample_id: strip for strip in strips(run, read_rows)} for s, run in shown}
    found = []
    for (first, run), (second, _) in combinations(shown, 2):
        names = first.entry.name, second.entry.name
        images = _images(board, run, rows[names[0]], rows[names[1]])
        if images:
            pictures = [drawn[name] for name in names]
            both = [i for i in images if all(i.sample_id in side for side in pictures)]
            both.sort(key=lambda image: -abs(image.gain))
            shown_twice = tuple((i, pictures[0][i.sample_id], pictures[1][i.sample_id]) for i in both)
            found.append(Comparison(first, second, tuple(images), _interval(images), shown_twice))
    return found


def compare(board: Board, first: str, second: str, read_rows: ReadRows) -> Comparison:
    """Return the comparison of two models of a board, without pictures.

    Raises:
        UsageError: if one of them cannot be compared, or they have no image in common.
    """
    sides = _comparable(board, first), _comparable(board, second)
    run, other = (side.runs[str(side.headline)] for side in sides)
    images = _images(board, run, read_rows(run), read_rows(other))
    if not images:
        raise UsageError(
            f"expected images that rank both {first} and {second} under {board.protocol.key}, got none; "
            "run both over more samples"
        )
    return Comparison(*sides, tuple(images), _interval(images), ())


def find_board(made: list[Board], models: Iterable[str], protocol: str | None) -> Board:
    """Return the first board that has all of the models.

    Raises:
        UsageError: if no board has them all, or the named protocol's board does not.
    """
    wanted = list(models)
    for board in made:
        if protocol in {None, board.protocol.key} and set(wanted) <= set(board.by_name):
            return board
    there = [board for board in made if protocol in {None, board.protocol.key}]
    known = {name for board in there for name in board.by_name}
    for name in wanted:
        if name not in known:
            meant = suggestion(name, known) or "make records with `bench run`"
            raise UsageError(f"expected a model with records{_under(protocol)}, got {name!r}; {meant}")
    raise UsageError(f"expected a board that has all of {', '.join(wanted)}, got none; make records with `bench run`")


def _under(protocol: str | None) -> str:
    return "" if protocol is None else f" under {protocol}"


def _comparable(board: Board, name: str) -> Standing:
    standing = board.by_name[name]
    if standing.headline is None or standing.remarks:
        why = "; ".join(standing.remarks) or "no score"
        raise UsageError(f"expected a model that can be compared under {board.protocol.key}, got {name}: {why}")
    return standing


def _interval(images: list[Image]) -> tuple[float, float]:
    return paired_interval(np.array([image.gain for image in images]))


def _images(board: Board, run: StoredRun, first: pd.DataFrame, second: pd.DataFrame) -> list[Image]:
    spec = run.record.spec
    metric = spec.primary_metric
    columns = ["sample_id", "label", metric]
    sides = [ranking_rows(board, side)[columns].dropna() for side in (first, second)]
    merged = sides[0].merge(sides[1][["sample_id", metric]], on="sample_id", suffixes=("_first", "_second"))
    images = [
        Image(str(name), class_name(run.record, int(label)), a, b, robustness(spec.primary, a - b))
        for name, label, a, b in merged.itertuples(index=False)
    ]
    return sorted(images, key=lambda image: (-image.gain, image.sample_id))
