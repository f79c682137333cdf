"""Checks the records of studies.

Functions return answers; none of them prints.
"""

from __future__ import annotations

from pathlib import Path

from bench.checks.check import Check
from bench.core.errors import IntegrityError
from bench.core.schemas.study import Card
from bench.core.storage.studies import CARD, FOLDER, StoredPiece, StudyStore, piece_paths, read_card, read_piece


def verify_studies(root: Path) -> list[Check]:
    """Check every record of a study below a results folder.

    Its schema, id, path, figures and pictures must fit. There may be no studies.
    """
    return [check for folder in sorted((root / FOLDER).glob("*/")) for check in _check_study(root, folder)]


def _check_study(root: Path, folder: Path) -> list[Check]:
    subject = str((folder / CARD).relative_to(root))
    try:
        card = read_card(folder / CARD)
    except IntegrityError as error:
        return [Check(subject, "card", False, str(error), error.exit_code)]
    found = [Check(subject, "card", True, card.title)]
    for path in piece_paths(folder):
        try:
            check = Check(str(path.relative_to(root)), "piece", True, _check_piece(root, card, read_piece(path)))
        except IntegrityError as error:
            check = Check(str(path.relative_to(root)), "piece", False, str(error), error.exit_code)
        found.append(check)
    return found


def _check_piece(root: Path, card: Card, piece: StoredPiece) -> str:
    spec = piece.record.spec
    if piece.path != (expected := StudyStore(root).path(spec)):
        raise IntegrityError(f"expected the record at {expected}, got it at {piece.path}; move it there")
    known = {figure.name for figure in card.figures}
    if unknown := sorted({point.figure for point in piece.record.points} - known):
        raise IntegrityError(
            f"expected points of {', '.join(sorted(known))} in {piece.path}, got {', '.join(unknown)}; restore {CARD}"
        )
    for name in piece.record.pictures:
        piece.picture(name)
    return f"piece {piece.record.id[:12]}, {len(piece.record.points)} points"
