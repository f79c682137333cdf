"""A folder of records and the site built from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.schemas.records import Flag
from leaderboard.build import build
from tests.support.factories import model_entry, store_run
from tests.support.pages import IMAGES


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records") / "results"
    for name, robustness in (("natural-wrn28", 0.2), ("art-wrn28", 0.7)):
        for attack, gain in (("ifia-topk", 0.0), ("random-noise", 0.15)):
            store_run(root, model_entry(name), attack, robustness=robustness + gain, showcase=IMAGES)
    store_run(root, model_entry("natural-wrn28"), showcase=IMAGES, spec_changes={"protocol": "cifar10-smoke"})
    store_run(
        root, model_entry("pgd-wrn28", accuracy=None), flags=(Flag(name="weaker-than-random", detail="so it is"),)
    )
    return root


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "site"
    build(results, out)
    return out
