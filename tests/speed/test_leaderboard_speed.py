"""How a large board is built: `pytest tests/speed/test_leaderboard_speed.py --benchmark-enable` takes minutes."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.build import build
from leaderboard.records.forks import processes_for
from tests.browser.chromium import visit
from tests.browser.conftest import CHROMIUM
from tests.support.factories import model_entry, store_run

ATTACKS = 12
IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(5)]
"""Shown for one attack of each model."""

SPEC = {"protocol_reference": ("model-000-of-a-usual-length", "model-001-of-a-usual-length")}

LARGE, SMALL = 500, 12
"""Models of the long form, and of the form that runs with all tests: it bounds the bytes of a row."""

PAGE, SECONDS, MEMORY, SORT = 1_000_000, 60, 2_000_000_000, 100
"""Bytes of the board's page, seconds of the build on two idle cores and its memory, milliseconds of a sort, layout
included: what a board of the large size may take."""

SORTS = """
function button(text) {
  return Array.from(document.querySelectorAll("button")).find(function (b) { return b.textContent.startsWith(text); });
}
return ["Clean", "Clean", "Worst", "Training", "Model", "Rank"].map(function (head) {
  var start = performance.now();
  button(head).click();
  document.body.offsetHeight;
  return performance.now() - start;
});
"""


@pytest.fixture
def models(benchmark: Any) -> int:
    return SMALL if benchmark.disabled else LARGE


@pytest.fixture
def results(models: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        for index in range(models):
            entry = model_entry(f"model-{index:03d}-of-a-usual-length", title="A network with a title of usual length")
            for number in range(ATTACKS):
                attack = f"attack-{number:02d}" if number else "random-noise"
                robustness = 0.3 + 0.5 * index / models + 0.3 * (not number) - 0.1 * (number == 1)
                showcase = IMAGES if number == 1 else None
                store_run(
                    tmp_path / "results", entry, attack, robustness=robustness, showcase=showcase, spec_changes=SPEC
                )
    return tmp_path / "results"


def test_a_board_of_any_size_stays_light(benchmark: Any, models: int, results: Path, tmp_path: Path) -> None:
    report = benchmark.pedantic(build, args=(results, tmp_path / "site"), rounds=1)
    assert (report.models, report.runs) == (models, models * ATTACKS)
    page = (tmp_path / "site/index.html").read_bytes()
    rows = page[page.index(b"<tbody>") : page.index(b"</tbody>")]
    assert len(page) + len(rows) * (LARGE / models - 1) < PAGE
    if not benchmark.disabled:
        largest = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        assert largest[0] + (processes_for(models) - 1) * largest[1] < MEMORY
        assert benchmark.stats["max"] < SECONDS
        if CHROMIUM is not None:
            assert np.median(visit(tmp_path / "site", SORTS)) < SORT
