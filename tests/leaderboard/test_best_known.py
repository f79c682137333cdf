"""The best known values beside a score, and the gap to `auto-long`.

They are paired means over the images that rank, and change no rank.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.core.storage.store import Store
from leaderboard.boards.best_known import Ledger, with_best_known
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.build import build, exported
from leaderboard.records.ledger import accounts
from leaderboard.records.rows import RowReader
from tests.support.factories import model_entry, store_run

N = 40
RIGHT = {"correct": np.full(N, True), "feasible": np.full(N, True)}
OFF = {"on_protocol": False}
EVEN = np.arange(N) % 2 == 0


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for name, value in (("one", 0.5), ("two", 0.3)):
        columns = RIGHT | {"kendall": np.full(N, value)}
        store_run(root, model_entry(name), "auto", columns=columns)
        store_run(root, model_entry(name), "random-noise", columns=RIGHT | {"kendall": np.full(N, 0.9)})
    return root


def boards_of(root: Path, *, known: bool = True) -> Board:
    runs, rows = list(Store(root).runs()), RowReader()
    (board,) = (with_certainty(each, rows) for each in boards(runs, rows.table))
    return with_best_known(board, Ledger(accounts(runs, rows.table), runs), rows.table) if known else board


def test_the_gap_is_the_paired_mean_over_the_images_that_rank(results: Path) -> None:
    rng = np.random.default_rng(0)
    lower = np.where(EVEN, rng.uniform(0, 0.4, N), 0.8)
    store_run(results, model_entry("one"), "other", columns=RIGHT | {"kendall": lower}, spec_changes=OFF)
    standings = boards_of(results).by_name
    best, gaps = standings["one"].best_known, np.maximum(0.5 - lower, 0)
    assert best is not None
    assert (best.mean, best.gap) == pytest.approx((0.5 - gaps.mean(), gaps.mean()))
    assert best.images == N
    assert best.found_by == (("other 1", 20),)
    drawn = stats.bootstrap((gaps,), np.mean, n_resamples=4000, rng=np.random.default_rng(0), method="percentile")
    assert (best.low, best.high) == pytest.approx(drawn.confidence_interval, abs=0.2 * gaps.std() / N**0.5)
    alone = standings["two"].best_known
    assert alone is not None
    assert alone.mean == pytest.approx(0.3)
    assert (alone.gap, alone.low, alone.high, alone.found_by) == (0, 0, 0, ())


def test_images_that_do_not_rank_do_not_count(results: Path) -> None:
    lower = RIGHT | {"kendall": np.where(EVEN, 0.1, 0.5)}
    wrong = {"correct": ~EVEN}
    auto = RIGHT | {"kendall": np.full(N, 0.5)} | wrong
    store_run(results, model_entry("three"), "auto", columns=auto)
    store_run(results, model_entry("three"), "random-noise", columns=auto)
    store_run(results, model_entry("three"), "other", columns=lower | wrong, spec_changes=OFF)
    best = boards_of(results).by_name["three"].best_known
    assert best is not None
    assert (best.images, best.gap) == (20, 0)


def test_an_image_that_auto_lost_counts_with_what_another_attack_reached(results: Path) -> None:
    """Count an image that `auto` lost as another attack left it.

    The score has a 1 there, but less was possible: the other attack kept the class.
    """
    lost = RIGHT | {"kendall": np.where(EVEN, 1.0, 0.5), "feasible": ~EVEN}
    for attack in ("auto", "random-noise"):
        store_run(results, model_entry("three"), attack, columns=lost)
    kept = RIGHT | {"kendall": np.where(np.arange(N) < 20, 0.25, 0.9), "feasible": np.arange(N) < 20}
    store_run(results, model_entry("three"), "other", columns=kept, spec_changes=OFF)
    best = boards_of(results).by_name["three"].best_known
    assert best is not None
    assert best.gap == pytest.approx((10 * 0.75 + 10 * 0.25) / N)
    assert best.found_by == (("other 1", 20),)


def test_nothing_else_on_the_board_changes(results: Path) -> None:
    lower = RIGHT | {"kendall": np.full(N, -0.9)}
    store_run(results, model_entry("one"), "other", columns=lower, spec_changes=OFF)
    before = boards_of(results, known=False)
    runs, rows = list(Store(results).runs()), RowReader()
    after = with_best_known(before, Ledger(accounts(runs, rows.table), runs), rows.table)
    assert [s.rank for s in before.standings] == [1, 2]
    for one, other in zip(before.standings, after.standings, strict=True):
        assert replace(other, best_known=None, shortfall=None) == one
    assert after.pairs is before.pairs
    assert replace(after, standings=before.standings) == before


def long_run(root: Path, name: str, **columns: Any) -> None:
    """File a run of `auto-long` over the first 20 images."""
    shorter = {"samples": {"sha256": next(Store(root).runs()).record.spec.samples.sha256, "count": 20, "of": N}} | OFF
    store_run(root, model_entry(name), "auto-long", columns=columns, spec_changes=shorter)


def test_auto_falls_short_of_auto_long_by_the_mean_over_common_images(results: Path) -> None:
    feasible = np.arange(20) != 3
    values = np.linspace(0.1, 0.5, 20)
    long_run(results, "one", correct=np.full(20, True), feasible=feasible, kendall=values)
    standings = boards_of(results).by_name
    found = standings["one"].shortfall
    assert found is not None
    assert (found.reason, found.images) == ("", 19)
    gaps = (0.5 - values)[feasible]
    assert found.gap == pytest.approx(gaps.mean())
    assert found.low is not None
    assert found.high is not None
    assert found.low < gaps.mean() < found.high
    missing = standings["two"].shortfall
    assert missing is not None
    assert (missing.gap, missing.reason) == (None, "no run of auto-long")


def test_too_few_images_in_common_are_a_reason(results: Path) -> None:
    long_run(results, "one", correct=np.full(20, True), feasible=np.arange(20) == 3, kendall=np.zeros(20))
    found = boards_of(results).by_name["one"].shortfall
    assert found is not None
    assert (found.gap, found.reason) == (None, "1 image in common with auto-long")


def test_pages_tables_and_documents_show_both(results: Path, tmp_path: Path) -> None:
    long_run(results, "one", correct=np.full(20, True), feasible=np.full(20, True), kendall=np.linspace(0.1, 0.4, 20))
    build(results, tmp_path / "site")
    page = (tmp_path / "site/index.html").read_text()
    assert "Gap to auto-long" in page
    assert "<bdi>auto-long 1</bdi> on 20 of 40" in page
    assert "<small>no run of auto-long</small>" in page
    lines = {line["model"]: line for line in csv.DictReader(io.StringIO(exported(results, "standings.csv").decode()))}
    assert float(lines["one"]["auto_long_gap"]) == pytest.approx(0.25)
    assert float(lines["one"]["best_known_gap"]) == pytest.approx(0.125)
    assert lines["one"]["best_known_by"] == "auto-long 1: 20"
    assert (lines["two"]["auto_long_gap"], lines["two"]["auto_long_missing"]) == ("", "no run of auto-long")
    (board,) = json.loads((tmp_path / "site/data/leaderboard.json").read_text())["boards"]
    one = next(standing for standing in board["standings"] if standing["model"] == "one")
    assert one["best_known"]["found_by"] == [["auto-long 1", 20]]
    assert one["auto_long"]["images"] == 20
