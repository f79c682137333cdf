"""The showcase images under the attack that scores each of a board's first models."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.core.storage.store import StoredRun
from leaderboard.boards.board import Board, robustness
from leaderboard.drawing.strips import Strip, strips
from leaderboard.records.image_sets import ReadRows

MODELS = 6
"""Models of a board, from its top, that the picture shows at most."""


@dataclass(frozen=True)
class Piece:
    """One model's strip of the exhibit."""

    model: str
    attack: str
    strip: Strip


@dataclass(frozen=True)
class Exhibit:
    """One image, and what became of it under the first models, in the order of the board."""

    protocol: str
    sample_id: str
    label: str
    primary_metric: str
    pieces: tuple[Piece, ...]


def find_exhibit(boards: list[Board], read_rows: ReadRows) -> Exhibit | None:
    """Return the first showcase image that the first models all classify correctly and no attack had to spare.

    It comes from the first board that has one; the rule, not a person, picks it.
    """
    for board in boards:
        for exhibit in _exhibits(board, read_rows):
            if len(exhibit.pieces) == len(_shown(board)) and not any(p.strip.remarks for p in exhibit.pieces):
                return exhibit
    return None


def gallery(board: Board, read_rows: ReadRows) -> list[Exhibit]:
    """Return every showcase image of a board's first models, the most damaged on average first."""
    return sorted(_exhibits(board, read_rows), key=lambda exhibit: _left(board, exhibit))


def _exhibits(board: Board, read_rows: ReadRows) -> list[Exhibit]:
    """Return the showcase images in the order of the first model's record."""
    shown = _shown(board)
    drawn = [{strip.sample_id: strip for strip in strips(run, read_rows)} for run in shown.values()]
    found = []
    for sample in next((run.record.showcase for run in shown.values()), ()):
        pieces = [
            Piece(model, run.record.spec.attack.name, by_id[sample])
            for (model, run), by_id in zip(shown.items(), drawn, strict=True)
            if sample in by_id
        ]
        label = pieces[0].strip.label
        found.append(Exhibit(board.protocol.key, sample, label, board.spec.primary_metric, tuple(pieces)))
    return found


def _shown(board: Board) -> dict[str, StoredRun]:
    scored = [(s.entry.name, s.headline_run) for s in board.standings if s.headline_run is not None]
    return dict([(name, run) for name, run in scored if run.record.showcase][:MODELS])


def _left(board: Board, exhibit: Exhibit) -> float:
    """Return how much of the heatmaps the attacks left on average; where that is undefined, the image comes last."""
    values = [piece.strip.numbers[exhibit.primary_metric] for piece in exhibit.pieces]
    known = [robustness(board.spec.primary, value) for value in values if value is not None]
    return sum(known) / len(known) if known else math.inf
