"""The folders of data, downloads and unfinished work on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from bench.core.errors import EnvironmentFault


def cache_folder() -> Path:
    """Return the cache folder, `BENCH_CACHE` or else the XDG cache."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attribution-bench"


def data_folder() -> Path:
    """Return the folder of public image sets.

    It is `BENCH_DATA`, or else `data` in the cache, which need not exist yet.

    Raises:
        EnvironmentFault: if `BENCH_DATA` does not name a folder.
    """
    chosen = os.environ.get("BENCH_DATA")
    if chosen and not Path(chosen).is_dir():
        raise EnvironmentFault(
            f"expected a folder of image sets at {chosen}, got none; correct --data or BENCH_DATA, or make the folder"
        )
    return Path(chosen or cache_folder() / "data")
