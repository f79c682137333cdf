"""The origin of a submitted model's architecture.

Other people can build the model only if they have the architecture, too.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from bench import registry
from bench.run.record.environment import ask_git

DISTRIBUTION = "attribution-bench"
BASES = ("upstream/main", "origin/main", "HEAD")
"""Branches that a pull request may go to; the first that this checkout has is used."""


def needed(architecture: str) -> str | None:
    """Return what others need, besides the model, to build it.

    None if the repository has everything.

    Raises:
        UnknownNameError: if the architecture is unknown.
    """
    origin = registry.origin("architectures", architecture)
    if isinstance(origin, str):
        return f"its architecture is offered by {origin}: install that package too to build the model"
    root = origin.parents[2]
    path = origin.relative_to(root).as_posix()
    lacking = _lacking(root, path)
    if lacking is None:
        return None
    return f"its architecture, in its present form, is missing from {lacking}: the pull request must add {path} too"


def _lacking(root: Path, path: str) -> str | None:
    """Return the name of the branch or release that lacks this file.

    A file with other content counts as lacking. None if nothing is lacking, or if that cannot be found out. None if it
    has the file, or if that cannot be found out.
    """
    base = next((ref for ref in BASES if ask_git(root, "rev-parse", "--verify", "--quiet", ref)), None)
    if base is not None:
        here, there = ask_git(root, "hash-object", path), ask_git(root, "rev-parse", "--verify", f"{base}:{path}")
        return None if here == there else base
    try:
        installed = {file.as_posix() for file in files(DISTRIBUTION) or ()}
    except PackageNotFoundError:
        return None
    # An editable install does not list the files.
    is_whole = any(file.startswith(path.partition("/")[0] + "/") for file in installed)
    return f"{DISTRIBUTION} {version(DISTRIBUTION)}" if is_whole and path not in installed else None
