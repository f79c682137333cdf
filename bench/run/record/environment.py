"""Describes the environment of a run: versions, hardware, commit."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.core.schemas.records import Environment
from bench.run.shards import Effort

PACKAGES = (
    "attribution-bench", "torch", "torchvision", "captum", "numpy", "scipy", "pandas", "pyarrow", "safetensors", "timm",
    "robustbench",
)  # fmt: skip


def describe(efforts: Sequence[Effort], started: datetime) -> Environment:
    """Return the environment of a run, which must not change its numbers.

    Args:
        efforts: the efforts of all shards, on all machines and by all processes.
        started: when this process began the run.
    """
    devices, hardware = (_together(getattr(effort, word) for effort in efforts) for word in ("device", "hardware"))
    return Environment(
        **surroundings(devices, hardware, started),
        batch_size=min(effort.batch_size for effort in efforts),
        seconds=round(sum(effort.seconds for effort in efforts), 1),
    )


def surroundings(device: str, hardware: str, started: datetime) -> dict[str, Any]:
    """Return the machine and software of this process."""
    root = Path(__file__).resolve().parents[3]
    commit = ask_git(root, "rev-parse", "HEAD")
    return {
        "python": platform.python_version(),
        "packages": packages(),
        "platform": platform.platform(terse=True),
        "device": device,
        "hardware": hardware,
        "commit": commit,
        "dirty": None if commit is None else bool(ask_git(root, "status", "--porcelain", "--untracked-files=no")),
        "started": started.isoformat(timespec="seconds"),
    }


def _together(words: Iterable[str]) -> str:
    return "; ".join(sorted({word for word in words if word}))


def packages() -> dict[str, str]:
    """Return the versions of the installed packages that compute."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def ask_git(root: Path, *arguments: str) -> str | None:
    """Return git's answer about a checkout, or None.

    None if the folder is not the root of a checkout, or git fails.
    """
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
