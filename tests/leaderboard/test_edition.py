"""The choice of the runs that a board compares.

An added attack or a newer attack version does not remove a rank; exploring runs are kept apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.profiles import profile
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.drawing.exhibit import gallery
from leaderboard.records.index import Book
from leaderboard.records.rows import RowReader, read_runs
from leaderboard.tracks.tracks import sections
from tests.support.factories import model_entry, store_run
from tests.support.tracked import IMAGES, stored

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


def test_board_track_profile_and_showcase_count_the_same_of_two_versions_of_an_attack(tmp_path: Path) -> None:
    gradient = {"protocol": "cifar10-gradient"}
    for name in ("one", "two"):
        store_run(tmp_path, model_entry(name), "auto", robustness=0.9, spec_changes=gradient)
    later = store_run(tmp_path, model_entry("two"), "auto", spec_changes=gradient).record.environment
    environment = {"environment": later.model_copy(update={"started": "2026-01-01T00:00:00+00:00"})}
    changes = gradient | version(2)
    newer = store_run(
        tmp_path, model_entry("one"), "auto", spec_changes=changes, record_changes=environment, showcase=IMAGES
    )
    board, book = board_of(tmp_path), Book(read_runs(tmp_path))
    assert board.by_name["one"].runs["auto"] == newer
    assert book.run("cifar10-gradient-v1", "one", "auto") == newer
    (bar,) = [bar for bar in profile(book, "one") if bar.side.title.startswith("Attributional")]
    assert bar.value == newer.record.summaries["correct"]["kendall"]
    assert [piece.model for piece in gallery(board, RowReader())[0].pieces] == ["one"]


def test_the_same_of_two_versions_counts_on_a_track(tmp_path: Path) -> None:
    for number in (2, 1):
        columns = {"robust-accuracy": 0.1 * number}
        stored(tmp_path, "one", "cifar10-predictions", "prediction", "pgd-lengths", columns, version=number)
    book = Book(read_runs(tmp_path))
    (table,) = sections(book, "prediction")[0].tables
    board = board_of(tmp_path)
    assert [value.mean for value in table.lines[0].values if value] == [0.2]
    assert board.by_name["one"].runs == {"pgd-lengths": book.run("cifar10-predictions-v1", "one", "pgd-lengths")}


def test_a_profile_knows_whole_runs_alone_and_gives_controls_no_place(tmp_path: Path) -> None:
    gradient = {"protocol": "cifar10-gradient"}
    for name, robustness in (("one", 0.3), ("two", 0.6)):
        store_run(tmp_path, model_entry(name), "auto", robustness=robustness, spec_changes=gradient)
    store_run(tmp_path, model_entry("tried"), "auto", robustness=0.9, spec_changes=gradient | PARTIAL)
    control = model_entry("linear", control=True)
    store_run(tmp_path, control, "auto", robustness=0.95, spec_changes=gradient)
    book = Book(read_runs(tmp_path))
    places = {name: [(bar.place, bar.of) for bar in profile(book, name)] for name in book.entries}
    maps = {name: found[-1:] for name, found in places.items()}
    assert maps == {"linear": [(None, 2)], "one": [(2, 2)], "two": [(1, 2)], "tried": maps["tried"]}
    assert "Attributional robustness (Kendall)" not in {bar.side.title for bar in profile(book, "tried")}
