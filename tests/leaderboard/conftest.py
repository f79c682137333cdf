"""A folder of records and the site built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.build import build
from tests.support.small_results import write_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records") / "results"
    write_results(root)
    return root


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "site"
    build(results, out)
    return out
