"""The geometry of a board's plots."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.drawing.axis import Axis, axis
from leaderboard.drawing.plots import LINES, distribution, heat, ranks, scores
from leaderboard.drawing.scatter import scatter
from leaderboard.records.rows import read_rows
from tests.support.factories import model_entry, store_run

MODELS = {"both": (0.9, 0.7), "beaten": (0.8, 0.6), "robust": (0.7, 0.9), "accurate": (0.95, 0.2), "worst": (0.6, 0.1)}
"""Clean accuracy and robustness."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plots") / "results"
    for name, (clean, robustness) in MODELS.items():
        entry = model_entry(name, accuracy={"images": 100, "clean": clean})
        store_run(root, entry, robustness=robustness)
        store_run(root, entry, "random-noise", robustness=robustness + 0.05)
    store_run(root, model_entry("incomplete"), robustness=0.99)
    return root


@pytest.fixture(scope="module")
def board(results: Path) -> Board:
    (found,) = boards(Store(results).runs())
    return with_certainty(found, read_rows)


def test_the_front_holds_the_models_that_no_other_one_beats_in_both(board: Board) -> None:
    plot = scatter(board)
    assert plot is not None
    assert [point.model for point in plot.front] == ["robust", "both", "accurate"]
    assert {point.model for point in plot.points} == set(MODELS), "what cannot be compared stays out"
    for point in plot.points:
        assert plot.x.start < plot.x.at(point.x) < plot.x.end
        assert plot.y.end < plot.y.at(point.high) < plot.y.at(point.y) < plot.y.at(point.low) < plot.y.start


def test_dots_are_coloured_by_who_trained_the_model(tmp_path: Path) -> None:
    makers = ["", "", *(f"Group {number}" for number in range(9))]
    for number, maker in enumerate(makers):
        facts = {"method": "natural", "by": maker}
        entry = model_entry(f"model-{number}", accuracy={"images": 100, "clean": 0.5}, training=facts)
        for attack in ("ifia-topk", "random-noise"):
            store_run(tmp_path, entry, attack, robustness=0.1 * number)
    (found,) = boards(Store(tmp_path).runs())
    plot = scatter(found)
    assert plot is not None
    assert plot.trainers == ("this project", *(f"Group {number}" for number in range(6)), "others")
    assert {point.model: point.trainer for point in plot.points}["model-10"] == "others"
    assert {point.trainer for point in plot.points} == set(plot.trainers)


def test_names_of_points_do_not_lie_on_each_other(board: Board) -> None:
    plot = scatter(board)
    assert plot is not None
    named = [(plot.x.at(point.x), point.label) for point in plot.points if point.label is not None]
    for index, (x, label) in enumerate(named):
        assert all(abs(x - other) >= 120 or abs(label - row) >= 14 for other, row in named[:index])


def test_intervals_hold_their_dots(board: Board) -> None:
    for rows in (scores(board), ranks(board)):
        assert [row.model for row in rows] == ["robust", "both", "beaten", "accurate", "worst"]
        assert all(row.low <= row.value <= row.high for row in rows)


def test_curves_are_the_distributions_of_the_rows(board: Board) -> None:
    plot = distribution(board, read_rows)
    assert plot is not None
    assert len(plot.lines) == min(LINES, len(MODELS))
    for (name, path), standing in zip(plot.lines, board.standings, strict=False):
        assert name == standing.entry.name
        corners = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), dtype=float)
        rows = read_rows(standing.runs["ifia-topk"])
        values = rows.loc[rows["correct"], "kendall"].dropna().to_numpy()
        for value in np.quantile(values, [0.1, 0.5, 0.9]):
            share = np.interp(plot.x.at(value), corners[:, 0], corners[:, 1])
            assert share == pytest.approx(plot.y.at((values <= value).mean()), abs=330 / len(values) + 3)


def test_the_heat_table_is_darkest_where_robustness_is_least(board: Board) -> None:
    cells = [(mean, step) for _, row in heat(board) for _, mean, step in row if mean is not None and step is not None]
    assert min(cells)[1] == 0
    assert max(cells)[1] == 9
    assert [step for _, step in sorted(cells)] == sorted(step for _, step in cells)
    (incomplete,) = [row for standing, row in heat(board) if standing.entry.name == "incomplete"]
    assert incomplete[-1] == ("random-noise", None, None)


@given(st.floats(-1e3, 1e3, allow_subnormal=False), st.floats(1e-3, 1e3, allow_subnormal=False))
def test_ticks_are_few_round_and_within_the_axis(low: float, length: float) -> None:
    drawn = Axis(low, low + length, 0, 100)
    assert 2 <= len(drawn.ticks) <= 7
    assert all(-0.2 <= drawn.at(tick) <= 100.2 for tick in drawn.ticks)
    steps = np.diff(drawn.ticks)
    assert np.allclose(steps, steps[0], rtol=1e-3)


def test_an_axis_of_one_value_has_a_length() -> None:
    assert axis([3.0], 0, 10).at(3.0) == 5


def test_every_plot_says_in_words_what_it_shows(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    page = (tmp_path / "site/plots/cifar10-linf8-v1.html").read_text()
    plots = re.findall(r'<svg (?:class="rows" )?viewBox="0 0 \d+ \d+" role="img" aria-label="([^"]*)"', page)
    assert len(plots) == 4
    assert all("robust" in words and "accurate" in words for words in plots)


def test_a_board_of_incomparable_models_has_a_page_without_plots(tmp_path: Path) -> None:
    store_run(tmp_path / "results", model_entry("one"), "ifia-topk")
    store_run(tmp_path / "results", model_entry("two"), "random-noise")
    build(tmp_path / "results", tmp_path / "site")
    assert 'role="img"' not in (tmp_path / "site/plots/cifar10-linf8-v1.html").read_text()
