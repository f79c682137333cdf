"""Writes files so that a crash cannot leave half of one."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from bench.core.errors import EnvironmentFault

_SUFFIX = ".tmp"


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically.

    Temporary file, fsync, rename, fsync of the folder and of the new folders above it.

    Raises:
        EnvironmentFault: if the folder cannot be written or the disk is full.
    """
    temporary: str | None = None
    try:
        _make_folder(path.parent)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=_SUFFIX)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise _refusal(path, error) from error


def try_to_write(folder: Path) -> None:
    """Make a folder and check that it can be written.

    The test file has no name, so that it disappears however this process ends.

    Raises:
        EnvironmentFault: if it cannot be written.
    """
    try:
        _make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"?")
    except OSError as error:
        raise _refusal(folder, error) from error


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of killed writers of `path`.

    Only call it while no other process can be writing `path`.
    """
    for temporary in path.parent.glob(f"{_prefix(path)}*{_SUFFIX}"):
        temporary.unlink(missing_ok=True)


def _refusal(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"expected to write {path}, got: {error.strerror or error}; choose a writable folder with free space"
    )


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def canonical_json(value: Any) -> str:
    """Return the JSON text of `value` with sorted keys and no spaces.

    Equal values have equal texts. NaN is refused.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
