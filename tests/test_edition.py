"""Which runs a board compares: one attack more or a newer version of one unranks nobody; explorers stand aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.store import Store
from leaderboard.board import Board, boards
from leaderboard.build import build
from tests.factories import model_entry, store_run

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


def test_a_board_moves_to_a_new_version_of_an_attack_when_most_of_it_has(tmp_path: Path) -> None:
    first = [store_run(tmp_path, model_entry(name), "auto") for name in ("one", "two", "three")]
    newer = store_run(tmp_path, model_entry("one"), "auto", spec_changes=version(2))
    assert board_of(tmp_path).by_name["one"].runs["auto"] == first[0]
    assert all(standing.rank for standing in board_of(tmp_path).standings)
    for name in ("two", "four"):
        store_run(tmp_path, model_entry(name), "auto", spec_changes=version(2))
    board = board_of(tmp_path)
    assert board.edition.versions == {"auto": 2}
    assert board.by_name["one"].runs["auto"] == newer
    assert {s.entry.name for s in board.standings} == {"one", "two", "four"}
    assert [s.remarks for s in board.aside] == [("auto: version 1 of the attack, the board's is 2",)]


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
