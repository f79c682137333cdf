"""How certain a board's order is, from the images that rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, Standing, ranking_rows, robustness
from leaderboard.records.statistics import Pairs, differences, rank_intervals, tie_groups

FEWEST = 20
"""With fewer images in common, the board says nothing about certainty."""


def with_certainty(board: Board, read_rows: Callable[[StoredRun], pd.DataFrame]) -> Board:
    """Return a board with rank intervals, tie groups and differences of pairs.

    Every model counts with its values under the attack that scores. The images are the reference set's or, without a
    reference set, the ones that all compared models classify correctly. Models that cannot be compared are left out.
    """
    compared = board.compared
    if len(compared) < 2:
        return board
    columns = [scored_values(board, standing, read_rows) for standing in compared]
    values = pd.concat(columns, axis=1, join="inner").dropna().to_numpy(float)
    if len(values) < FEWEST:
        return replace(board, common=len(values))
    found = differences(values)
    names = tuple(standing.entry.name for standing in compared)
    groups = dict(zip(names, tie_groups(found.p_holm), strict=True))
    intervals = dict(zip(names, rank_intervals(values).tolist(), strict=True))
    standings = [_marked(s, groups, intervals) for s in board.standings]
    return replace(board, standings=tuple(standings), common=len(values), pairs=Pairs(names, found))


def scored_values(board: Board, standing: Standing, read_rows: Callable[[StoredRun], pd.DataFrame]) -> pd.Series[float]:
    """Return a model's robustness on the images that rank, by sample id.

    It is taken under the attack that scores.
    """
    rows = read_rows(standing.runs[str(standing.headline)])
    ranking = ranking_rows(board, rows).set_index("sample_id")
    return ranking[board.spec.primary_metric] * robustness(board.spec.primary, 1.0)


def _marked(standing: Standing, groups: dict[str, int], intervals: dict[str, list[int]]) -> Standing:
    name = standing.entry.name
    if name not in groups:
        return standing
    if standing.rank is None:
        return replace(standing, group=groups[name])
    low, high = intervals[name]
    ends = (min(low, standing.rank), max(high, standing.rank))
    return replace(standing, group=groups[name], rank_interval=ends)
