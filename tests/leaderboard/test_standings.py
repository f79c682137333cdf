"""Boards rank what can be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from bench.core.schemas.records import Flag
from bench.core.storage.store import Store
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.drawing.strips import strips
from leaderboard.records.rows import RUN_COLUMNS, SAMPLE_COLUMNS, read_rows
from tests.support.factories import model_entry, store_run
from tests.support.pages import IMAGES, Page


def test_the_board_ranks_by_the_worst_case_and_marks_what_it_cannot_compare(results: Path) -> None:
    board, smoke = boards(Store(results).runs())
    assert (board.protocol.key, smoke.protocol.key) == ("cifar10-linf8-v1", "cifar10-smoke-v1")
    assert [(s.entry.name, s.rank, s.strongest) for s in board.standings] == [
        ("art-wrn28", 1, "ifia-topk"),
        ("natural-wrn28", 2, "ifia-topk"),
        ("pgd-wrn28", None, "ifia-topk"),
    ]
    assert board.standings[2].remarks == ("random-noise: not run",)
    assert [s.rank for s in smoke.standings] == [None]
    assert board.attacks == ("ifia-topk", "random-noise")
    assert board.metrics == ("kendall", "topk-intersection")


@pytest.mark.parametrize(
    "changes", [{"samples": {"sha256": "0" * 64, "count": 30, "of": 40}}, {"on_protocol": False}, {"engine": 0}]
)
def test_a_run_off_the_protocol_neither_ranks_nor_displaces_one_on_it(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    fair = store_run(tmp_path, model_entry("one"), robustness=0.3)
    store_run(tmp_path, model_entry("one"), robustness=0.9, spec_changes=changes)
    store_run(tmp_path, model_entry("two"), robustness=0.9, spec_changes=changes)
    (board,) = boards(Store(tmp_path).runs())
    assert [(s.entry.name, s.rank) for s in board.by_name.values()] == [("one", 1), ("two", None)]
    assert board.standings[0].runs["ifia-topk"] == fair
    assert [len(standing.remarks) for standing in board.aside] == [1]


def test_equally_partial_runs_are_ordered_and_the_page_says_why_they_are_not_ranked(tmp_path: Path) -> None:
    partial = {"samples": {"sha256": "0" * 64, "count": 20, "of": 40}}
    for name, robustness in (("low", 0.2), ("high", 0.8), ("noise-only", 0.9)):
        for attack in ("ifia-topk", "random-noise")[name == "noise-only" :]:
            store_run(tmp_path / "results", model_entry(name), attack, robustness=robustness, spec_changes=partial)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert board.excused == ("20 of 40 images",)
    assert not board.ranks
    assert [(s.entry.name, s.rank, s.remarks) for s in board.standings] == [
        ("high", None, ()),
        ("low", None, ()),
        ("noise-only", None, ("ifia-topk: not run",)),
    ]
    build(tmp_path / "results", tmp_path / "site")
    assert "No ranks yet. The runs are partial: 20 of 40 images." in Page(tmp_path / "site/index.html").text
    store_run(tmp_path / "results", model_entry("whole"), robustness=0.1)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert (board.standings[0].entry.name, board.standings[0].rank) == ("whole", 1)
    assert {s.entry.name: (s.rank, *s.remarks) for s in board.aside} == {
        "high": (None, "ifia-topk: 20 of 40 images"),
        "low": (None, "ifia-topk: 20 of 40 images"),
        "noise-only": (None, "ifia-topk: not run"),
    }


def test_where_lower_is_more_robust_the_lowest_worst_case_leads(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        for attack in ("ifia-topk", "calm"):
            spec = {"primary_metric": "mass-center-shift", "protocol_floor": "calm"}
            store_run(tmp_path / "results", model_entry(name), attack, spec_changes=spec, showcase=IMAGES)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert board.attacks == ("ifia-topk", "calm")
    worst = [standing.score.mean for standing in board.standings if standing.score and standing.score.mean]
    assert worst == sorted(worst)
    for standing in board.standings:
        found = {attack: standing.summary(attack, "mass-center-shift") for attack in standing.runs}
        means = {attack: summary.mean for attack, summary in found.items() if summary and summary.mean is not None}
        assert means.keys() == standing.runs.keys()
        assert standing.strongest == max(means, key=lambda attack: means[attack])
    run = board.standings[0].runs["calm"]
    numbers = [strip.numbers["mass-center-shift"] for strip in strips(run, read_rows)]
    shifts = [number for number in numbers if number is not None]
    assert len(shifts) == len(numbers) > 1
    assert shifts == sorted(shifts, reverse=True)
    build(tmp_path / "results", tmp_path / "site")
    page = Page(tmp_path / "site/index.html")
    assert "lower is more robust" in page.text
    assert "calmmass-center-shift; the floor" in page.text


def test_the_newest_weights_of_a_name_are_on_the_board(tmp_path: Path) -> None:
    old = model_entry("one", added="2025-01-01", weights={"file": "a.safetensors", "sha256": "a" * 64, "size": 1})
    store_run(tmp_path / "results", old, robustness=0.9)
    store_run(tmp_path / "results", model_entry("one"), robustness=0.3)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert [s.weights_sha256 for s in board.standings] == [model_entry("one").weights.sha256]
    build(tmp_path / "results", tmp_path / "site")
    assert "earlier weights aaaaaaaa" in Page(tmp_path / "site/models/one.html").text


def test_a_protocol_that_does_not_rank_is_called_that_and_no_more(site: Path) -> None:
    text = " ".join(Page(site / "index.html").text.split())
    assert "cifar10-smoke-v1 reported, not ranked" in text
    assert "No ranks. This protocol reports numbers, but does not rank models; bench show cifar10-smoke-v1 says" in text


def test_tables_equal_the_pages_and_the_records(results: Path, site: Path) -> None:
    table = pd.read_csv(site / "data/leaderboard.csv")
    assert list(table.columns) == list(RUN_COLUMNS)
    index = Page(site / "index.html")
    shown = table[(table["sample_set"] == "correct") & (table["metric"] == "kendall")]
    for line in shown.itertuples():
        assert f"{line.mean:.3f} [{line.low:.3f}, {line.high:.3f}]" in index.text
    board = json.loads((site / "data/leaderboard.json").read_text())
    runs = {run["run_id"]: run for run in board["runs"]}
    for line in table.itertuples():
        mean = runs[line.run_id]["summaries"][line.sample_set][line.metric]["mean"]
        assert line.mean == pytest.approx(mean, rel=1e-12)
    for run in Store(results).runs():
        rows = pd.read_csv(site / f"data/rows/{run.record.run_id[:12]}.csv")
        pd.testing.assert_frame_equal(rows, run.rows(), rtol=1e-12, check_dtype=False)
        assert list(rows.columns[: len(SAMPLE_COLUMNS)]) == list(SAMPLE_COLUMNS)


def test_a_model_s_page_says_where_the_model_stands(site: Path) -> None:
    text = " ".join(Page(site / "models/natural-wrn28.html").text.split())
    assert re.search(r"Rank 2 of 2, tie group 2; kendall 0\.\d+ \[.*\] under ifia-topk, its strongest attack", text)
    assert "Not ranked: random-noise: not run." in Page(site / "models/pgd-wrn28.html").text


def test_a_model_that_answers_no_logits_has_no_rank(tmp_path: Path) -> None:
    squashed = Flag(name="probabilities", detail="every answer sums to 1")
    for name, robustness, flags in (("honest", 0.3, ()), ("squashed", 0.9, (squashed,))):
        for attack in ("ifia-topk", "random-noise"):
            store_run(tmp_path, model_entry(name), attack, robustness=robustness, flags=flags)
    (board,) = boards(Store(tmp_path).runs())
    assert {s.entry.name: (s.rank, s.remarks) for s in board.standings} == {
        "honest": (1, ()),
        "squashed": (None, ("probabilities: every answer sums to 1",)),
    }
