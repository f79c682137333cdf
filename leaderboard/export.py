"""The whole board as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.core.store import StoredRun
from leaderboard.board import Board, Standing

SCHEMA = 1
"""Version of data/leaderboard.json."""


STANDING_COLUMNS = {
    "protocol": "the protocol's name and version",
    "model": "name of the model",
    "rank": "place by the score; empty where the model is not ranked",
    "rank_low": "lower end of the 95 % interval of the rank (paired bootstrap on the images in common)",
    "rank_high": "upper end of that interval",
    "tie_group": "number of the group of models that do not differ significantly from the group's first",
    "common_images": "images that all compared models classify correctly",
    "metric": "name of the primary metric",
    "strongest_attack": "the attack that hurts the model most",
    "score": "mean of the primary metric under that attack, over the images that this model classifies correctly",
    "low": "lower end of the 95 % percentile-bootstrap interval of the score",
    "high": "upper end of that interval",
    "n": "images in the score",
    "remarks": "why the model cannot be compared with the others",
}
"""Columns of data/standings.csv, and what they mean."""

PAIR_COLUMNS = {
    "protocol": "the protocol's name and version",
    "model": "name of a model",
    "other": "name of a model that is lower on the board",
    "difference": "mean of the paired differences in robustness, model minus other, on the images in common",
    "standard_error": "standard error of that mean",
    "p": "two-sided p-value of no difference",
    "p_holm": "the same, adjusted by Holm's method for all pairs of the board",
    "images": "images that all compared models classify correctly",
}
"""Columns of data/pairs.csv, and what they mean."""

DIGITS = 9
"""Decimals of the pairs' numbers: less than machines differ in when they sum."""


def standings_table(made: list[Board]) -> pd.DataFrame:
    """Return one line per protocol and model, with the columns of STANDING_COLUMNS."""
    lines = [_standing_line(board, standing) for board in made for standing in board.standings]
    table = pd.DataFrame(lines, columns=list(STANDING_COLUMNS))
    return table.astype(dict.fromkeys(("rank", "rank_low", "rank_high", "tie_group", "common_images"), "Int64"))


def _standing_line(board: Board, standing: Standing) -> dict[str, Any]:
    low, high = standing.rank_interval or (None, None)
    score = {} if standing.score is None else standing.score.model_dump(include={"low", "high", "n"})
    return {
        "protocol": board.protocol.key,
        "model": standing.entry.name,
        "rank": standing.rank,
        "rank_low": low,
        "rank_high": high,
        "tie_group": standing.group,
        "common_images": board.common,
        "metric": board.spec.primary_metric,
        "strongest_attack": standing.strongest,
        "score": None if standing.score is None else standing.score.mean,
        **score,
        "remarks": "; ".join(standing.remarks),
    }


def pairs_table(made: list[Board]) -> pd.DataFrame:
    """Return one line per pair of compared models, with the columns of PAIR_COLUMNS."""
    return pd.concat([pd.DataFrame(columns=list(PAIR_COLUMNS)), *map(_pairs, made)], ignore_index=True)


def _pairs(board: Board) -> pd.DataFrame:
    if board.pairs is None:
        return pd.DataFrame()
    found, names = board.pairs.differences, np.array(board.pairs.models)
    first, second = np.triu_indices(len(names), 1)
    numbers = {"difference": found.mean, "standard_error": found.error, "p": found.p, "p_holm": found.p_holm}
    return pd.DataFrame(
        {"protocol": board.protocol.key, "model": names[first], "other": names[second]}
        | {name: matrix[first, second].round(DIGITS) for name, matrix in numbers.items()}
        | {"images": board.common}
    )


def board_data(made: list[Board], runs: list[StoredRun]) -> dict[str, Any]:
    """Return the content of data/leaderboard.json: the standings of each board, and every record in full."""
    return {
        "schema_version": SCHEMA,
        "boards": [
            {
                "protocol": board.protocol.model_dump(mode="json"),
                "key": board.protocol.key,
                "primary_metric": board.spec.primary_metric,
                "sample_set": "correct",
                "common_images": board.common,
                "standings": [_standing_data(standing) for standing in board.standings],
            }
            for board in made
        ],
        "runs": [run.record.model_dump(mode="json") for run in runs],
    }


def _standing_data(standing: Standing) -> dict[str, Any]:
    return {
        "model": standing.entry.name,
        "weights_sha256": standing.weights_sha256,
        "rank": standing.rank,
        "rank_interval": standing.rank_interval,
        "tie_group": standing.group,
        "strongest_attack": standing.strongest,
        "score": None if standing.score is None else standing.score.model_dump(),
        "remarks": list(standing.remarks),
        "runs": {attack: run.record.run_id for attack, run in standing.runs.items()},
    }
