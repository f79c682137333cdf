"""Which runs a board compares: one attack more or a newer version of one unranks nobody; explorers stand aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.standings import boards
from leaderboard.build import build
from tests.support.factories import model_entry, store_run

PARTIAL = {"samples": {"sha256": "0" * 64, "count": 30, "of": 40}}


def board_of(results: Path) -> Board:
    (board,) = boards(Store(results).runs())
    return board


def version(number: int, name: str = "auto") -> dict[str, Any]:
    return {"attack": {"name": name, "version": number, "params": {"steps": 50}}}


def test_where_auto_scores_a_model_ranks_without_every_single_attack(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for attack in ("auto", "random-noise"):
            store_run(tmp_path, model_entry(name), attack)
    store_run(tmp_path, model_entry("one"), "cosine")
    store_run(tmp_path, model_entry("three"), "auto")
    board = board_of(tmp_path)
    assert board.attacks == ("auto", "cosine", "random-noise")
    assert {s.entry.name: s.remarks for s in board.standings if s.rank is None} == {"three": ("random-noise: not run",)}


def test_a_partial_run_of_a_single_attack_is_not_shown_beside_whole_ones(tmp_path: Path) -> None:
    for name, changes in (("one", {}), ("two", PARTIAL)):
        for attack in ("auto", "random-noise"):
            store_run(tmp_path, model_entry(name), attack)
        store_run(tmp_path, model_entry(name), "cosine", spec_changes=changes)
    board = board_of(tmp_path)
    assert all(standing.rank for standing in board.standings)
    assert [set(board.by_name[name].runs) for name in ("one", "two")] == [
        {"auto", "cosine", "random-noise"},
        {"auto", "random-noise"},
    ]


def test_the_newest_version_of_an_attack_counts_and_older_ones_say_so(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store_run(tmp_path / "results", model_entry(name), "auto")
    newer = store_run(tmp_path / "results", model_entry("one"), "auto", spec_changes=version(2))
    board = board_of(tmp_path / "results")
    assert board.by_name["one"].runs["auto"] == newer
    assert all(standing.rank for standing in board.standings)
    build(tmp_path / "results", tmp_path / "site")
    index = (tmp_path / "site/index.html").read_text()
    rows = {name: index[index.index(f'models/{name}.html">{name}<') :].split("</tr>")[0] for name in ("one", "two")}
    assert "auto 1, newest 2" not in rows["one"]
    assert "auto 1, newest 2" in rows["two"]


def test_models_that_only_explored_stand_aside_and_their_runs_are_folded(tmp_path: Path) -> None:
    for name in ("one", "two"):
        store_run(tmp_path / "results", model_entry(name))
    explored = store_run(tmp_path / "results", model_entry("one"), spec_changes={"on_protocol": False})
    store_run(tmp_path / "results", model_entry("tried"), robustness=0.9, spec_changes=PARTIAL)
    build(tmp_path / "results", tmp_path / "site")
    index = (tmp_path / "site/index.html").read_text()
    table, rest = index[index.index("<tbody>") : index.index("</tbody>")], index[index.index("</tbody>") :]
    assert "tried" not in table
    assert 'models/tried.html#cifar10-linf8-v1">tried</a> <small>ifia-topk: 30 of 40 images' in rest
    page = (tmp_path / "site/models/one.html").read_text()
    assert page.index("1 run that the board leaves out") < page.index(f'id="run-{explored.record.run_id[:12]}"')
    standings = pd.read_csv(tmp_path / "site/data/standings.csv").set_index("model")
    assert standings.loc["tried", "remarks"] == "ifia-topk: 30 of 40 images"
