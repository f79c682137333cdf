"""Writing a folder of pages.

The files are written to a folder beside it first, then moved one by one. Other files in the folder stay untouched.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import EnvironmentFault, UsageError
from bench.core.storage.files import canonical_json, sha256_of

MANIFEST = "manifest.json"
"""File with the checksum of every file of the site. A rebuild deletes the files that only the old manifest names."""


class Staging:
    """A temporary folder for the files of a site."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: dict[str, str] = {}

    def add(self, name: str, content: bytes | str) -> None:
        """Add a file.

        A name that was added before is skipped, so equal names must have equal content.
        """
        data = content.encode() if isinstance(content, str) else content
        if name in self.checksums:
            return
        self.checksums[name] = sha256_of(data)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@contextmanager
def staged(out: Path) -> Iterator[Staging]:
    """Yield a staging folder whose files become the site in `out`.

    They do so at the end of the block, unless it raises an error.

    Raises:
        UsageError: if `out` holds files, but no manifest of an earlier site.
        EnvironmentFault: if the folder cannot be written.
    """
    old = _earlier_files(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            staging = Staging(folder)
            yield staging
            new = set(staging.checksums)
            staging.add(MANIFEST, canonical_json(staging.checksums) + "\n")
            _publish(staging, out)
            for name in old - new - {MANIFEST}:
                (out / name).unlink(missing_ok=True)
        finally:
            shutil.rmtree(folder)
    except OSError as error:
        raise EnvironmentFault(
            f"expected to write the site to {out}, got: {error.strerror or error}; choose a writable folder with space"
        ) from error


def _earlier_files(out: Path) -> set[str]:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return set()
    manifest = out / MANIFEST
    if not manifest.is_file():
        raise UsageError(
            f"expected an empty folder or an earlier site in {out}, got other files; choose another folder"
        )
    try:
        names = dict(json.loads(manifest.read_text()))
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"expected the list of the site's files in {manifest}, got: {error}; empty the folder"
        ) from error
    return {name for name in names if (out / name).resolve().is_relative_to(out.resolve())}


def _publish(staging: Staging, out: Path) -> None:
    for name in staging.checksums:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging.folder / name, target)
