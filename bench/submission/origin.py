"""Where a submitted model's architecture comes from, and whether others have it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path

from bench import registry
from bench.run.record.environment import ask_git

DISTRIBUTION = "attribution-bench"
BASES = ("upstream/main", "origin/main", "HEAD")
"""What a pull request goes to; the first that this checkout knows of."""


def needed(architecture: str) -> str | None:
    """Say what must come with a model so that others can build it; None where the repository has it all.

    Raises:
        UnknownNameError: if there is no such architecture.
    """
    origin = registry.origin("architectures", architecture)
    if isinstance(origin, str):
        return f"its architecture is offered by {origin}: whoever builds the model must install that package too"
    root = origin.parents[2]
    path = origin.relative_to(root).as_posix()
    lacking = _lacking(root, path)
    if lacking is None:
        return None
    return f"its architecture, as it is here, is no part of {lacking}: the pull request must bring {path} too"


def _lacking(root: Path, path: str) -> str | None:
    """Name what others have and a file, as it is here, is no part of; None where it is, or nobody can tell."""
    base = next((ref for ref in BASES if ask_git(root, "rev-parse", "--verify", "--quiet", ref)), None)
    if base is not None:
        here, there = ask_git(root, "hash-object", path), ask_git(root, "rev-parse", "--verify", f"{base}:{path}")
        return None if here == there else base
    try:
        installed = {file.as_posix() for file in files(DISTRIBUTION) or ()}
    except PackageNotFoundError:
        return None
    is_whole = any(file.startswith(path.partition("/")[0] + "/") for file in installed)  # not so if it is editable
    return f"{DISTRIBUTION} {version(DISTRIBUTION)}" if is_whole and path not in installed else None
