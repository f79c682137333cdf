"""Comparing two boards that differ in their attacks.

Ranks are taken among the models that both boards rank, so a model that only one of them has changes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.core.errors import UsageError
from leaderboard.boards.board import Board, Standing, ranking_rows, robustness
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
class Pairs:
    """Decisions between pairs of models, after Holm's correction."""

    older: int
    """Number of pairs that the older board decides."""
    newer: int
    both: int
    """Number of pairs that both boards decide in the same way."""
    reversed: int
    """Number of pairs that they decide in opposite ways."""
    total: int


def side_by_side(older: Board, newer: Board, read_rows: ReadRows) -> tuple[list[Move], Pairs]:
    """Return each shared model's move, and what becomes of the decisions.

    The models are in the newer board's order.

    Raises:
        UsageError: if the boards measure different things, or have fewer than two ranked models in common.
    """
    if _question(older) != _question(newer):
        raise UsageError(
            f"expected two protocols that differ in their attacks only, got {older.protocol.key} and "
            f"{newer.protocol.key}; choose two versions of one protocol"
        )
    ranked = {board.protocol.key: _ranked(board) for board in (older, newer)}
    names = [name for name in ranked[newer.protocol.key] if name in ranked[older.protocol.key]]
    if len(names) < 2:
        raise UsageError(
            f"expected two models that {older.protocol.key} and {newer.protocol.key} both rank, got {len(names)}; "
            "make records with `bench run`"
        )
    sides = [_values(board, names, read_rows) for board in (older, newer)]
    images = sides[0].dropna().index.intersection(sides[1].dropna().index)
    before, after = (side.loc[images].to_numpy(np.float64) for side in sides)
    order = [[name for name in ranked[board.protocol.key] if name in names] for board in (older, newer)]
    sign = robustness(newer.spec.primary, 1.0)
    moves = [
        Move(
            model=name,
            ranks=(order[0].index(name) + 1, order[1].index(name) + 1),
            means=(sign * float(before[:, place].mean()), sign * float(after[:, place].mean())),
            change=float((after - before)[:, place].mean()),
            interval=paired_interval((after - before)[:, place]),
            images=len(images),
        )
        for place, name in enumerate(names)
    ]
    return moves, _pairs(before, after)


def _question(board: Board) -> tuple[object, ...]:
    spec = board.spec
    return spec.threat, spec.attribution, spec.explain, spec.heatmap, spec.samples.sha256, spec.primary


def _ranked(board: Board) -> dict[str, Standing]:
    return {standing.entry.name: standing for standing in board.standings if standing.rank is not None}


def _values(board: Board, names: Sequence[str], read_rows: ReadRows) -> pd.DataFrame:
    """Return robustness on the images that rank, a column per model."""
    sign, columns = robustness(board.spec.primary, 1.0), {}
    for name in names:
        standing = board.by_name[name]
        rows = ranking_rows(board, read_rows(standing.runs[str(standing.headline)]))
        columns[name] = sign * rows.set_index("sample_id")[board.spec.primary_metric]
    return pd.DataFrame(columns)


def _pairs(before: Floats, after: Floats) -> Pairs:
    upper = np.triu_indices(before.shape[1], 1)
    found = [differences(values) for values in (before, after)]
    signs = [np.where(each.p_holm < LEVEL, np.sign(each.mean), 0)[upper] for each in found]
    return Pairs(
        older=int((signs[0] != 0).sum()),
        newer=int((signs[1] != 0).sum()),
        both=int(((signs[0] == signs[1]) & (signs[0] != 0)).sum()),
        reversed=int((signs[0] * signs[1] < 0).sum()),
        total=len(upper[0]),
    )
