"""One image under the strongest attack of each of a board's first models: the opening picture."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.board import Board
from leaderboard.rows import read_rows
from leaderboard.strips import Strip, strips

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


def find_exhibit(boards: list[Board]) -> Exhibit | None:
    """Return the first showcase image that the first models all classify correctly and no attack had to spare.

    It comes from the first board that has one; the rule, not a person, picks it.
    """
    return next((exhibit for board in boards if (exhibit := _of_board(board)) is not None), None)


def _of_board(board: Board) -> Exhibit | None:
    strongest = [(s.entry.name, s.runs[s.strongest]) for s in board.standings if s.strongest is not None]
    shown = [(name, run) for name, run in strongest if run.record.showcase][:MODELS]
    by_model = [
        (model, run.record.spec.attack.name, {strip.sample_id: strip for strip in strips(run, read_rows(run))})
        for model, run in shown
    ]
    candidates = shown[0][1].record.showcase if shown else ()
    for sample in candidates:
        pieces = tuple(Piece(model, attack, found[sample]) for model, attack, found in by_model if sample in found)
        if len(pieces) == len(by_model) and not any(piece.strip.remarks for piece in pieces):
            return Exhibit(board.protocol.key, sample, pieces[0].strip.label, board.spec.primary_metric, pieces)
    return None
