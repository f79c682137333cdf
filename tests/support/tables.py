"""Writes the tables of image sets."""

from __future__ import annotations

import csv
from pathlib import Path


def write_table(path: Path, *rows: dict[str, str]) -> None:
    """Write rows as CSV, with the keys of the first as header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
