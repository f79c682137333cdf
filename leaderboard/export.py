"""The whole board as data."""

from __future__ import annotations

from typing import Any

from bench.core.store import StoredRun
from leaderboard.board import Board, Standing

SCHEMA = 1
"""Version of data/leaderboard.json."""


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
        "strongest_attack": standing.strongest,
        "score": None if standing.score is None else standing.score.model_dump(),
        "remarks": list(standing.remarks),
        "runs": {attack: run.record.run_id for attack, run in standing.runs.items()},
    }
