"""Makes one JSON document of standings and records, with its schema."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from bench.core.schemas.protocol import Name, Sha256
from bench.core.schemas.records import Confirmation, RunRecord, Summary
from bench.core.schemas.spec import ProtocolSpec
from bench.core.schemas.strict import Strict
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import BestKnown, Board, Shortfall, Standing
from leaderboard.data.tables import TABLES, scores
from leaderboard.records.image_sets import MEANINGS, SampleSetName

SCHEMA: Final = 2
"""Version of the data files. It rises if a column or key is removed or changes its meaning, not if one is added."""


class StandingData(Strict):
    """One model on one board."""

    model: str
    weights_sha256: Sha256
    rank: int | None
    rank_interval: tuple[int, int] | None
    tie_group: int | None
    scored_under: Name | None
    strongest_attack: Name | None
    scores: dict[SampleSetName, Summary] = Field(description="of the primary metric, per sample set: " + str(MEANINGS))
    best_known: BestKnown | None = Field(
        default=None, description="the lowest values of any attack on the images that rank, and the score's gap to them"
    )
    auto_long: Shortfall | None = Field(
        default=None, description="by how much auto leaves more than auto-long, or the reason why that is not known"
    )
    control: bool
    origin: Literal["ours", "published", "submitted"]
    confirmation: Confirmation | None
    remarks: tuple[str, ...]
    runs: dict[str, Sha256] = Field(description="run id by attack")


class BoardData(Strict):
    """One protocol's standings, in the order of the page."""

    protocol: ProtocolSpec
    key: str
    primary_metric: Name
    sample_set: SampleSetName = Field(description="the images that rank")
    reference_lacks: tuple[str, ...] = Field(description="why the reference set is not complete")
    common_images: int | None
    attacks: tuple[Name, ...]
    standings: tuple[StandingData, ...]


class LeaderboardData(Strict):
    """Content of data/leaderboard.json, with all standings and full records."""

    schema_version: Literal[2]
    boards: tuple[BoardData, ...]
    runs: tuple[RunRecord, ...]


def board_data(made: list[Board], runs: list[StoredRun]) -> LeaderboardData:
    """Return the standings of all boards and all records as one document."""
    return LeaderboardData(
        schema_version=SCHEMA, boards=tuple(map(_board_data, made)), runs=tuple(run.record for run in runs)
    )


def _board_data(board: Board) -> BoardData:
    return BoardData(
        protocol=board.protocol,
        key=board.protocol.key,
        primary_metric=board.spec.primary_metric,
        sample_set=board.sample_set,
        reference_lacks=board.lacking,
        common_images=board.common,
        attacks=board.attacks,
        standings=tuple(_standing_data(board, standing) for standing in board.by_name.values()),
    )


def _standing_data(board: Board, standing: Standing) -> StandingData:
    return StandingData(
        model=standing.entry.name,
        weights_sha256=standing.weights_sha256,
        rank=standing.rank,
        rank_interval=standing.rank_interval,
        tie_group=standing.group,
        scored_under=standing.headline,
        strongest_attack=standing.strongest,
        scores=scores(board, standing),
        best_known=standing.best_known,
        auto_long=standing.shortfall,
        control=standing.is_control,
        origin=standing.origin,
        confirmation=standing.confirmation,
        remarks=standing.remarks,
        runs={attack: run.record.run_id for attack, run in standing.runs.items()},
    )


def schema() -> dict[str, Any]:
    """Return the JSON Schema of data/leaderboard.json."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | LeaderboardData.model_json_schema(mode="serialization")


def data_package(runs: list[StoredRun]) -> dict[str, Any]:
    """Return the description of the tables as a Frictionless Data Package.

    The tables of rows have one more column per metric, which the description leaves out.
    """
    paths: dict[str, Any] = {path: path for path in TABLES} | {
        "rows/<run>.csv": sorted(f"rows/{run.record.run_id[:12]}.csv" for run in runs)
    }
    resources = [
        {
            "name": path.removesuffix(".csv").replace("/<run>", ""),
            "path": paths[path],
            "format": "csv",
            "schema": {
                "fieldsMatch": ["subset"],
                "fields": [{"name": name, "description": meaning} for name, meaning in columns.items()],
            },
        }
        for path, columns in TABLES.items()
    ]
    return {"name": "attribution-robustness", "version": f"{SCHEMA}.0.0", "resources": resources}
