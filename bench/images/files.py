"""Finds the labelled image files of a folder or a table.

Files that cannot be used are collected, so that one error names them all.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from bench.core.errors import BenchError, IntegrityError, UsageError, suggestion
from bench.core.storage.files import sha256_of_file

COLUMNS = ("file", "label")
SHOWN = 20
"""Problems that an error lists."""


class Labelled(NamedTuple):
    """An image file and the text of its label."""

    file: str
    """Its path below the folder, with slashes."""
    label: str


class Found(NamedTuple):
    """The image files of a folder, sorted by path."""

    root: Path
    """The folder that their paths begin in."""
    files: tuple[Labelled, ...]
    others: int
    """Files that are no images by their names, and are not read."""


def find(place: Path) -> Found:
    """Return the labelled image files of a folder or CSV table.

    In a folder, the name of the first folder below it is the label. A table has the columns file (a path from the
    table's folder on) and label.

    Raises:
        UsageError: if the place does not exist, has no images, or does not tell their labels.
        IntegrityError: if a file is empty, missing, or there twice; the message names all of them.
    """
    if place.is_file():
        found = _of_table(place)
    elif place.is_dir():
        found = _of_folder(place)
    else:
        raise UsageError(f"expected a folder of images or a CSV table at {place}, got nothing; correct the path")
    if not found.files:
        raise UsageError(f"expected images in {place}, got none; put them in one folder per class, such as cat/1.jpg")
    if problems := [*_unfit(found), *_twice(found)]:
        raise complaint(place, problems, IntegrityError)
    return found


def complaint(place: Path, problems: Sequence[str], kind: type[BenchError], advice: str | None = None) -> BenchError:
    """Return an error that lists the problems of a folder, and advice."""
    lines = [*problems[:SHOWN], *([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])]
    lines += [] if advice is None else [advice]
    return kind(f"expected images with labels in {place}, got {len(problems)} to mend:\n" + "\n".join(lines))


def _of_folder(root: Path) -> Found:
    """Return the files of class folders."""
    endings, found, others, loose = set(Image.registered_extensions()), [], 0, []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_dir() or any(part.startswith(".") for part in parts):
            continue
        if path.suffix.lower() not in endings:
            others += 1
        elif len(parts) == 1:
            loose.append(parts[0])
        else:
            found.append(Labelled("/".join(parts), parts[0]))
    if loose:
        raise UsageError(
            f"expected every image of {root} in a folder named after its class, got {len(loose)} beside them, such as "
            f"{loose[0]}; move them, or name a CSV table with the columns file and label"
        )
    folders = {each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")}
    if found and (empty := sorted(folders - {each.label for each in found})):
        raise UsageError(
            f"expected images in every folder of {root}, got none in {', '.join(empty[:SHOWN])}; add some, or remove it"
        )
    return Found(root, tuple(found), others)


def _of_table(path: Path) -> Found:
    """Return the files that a CSV table lists."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"expected a CSV table in UTF-8 at {path}, got other bytes; save it as UTF-8, or name a folder"
        ) from None
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator)
    named = [name.strip() for name in reader.fieldnames or ()]
    for column in COLUMNS:
        if column not in named:
            came = ", ".join(named) or "an empty file"
            raise UsageError(
                f"expected the columns file and label in the first line of {path}, got {came}; "
                f"{f'{near} ' if (near := suggestion(column, named)) else ''}rename or add {column!r}"
            )
    files = []
    for number, row in enumerate(reader, 2):
        cells = {(name or "").strip(): str(cell or "").strip() for name, cell in row.items()}
        if not cells["file"] or not cells["label"]:
            raise UsageError(f"expected a file and its label in line {number} of {path}, got none; complete it")
        files.append(Labelled(Path(cells["file"]).as_posix(), cells["label"]))
    return Found(path.parent, tuple(sorted(files)), 0)


def _unfit(found: Found) -> Iterator[str]:
    """Yield files that are missing, empty or labelled twice."""
    for file, count in Counter(each.file for each in found.files).items():
        path = found.root / file
        if count > 1:
            labels = sorted({each.label for each in found.files if each.file == file})
            yield f"{file}: {count} times in the table, as {', '.join(labels)}; keep one line"
        elif not path.is_file():
            yield f"{file}: no such file; correct the path, from the table's folder on"
        elif path.stat().st_size == 0:
            yield f"{file}: an empty file; restore or remove it"


def _twice(found: Found) -> Iterator[str]:
    """Yield groups of files with the same bytes."""
    labels = {each.file: each.label for each in found.files}
    by_size: dict[int, set[str]] = defaultdict(set)
    for file in labels:
        if (path := found.root / file).is_file() and (size := path.stat().st_size):
            by_size[size].add(file)
    by_content = defaultdict(list)
    for files in by_size.values():
        for file in sorted(files) if len(files) > 1 else ():
            by_content[sha256_of_file(found.root / file)].append(file)
    for same in by_content.values():
        if len(same) > 1:
            different = len({labels[file] for file in same}) > 1
            remedy = "decide which label is right, and keep that one" if different else "keep one of them"
            yield f"{' and '.join(same)}: the same bytes{' under different labels' if different else ''}; {remedy}"
