"""Records of studies, grouped by their settings, and their tables."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.schemas.study import Card
from bench.core.storage.files import canonical_json
from bench.core.storage.studies import StoredPiece, StudyStore


@dataclass(frozen=True)
class Setting:
    """The pieces that were measured with the same parameters."""

    params: dict[str, Any]
    pieces: tuple[StoredPiece, ...]
    title: str
    """The parameters in which it differs from the study's other settings; empty if it is the only one."""

    @property
    def hours(self) -> float:
        """The computing time of all pieces."""
        return sum(piece.record.seconds for piece in self.pieces) / 3600


@dataclass(frozen=True)
class StudyResults:
    """A study's card and its settings."""

    card: Card
    settings: tuple[Setting, ...]

    @property
    def count(self) -> int:
        """The number of pieces with a record."""
        return sum(len(setting.pieces) for setting in self.settings)

    def command(self, setting: Setting) -> str:
        """Return the command that measures the pieces of a setting again."""
        words = ["bench", "study", self.card.study]
        for name, value in setting.params.items():
            words += ["--set", f"{name}={value if isinstance(value, str) else canonical_json(value)}"]
        return shlex.join(words)


def read_studies(folders: Sequence[Path]) -> list[StudyResults]:
    """Return the studies that have records in the folders of results.

    Raises:
        IntegrityError: if a card or a record is damaged.
    """
    cards: dict[str, Card] = {}
    pieces: dict[str, dict[str, StoredPiece]] = defaultdict(dict)
    for store in map(StudyStore, folders):
        for card in store.cards():
            cards.setdefault(card.key, card)
            for piece in store.pieces(card.key):
                pieces[card.key].setdefault(piece.record.id, piece)
    return [
        StudyResults(card, _settings(list(pieces[key].values()))) for key, card in sorted(cards.items()) if pieces[key]
    ]


def _settings(pieces: list[StoredPiece]) -> tuple[Setting, ...]:
    groups: dict[str, list[StoredPiece]] = defaultdict(list)
    for piece in pieces:
        groups[canonical_json(piece.record.spec.params)].append(piece)
    params = {text: found[0].record.spec.params for text, found in groups.items()}
    names = {name for each in params.values() for name in each}
    values = {name: {canonical_json(each.get(name)) for each in params.values()} for name in names}
    differ = [name for name in next(iter(params.values())) if len(values[name]) > 1]
    return tuple(
        Setting(
            params[text], _in_order(groups[text]), ", ".join(f"{name} {_word(params[text][name])}" for name in differ)
        )
        for text in sorted(groups)
    )


def _in_order(pieces: list[StoredPiece]) -> tuple[StoredPiece, ...]:
    """Return pieces by their keys, numbers before words."""

    def key(piece: StoredPiece) -> list[tuple[bool, float, str]]:
        values = piece.record.spec.piece.values()
        return [(isinstance(v, str), 0.0 if isinstance(v, str) else v, str(v)) for v in values]

    return tuple(sorted(pieces, key=key))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def points_table(results: StudyResults) -> pd.DataFrame:
    """Return every point of every piece, with the piece's key."""
    return pd.DataFrame(
        {"setting": number, "piece": piece.record.id[:12]}
        | {f"piece.{key}": value for key, value in piece.record.spec.piece.items()}
        | point.model_dump(exclude={"x"})
        | {"x": str(point.x)}
        for number, setting in enumerate(results.settings, 1)
        for piece in setting.pieces
        for point in piece.record.points
    )


def numbers_table(results: StudyResults) -> pd.DataFrame:
    """Return one row per piece with its key, seconds and numbers."""
    return pd.DataFrame(
        {"setting": number, "piece": piece.record.id[:12]}
        | {f"piece.{key}": value for key, value in piece.record.spec.piece.items()}
        | {"seconds": piece.record.seconds}
        | dict(sorted(piece.record.numbers.items()))
        for number, setting in enumerate(results.settings, 1)
        for piece in setting.pieces
    )
