"""Comparing two boards that differ in their attacks.

Ranks are taken among the models that both boards rank, so a model that only one of them has changes none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.core.errors import UsageError
from leaderboard.boards.board import Board, robustness
from leaderboard.boards.certainty import scored_values
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.statistics import LEVEL, Floats, differences, paired_interval


@dataclass(frozen=True)
class Move:
    """One model on both boards, the older one first."""

    model: str
    ranks: tuple[int, int]
    means: tuple[float, float]
    """Means of the primary metric over the images that rank on both boards."""
    change: float
    """Mean gain in robustness from the older to the newer board, image by image."""
    interval: tuple[float, float]
    """95 % interval of the change (Student's, paired)."""
    images: int


@dataclass(frozen=True)
class Decisions:
    """Decisions between pairs of models, after Holm's correction."""

    older: int
    """Number of pairs that the older board decides."""
    newer: int
    both: int
    """Number of pairs that both boards decide in the same way."""
    reversed: int
    """Number of pairs that they decide in opposite ways."""
    total: int


def side_by_side(older: Board, newer: Board, read_rows: ReadRows) -> tuple[list[Move], Decisions]:
    """Return each shared model's move, in the newer board's order.

    Beside them stands what becomes of the decisions between pairs.

    Raises:
        UsageError: if the boards measure different things, or have fewer than two ranked models in common.
    """
    if _question(older) != _question(newer):
        raise UsageError(
            f"expected two protocols that differ in their attacks only, got {older.protocol.key} and "
            f"{newer.protocol.key}; choose two versions of one protocol"
        )
    first, second = _ranked(older), _ranked(newer)
    names = [name for name in second if name in first]
    if len(names) < 2:
        raise UsageError(
            f"expected two models that {older.protocol.key} and {newer.protocol.key} both rank, got {len(names)}; "
            "make records with `bench run`"
        )
    columns = [
        scored_values(board, board.by_name[name], read_rows).rename((board.protocol.key, name))
        for board in (older, newer)
        for name in names
    ]
    values = pd.concat(columns, axis=1, join="inner").dropna().to_numpy(np.float64)
    before, after = values[:, : len(names)], values[:, len(names) :]
    before_rank = [name for name in first if name in names]
    sign = robustness(newer.spec.primary, 1.0)
    moves = [
        Move(
            model=name,
            ranks=(before_rank.index(name) + 1, place + 1),
            means=(sign * float(before[:, place].mean()), sign * float(after[:, place].mean())),
            change=float((after - before)[:, place].mean()),
            interval=paired_interval((after - before)[:, place]),
            images=len(values),
        )
        for place, name in enumerate(names)
    ]
    return moves, _pairs(before, after)


def _question(board: Board) -> tuple[object, ...]:
    spec = board.spec
    return spec.threat, spec.attribution, spec.explain, spec.heatmap, spec.samples.sha256, spec.primary


def _ranked(board: Board) -> list[str]:
    return [standing.entry.name for standing in board.standings if standing.rank is not None]


def _pairs(before: Floats, after: Floats) -> Decisions:
    upper = np.triu_indices(before.shape[1], 1)
    found = [differences(values) for values in (before, after)]
    signs = [np.where(each.p_holm < LEVEL, np.sign(each.mean), 0)[upper] for each in found]
    return Decisions(
        older=int((signs[0] != 0).sum()),
        newer=int((signs[1] != 0).sum()),
        both=int(((signs[0] == signs[1]) & (signs[0] != 0)).sum()),
        reversed=int((signs[0] * signs[1] < 0).sum()),
        total=len(upper[0]),
    )
