"""Pairs of models image by image, and boards for papers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.comparisons.models import MODELS, comparisons
from leaderboard.data import latex
from leaderboard.records.rows import read_rows
from tests.support.factories import model_entry, store_run

IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(4)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("comparison") / "results"
    for name, robustness in (("art-wrn28", 0.52), ("pgd-wrn28", 0.5), ("natural-wrn28", 0.2)):
        store_run(root, model_entry(name), robustness=robustness, showcase=IMAGES)
    return root


@pytest.fixture(scope="module")
def board(results: Path) -> Board:
    (found,) = boards(Store(results).runs())
    return found


def test_pairs_are_compared_on_the_images_that_both_classify_correctly(board: Board) -> None:
    found = comparisons(board, read_rows)
    names = [s.entry.name for s in board.standings]
    assert [(p.first.entry.name, p.second.entry.name) for p in found] == [
        (names[0], names[1]),
        (names[0], names[2]),
        (names[1], names[2]),
    ]
    for pair in found:
        sides = [read_rows(s.runs["ifia-topk"]).set_index("sample_id") for s in (pair.first, pair.second)]
        both = sides[0]["correct"] & sides[1]["correct"] & sides[0]["kendall"].notna() & sides[1]["kendall"].notna()
        gain = (sides[0]["kendall"] - sides[1]["kendall"])[both]
        assert {image.sample_id: image.gain for image in pair.images} == gain.to_dict()
        assert pair.mean == pytest.approx(gain.mean())
        assert pair.wins == ((gain > 0).sum(), (gain < 0).sum())
        assert [image.gain for image in pair.images] == sorted(gain, reverse=True)
        assert pair.interval == pytest.approx(tuple(stats.ttest_1samp(gain, 0).confidence_interval()))


def test_strips_of_a_pair_show_one_image_each(board: Board) -> None:
    for pair in comparisons(board, read_rows):
        assert 0 < len(pair.strips) < len(IMAGES), "the first image has no defined metric"
        for image, one, other in pair.strips:
            assert image.sample_id == one.sample_id == other.sample_id
            assert (one.numbers["kendall"], other.numbers["kendall"]) == (image.first, image.second)
        gains = [abs(image.gain) for image, *_ in pair.strips]
        assert gains == sorted(gains, reverse=True)


def test_every_pair_of_a_small_board_has_a_page_that_the_board_links(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site/compare").rglob("*.html")}
    assert len(pages) == 3
    linked = re.findall(r'href="(compare/[^"]+)"', (tmp_path / "site/index.html").read_text())
    assert set(linked) == pages


def test_a_large_board_has_pages_for_the_pairs_of_its_first_models(tmp_path: Path) -> None:
    for number in range(MODELS + 2):
        store_run(tmp_path / "results", model_entry(f"model-{number}"), robustness=number / 10)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert len(comparisons(board, read_rows)) == MODELS * (MODELS - 1) // 2


def test_latex_says_what_the_board_says_and_keeps_hostile_text_from_acting(tmp_path: Path) -> None:
    hostile = r"\input{/etc/passwd} 50% & $x_1^2$ #{~} \\\\"
    entry = model_entry("one", training={"method": hostile}, citation="@misc{one, title={One}}")
    store_run(tmp_path, entry, robustness=0.4)
    store_run(tmp_path, model_entry("two", citation="@misc{one, title={One}}"), robustness=0.7)
    (board,) = boards(Store(tmp_path).runs())
    text = latex.table(board)
    lines = [line for line in text.splitlines() if line.startswith(("1 ", "2 "))]
    assert [line.split(" & ")[1] for line in lines] == ["two", "one"]
    for line, standing in zip(lines, board.standings, strict=True):
        assert standing.score is not None
        assert f"${standing.score.mean:.3f}$ [${standing.score.low:.3f}$, ${standing.score.high:.3f}$]" in line
        assert len(re.findall(r"(?<!\\)&", line)) == 5
    commands = set(re.findall(r"\\([a-z]+)", text))
    assert commands == {
        "begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde", "textasciicircum"
    }  # fmt: skip
    assert latex.bibliography([board]) == "@misc{one, title={One}}\n"
