"""Entries and their weights as files.

They are written together, and verified before anything parses them. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tomli_w

from bench.core.errors import IntegrityError
from bench.core.schemas.entry import ModelEntry, Weights
from bench.core.storage.files import sha256_of_file, write_atomic
from model_zoo.foreign.nature import in_place_of

ENTRY_FILE = "entry.toml"
"""Name of the entry in a repository on the Hub; its weights lie beside it."""


class Resolved(NamedTuple):
    """An entry, the reference that finds it again, and its weights, verified."""

    entry: ModelEntry
    reference: str
    path: Path


def write_entry(entry: ModelEntry, folder: Path, *, without: Sequence[str] = ()) -> Path:
    """Write an entry as TOML into a folder, and return its path.

    Some keys are left out.
    """
    return rewrite_entry(entry, folder / f"{entry.name}.toml", without=without)


def rewrite_entry(entry: ModelEntry, path: Path, *, without: Sequence[str] = ()) -> Path:
    """Replace a file by an entry as TOML, and return its path.

    Some keys are left out.
    """
    content = entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude=set(without))
    write_atomic(path, tomli_w.dumps({**content, "added": entry.added}).encode())
    return path


def verify_weights(path: Path, weights: Weights, *, own: bool = False) -> None:
    """Check the size, then the SHA-256, without parsing anything.

    Args:
        path: the file.
        weights: what it must be.
        own: whether the entry that says so is the user's own file.

    Raises:
        IntegrityError: naming file, expected and got.
    """
    if not path.is_file():
        raise IntegrityError(f"expected weights in {path}, got no file; {_remedy(path, weights, own)}")
    if (size := path.stat().st_size) != weights.size:
        raise IntegrityError(
            f"expected {weights.size} bytes in {path}, got {size}{in_place_of(path)}; {_remedy(path, weights, own)}"
        )
    if (actual := sha256_of_file(path)) != weights.sha256:
        raise IntegrityError(
            f"expected {path} to have the sha256 {weights.sha256[:12]}…, got {actual[:12]}…{in_place_of(path)}; "
            f"{_remedy(path, weights, own)}"
        )


def _remedy(path: Path, weights: Weights, own: bool) -> str:
    if weights.checkpoint is not None:
        return f"delete {path.resolve()} and run again to convert the published checkpoint again"
    if weights.repo is None and own:
        return "correct [weights] in that entry, as `bench submit init` writes it, or restore the file"
    if weights.repo is None:
        return "restore it, or install the package again"
    return f"delete {path.resolve()} and run again to fetch it"  # the cache's link alone would lead to the same bytes
