"""The certainty of a board's order, in numbers and in tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.comparisons.models import comparisons
from leaderboard.pages.filters import DASH
from leaderboard.records.rows import read_rows
from tests.support.factories import model_entry, store_run

ROBUSTNESS = {"far": 0.8, "near": 0.5, "nearer": 0.49, "last": 0.1}
SPEC = {"samples": {"sha256": "0" * 64, "count": 150, "of": 150}}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("certainty") / "results"
    for name, robustness in ROBUSTNESS.items():
        store_run(root, model_entry(name), robustness=robustness, spec_changes=SPEC)
        store_run(root, model_entry(name), "random-noise", robustness=robustness + 0.15, spec_changes=SPEC)
    store_run(root, model_entry("alone"), "random-noise", spec_changes=SPEC)
    return root


def certain(results: Path) -> Board:
    (board,) = boards(Store(results).runs())
    return with_certainty(board, read_rows)


def test_models_are_compared_on_the_images_that_all_of_them_classify_correctly(results: Path) -> None:
    board = certain(results)
    rows = {s.entry.name: read_rows(s.runs["ifia-topk"]).set_index("sample_id") for s in board.standings[:4]}
    common = np.all([r["correct"] & r["kendall"].notna() for r in rows.values()], axis=0)
    assert board.common == common.sum() > 100
    assert board.pairs is not None
    assert board.pairs.models == ("far", *sorted(["near", "nearer"], key=lambda n: -score(board, n)), "last")
    a, b = board.pairs.models[:2]
    paired = (rows[a]["kendall"] - rows[b]["kendall"])[common]
    assert board.pairs.differences.mean[0, 1] == pytest.approx(paired.mean())
    assert board.pairs.differences.error[0, 1] == pytest.approx(paired.std() / len(paired) ** 0.5)


def score(board: Board, name: str) -> float:
    return next(s.score.mean or 0.0 for s in board.standings if s.entry.name == name and s.score)


def test_clear_gaps_give_certain_ranks_and_close_models_tie(results: Path) -> None:
    far, second, third, last, alone = certain(results).standings
    assert (far.rank_interval, last.rank_interval, alone.rank_interval) == ((1, 1), (4, 4), None)
    for standing in (second, third):
        assert standing.rank_interval is not None
        assert standing.rank_interval[0] <= (standing.rank or 0) <= standing.rank_interval[1]
    assert [s.group for s in (far, second, third, last, alone)] == [1, 2, 2, 3, None]


def test_too_few_images_in_common_say_nothing(tmp_path: Path) -> None:
    few = {"samples": {"sha256": "0" * 64, "count": 12, "of": 12}}
    for name in ("one", "two"):
        store_run(tmp_path / "results", model_entry(name), spec_changes=few)
    board = certain(tmp_path / "results")
    assert board.pairs is None
    assert [s.rank_interval for s in board.standings] == [None, None]
    build(tmp_path / "results", tmp_path / "site")
    assert f"only {board.common} images" in (tmp_path / "site/index.html").read_text()


def test_where_lower_is_more_robust_the_sign_is_turned(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store_run(tmp_path, model_entry(name), spec_changes=SPEC | {"primary_metric": "mass-center-shift"})
    board = certain(tmp_path)
    first, second = (read_rows(s.runs["ifia-topk"]).set_index("sample_id") for s in board.standings)
    assert first[first["correct"]]["mass-center-shift"].mean() < second[second["correct"]]["mass-center-shift"].mean()
    both = first["correct"] & second["correct"]
    shift = (first["mass-center-shift"] - second["mass-center-shift"])[both].mean()
    assert board.pairs is not None
    assert board.pairs.differences.mean[0, 1] == pytest.approx(-shift)
    (pair,) = comparisons(board, read_rows)
    assert pair.mean == pytest.approx(-shift)


def test_tables_and_page_say_the_same(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    board, page = certain(results), (tmp_path / "site/index.html").read_text()
    table = pd.read_csv(tmp_path / "site/data/standings.csv").set_index("model")
    for standing in board.standings:
        line = table.loc[standing.entry.name]
        assert (line["rank"] == standing.rank) or (np.isnan(line["rank"]) and standing.rank is None)
        assert standing.rank_interval in (None, (line["rank_low"], line["rank_high"]))
        assert standing.score is not None
        assert line["score"] == standing.score.mean
        if standing.rank_interval is not None:
            low, high = standing.rank_interval
            assert f'<td class="rank">{low if low == high else f"{low}{DASH}{high}"}<small>group' in page
    pairs = pd.read_csv(tmp_path / "site/data/pairs.csv")
    assert len(pairs) == 6
    assert board.pairs is not None
    assert pairs["difference"][0] == pytest.approx(board.pairs.differences.mean[0, 1], abs=1e-9)
