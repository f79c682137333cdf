"""Where data, downloads and unfinished work live on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from bench.core.errors import EnvironmentFault


def cache_folder() -> Path:
    """Return the user's cache folder of this project (`BENCH_CACHE`, else the XDG cache)."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attribution-bench"


def data_folder() -> Path:
    """Return the folder of public image sets (`BENCH_DATA`, else `data` in the cache, which need not be there yet).

    Raises:
        EnvironmentFault: if `BENCH_DATA` names no folder.
    """
    chosen = os.environ.get("BENCH_DATA")
    if chosen and not Path(chosen).is_dir():
        raise EnvironmentFault(
            f"expected a folder of image sets at {chosen}, got none; correct --data or BENCH_DATA, or make the folder"
        )
    return Path(chosen or cache_folder() / "data")
