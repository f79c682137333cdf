"""Where data, downloads and unfinished work live on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the user's cache folder of this project (`BENCH_CACHE`, else the XDG cache)."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attribution-bench"


def data_folder() -> Path:
    """Return the folder of public image sets (`BENCH_DATA`, else `data` in the cache)."""
    return Path(os.environ.get("BENCH_DATA") or cache_folder() / "data")
