"""Folders of records, on this machine or on the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.core.errors import UsageError
from bench.core.schemas.protocol import REPO

REMOTE = "hf://"
_DATASET = re.compile(rf"hf://datasets/({REPO})(?:@([A-Za-z0-9_][\w.-]*))?(?:/([\w./-]+))?", re.ASCII)
FILES = (
    "*/*/*/*.json",
    "*/*/*/*.parquet",
    "*/*/*/*.png",
    "*/*/*/*.confirmed",
    "*/*/showcase.json",
    "*/*/showcase.webp",
    "studies/*/*.json",
    "studies/*/*.webp",
)
"""Files to download from a folder of records; other files are not needed."""


def folders(places: Sequence[str]) -> list[Path]:
    """Return a local folder for each place, fetching those on the Hub.

    Args:
        places: paths, or `hf://datasets/ORG/REPO[@COMMIT][/FOLDER]`.
    Raises:
        UsageError: if the address of a place on the Hub has another form.
        NetworkError: if the download fails.
    """
    return [_fetched(place) if place.startswith(REMOTE) else Path(place) for place in places]


def _fetched(place: str) -> Path:
    match = _DATASET.fullmatch(place)
    if match is None or ".." in place:
        raise UsageError(f"expected hf://datasets/ORG/REPO[@COMMIT][/FOLDER], got {place!r}; correct it")
    from huggingface_hub import snapshot_download

    from model_zoo.hub import translate

    repo, revision, folder = match[1], match[2] or "main", (match[3] or "").strip("/")
    wanted = [f"{folder}/{pattern}" if folder else pattern for pattern in FILES]
    try:
        root = snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=wanted)
    except Exception as error:  # the client's errors have no common base class
        raise translate(f"to download the records of {repo} at {revision[:12]}", error) from error
    return Path(root) / folder
