"""Ranks come from images that a frozen reference set classifies correctly.

Controls have no rank.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench import registry
from bench.core.schemas.protocol import Protocol
from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.data.latex import table
from leaderboard.records.rows import read_rows
from leaderboard.records.statistics import shared_bootstrap_intervals
from tests.support.factories import model_entry, run_spec, store_run

REFERENCE = ("natural", "pgd")
COUNT = 120


def spec(**changes: Any) -> dict[str, Any]:
    samples = {"sha256": "0" * 64, "count": COUNT, "of": COUNT}
    return {"protocol_reference": REFERENCE, "samples": samples} | changes


def control(name: str) -> Any:
    return model_entry(name, control=True)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reference") / "results"
    for name, robustness in (("natural", 0.2), ("pgd", 0.5), ("art", 0.7)):
        for attack, gain in (("auto", 0.0), ("ifia-topk", 0.05), ("random-noise", 0.2)):
            columns = {"winner": ["ifia-topk", "cosine", "cosine"] * (COUNT // 3)} if attack == "auto" else {}
            store_run(
                root, model_entry(name), attack, robustness=robustness + gain, spec_changes=spec(), columns=columns
            )
    store_run(root, control("constant"), "auto", robustness=0.99, spec_changes=spec())
    store_run(root, control("constant"), "cosine", robustness=0.99, spec_changes=spec())
    return root


@pytest.fixture(scope="module")
def board(results: Path) -> Board:
    (found,) = boards(Store(results).runs())
    return with_certainty(found, read_rows)


def test_the_common_images_are_those_that_every_reference_model_gets_right(board: Board) -> None:
    rows = [read_rows(board.by_name[name].runs["auto"]) for name in REFERENCE]
    expected = set.intersection(*(set(r.loc[r["correct"], "sample_id"]) for r in rows))
    assert board.reference is not None
    assert board.reference.ids == expected
    assert 0 < len(expected) < COUNT
    assert board.sample_set == "common"


def test_scores_and_ranks_come_from_the_common_images_and_the_other_sets_stand_beside(board: Board) -> None:
    assert board.reference is not None
    for standing in board.standings:
        rows = read_rows(standing.runs["auto"])
        common = rows[rows["sample_id"].isin(board.reference.ids)]["kendall"].dropna()
        assert standing.score is not None
        assert standing.score.mean == pytest.approx(common.mean(), abs=1e-9)
        assert standing.score.n == len(common)
        each, fixed = (standing.summary("auto", "kendall", name) for name in ("correct", "all"))
        assert each == standing.runs["auto"].record.summaries["correct"]["kendall"]
        assert fixed == standing.runs["auto"].record.summaries["all"]["kendall"]
    ranked = [(s.rank, s.entry.name) for s in board.standings if s.rank is not None]
    assert ranked == [(1, "art"), (2, "pgd"), (3, "natural")]


def test_a_control_is_shown_and_never_ranked_and_asks_no_attack_of_the_others(board: Board) -> None:
    constant = board.by_name["constant"]
    assert constant.rank is None
    assert "a control" in constant.remarks[0]
    assert board.attacks == ("auto", "ifia-topk", "random-noise")
    assert constant not in board.compared


def test_auto_scores_even_where_another_attack_ends_lower_and_the_page_says_so(tmp_path: Path) -> None:
    for attack, robustness in (("auto", 0.5), ("new", 0.3), ("random-noise", 0.9)):
        store_run(tmp_path / "results", model_entry("one"), attack, robustness=robustness)
    (board,) = boards(Store(tmp_path / "results").runs())
    (standing,) = board.standings
    assert (standing.headline, standing.strongest, standing.outdone_by) == ("auto", "new", "new")
    build(tmp_path / "results", tmp_path / "site")
    assert "new is stronger" in (tmp_path / "site/index.html").read_text()


@pytest.mark.parametrize("why", ["no run", "a control", "60 of 120 images"])
def test_an_incomplete_reference_set_ranks_nobody_and_says_why(tmp_path: Path, why: str) -> None:
    store_run(tmp_path / "results", model_entry("art"), robustness=0.7, spec_changes=spec())
    store_run(tmp_path / "results", model_entry("natural"), robustness=0.3, spec_changes=spec())
    if why == "a control":
        store_run(tmp_path / "results", control("pgd"), spec_changes=spec())
    elif why != "no run":
        half = {"sha256": "0" * 64, "count": COUNT // 2, "of": COUNT}
        store_run(tmp_path / "results", model_entry("pgd"), spec_changes=spec(samples=half))
    (board,) = boards(Store(tmp_path / "results").runs())
    assert board.lacking == (f"pgd: {why}",)
    assert board.sample_set == "correct"
    assert not board.ranks
    assert [s.entry.name for s in board.standings[:2]] == ["art", "natural"]
    build(tmp_path / "results", tmp_path / "site")
    text = re.sub(r"<[^>]*>", "", (tmp_path / "site/index.html").read_text())
    assert f"The reference set is incomplete: pgd: {why}." in text


def test_the_reference_set_is_part_of_the_protocol_and_no_part_of_a_run() -> None:
    smoke: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    named = smoke.model_copy(update={"reference": REFERENCE})
    assert named.sha256 != smoke.sha256
    assert smoke.model_copy(update={"reference": ()}).sha256 == smoke.sha256
    with_set, without = (run_spec(model_entry(), protocol_reference=names) for names in (REFERENCE, ()))
    assert with_set.run_id == without.run_id
    assert with_set.attack_id == without.attack_id


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_reference_models_of_shipped_protocols_are_registered_and_no_controls(key: str) -> None:
    protocol: Protocol = registry.load("protocols", key)
    entries = [registry.load("models", name) for name in protocol.reference]
    assert all(entry.dataset == (protocol.models_of or protocol.samples.dataset) for entry in entries)
    assert not any(entry.control for entry in entries)


def test_an_attack_off_the_board_takes_no_rank_away(tmp_path: Path) -> None:
    store_run(tmp_path, model_entry("one"))
    store_run(tmp_path, model_entry("one"), "extra", spec_changes={"on_protocol": False})
    (board,) = boards(Store(tmp_path).runs())
    assert board.standings[0].rank == 1
    assert board.attacks == ("ifia-topk",)


def test_intervals_of_columns_are_percentile_bootstrap_intervals_that_skip_undefined_values() -> None:
    rng = np.random.default_rng(3)
    values = np.stack([rng.normal(0.5, 0.1, 80), rng.normal(0, 1, 80), np.full(80, np.nan)], axis=1)
    values[:5, 1] = np.nan
    found = shared_bootstrap_intervals(values)
    for column in range(2):
        known = values[~np.isnan(values[:, column]), column]
        drawn = stats.bootstrap((known,), np.mean, n_resamples=4000, rng=rng, method="percentile").confidence_interval
        assert found[column] == pytest.approx(drawn, abs=0.15 * known.std() / len(known) ** 0.5)
    assert np.isnan(found[2]).all()


def test_the_tables_name_the_sample_set(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    (board,) = boards(Store(results).runs())
    standings = pd.read_csv(tmp_path / "site/data/standings.csv").set_index("model")
    assert set(standings["sample_set"]) == {"common"}
    table = pd.read_csv(tmp_path / "site/data/leaderboard.csv")
    common = table[(table["sample_set"] == "common") & (table["metric"] == "kendall") & (table["attack"] == "auto")]
    for line in common.itertuples():
        standing = board.by_name[str(line.model)]
        assert standing.score is not None
        assert (line.mean, line.low, line.high) == (standing.score.mean, standing.score.low, standing.score.high)


def test_the_table_for_papers_names_the_images_that_its_means_are_over(board: Board) -> None:
    first = table(board).partition("\n")[0]
    assert f"the reference set ({', '.join(REFERENCE)}) classifies correctly" in first
    alone = replace(board, reference=None)
    assert "each model classifies correctly" in table(alone).partition("\n")[0]
