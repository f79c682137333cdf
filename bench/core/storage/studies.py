"""The records of studies in the folder of results, written once."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.study import Card, StudyRecord, StudySpec
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, try_to_write, write_atomic
from bench.core.storage.lease import lease, patient

FOLDER, CARD = "studies", "study.json"

Schema = TypeVar("Schema", bound=BaseModel)


class StoredPiece(NamedTuple):
    """A study's record and its path."""

    record: StudyRecord
    path: Path

    def picture(self, name: str) -> bytes:
        """Return one of the record's pictures, a WebP file.

        Raises:
            IntegrityError: if it is missing or was changed.
        """
        path = picture_path(self.path, name)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise IntegrityError(f"expected the picture {path}, got no file; restore it") from None
        if (actual := sha256_of(content)) != (expected := self.record.pictures[name]):
            raise IntegrityError(f"expected {path} to have the sha256 {expected[:12]}…, got {actual[:12]}…; restore it")
        return content


class StudyStore:
    """The folders of studies below a folder of results.

    A study's files are `<root>/studies/<study>-v<version>/study.json` and, per piece,
    `<id[:12]>.json` and `<id[:12]>-<picture>.webp`.
    """

    def __init__(self, results: Path) -> None:
        self.root = results / FOLDER

    def path(self, spec: StudySpec) -> Path:
        """Return the path of a piece's record, which need not exist yet."""
        return self.root / spec.key / f"{spec.id[:12]}.json"

    def find(self, spec: StudySpec) -> StoredPiece | None:
        """Return the finished piece of a spec, if there is one."""
        path = self.path(spec)
        return read_piece(path) if path.exists() else None

    def prepare(self, card: Card) -> None:
        """Write the card of a study, whose words may change.

        Raises:
            EnvironmentFault: if its folder cannot be written.
        """
        path, content = self.root / card.key / CARD, canonical_json(card.model_dump(mode="json")).encode() + b"\n"
        try_to_write(path.parent)
        if not path.exists() or path.read_bytes() != content:
            write_atomic(path, content)

    def write(self, record: StudyRecord, pictures: Mapping[str, bytes]) -> StoredPiece:
        """Store a finished piece, its record last.

        If another process was first, its record stays.
        """
        path = self.path(record.spec)
        with lease(path.with_suffix(".lease"), patient):
            if path.exists():
                return read_piece(path)
            for name, content in pictures.items():
                remove_leftovers(picture_path(path, name))
                write_atomic(picture_path(path, name), content)
            remove_leftovers(path)
            write_atomic(path, canonical_json(record.model_dump(mode="json")).encode() + b"\n")
        return StoredPiece(record, path)

    def cards(self) -> Iterator[Card]:
        """Yield the cards of all studies, in the order of their folders.

        Raises:
            IntegrityError: if a card is damaged.
        """
        for path in sorted(self.root.glob(f"*/{CARD}")):
            yield read_card(path)

    def pieces(self, key: str) -> Iterator[StoredPiece]:
        """Yield the pieces of one study, in the order of their ids.

        Raises:
            IntegrityError: if a record is damaged.
        """
        for path in piece_paths(self.root / key):
            yield read_piece(path)


def piece_paths(folder: Path) -> list[Path]:
    """Return the paths of the records in a study's folder."""
    return [path for path in sorted(folder.glob("*.json")) if path.name != CARD]


def picture_path(record: Path, name: str) -> Path:
    """Return the path of a record's picture."""
    return record.with_name(f"{record.stem}-{name}.webp")


def read_piece(path: Path) -> StoredPiece:
    """Return the record in a file.

    Raises:
        IntegrityError: if the file does not hold a study's record.
    """
    return StoredPiece(_read(path, StudyRecord, "a record of a study"), path)


def read_card(path: Path) -> Card:
    """Return the card in a file.

    Raises:
        IntegrityError: if the file does not hold a card.
    """
    return _read(path, Card, "the card of a study")


def lossless(picture: bytes) -> bytes:
    """Return a picture file as a lossless WebP file."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(out, format="WEBP", lossless=True, quality=90, method=6)
    return out.getvalue()


def _read(path: Path, schema: type[Schema], what: str) -> Schema:
    try:
        return schema.model_validate_json(path.read_bytes())
    except ValidationError as error:
        came = error.errors()[0]["msg"]
        raise IntegrityError(f"expected {what} in {path}, got: {came}; restore it, or measure it again") from None
    except OSError as error:
        raise IntegrityError(f"expected {what} in {path}, got: {error.strerror}; restore it") from error
