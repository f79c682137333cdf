"""Showcase images of a board's first models, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, robustness
from leaderboard.drawing.strips import Strip, strips
from leaderboard.records.image_sets import ReadRows

MODELS = 6
"""Number of models, from the top of a board, that the picture shows at most."""


@dataclass(frozen=True)
class Piece:
    """Strip of one model in the exhibit."""

    model: str
    attack: str
    strip: Strip


@dataclass(frozen=True)
class Exhibit:
    """One image with its strips under a board's first models."""

    protocol: str
    sample_id: str
    label: str
    primary_metric: str
    pieces: tuple[Piece, ...]


def find_exhibit(boards: list[Board], read_rows: ReadRows) -> Exhibit | None:
    """Return the first showcase image that needs no remark, or None.

    All of the board's first models classify it correctly, and every attack found a feasible change of it. It comes from
    the first board that has such an image, so no person picks it.
    """
    for board in boards:
        for exhibit in _exhibits(board, read_rows):
            if len(exhibit.pieces) == len(_shown(board)) and not any(p.strip.remarks for p in exhibit.pieces):
                return exhibit
    return None


def gallery(board: Board, read_rows: ReadRows) -> list[Exhibit]:
    """Return a board's showcase images, the most damaged on average first."""
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
    return dict([(name, run) for name, run in scored if run.has_pictures()][:MODELS])


def _left(board: Board, exhibit: Exhibit) -> float:
    """Return the mean robustness on an image, infinity if undefined."""
    values = [piece.strip.numbers[exhibit.primary_metric] for piece in exhibit.pieces]
    known = [robustness(board.spec.primary, value) for value in values if value is not None]
    return sum(known) / len(known) if known else math.inf
