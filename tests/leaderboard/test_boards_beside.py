"""Two versions of a board are shown side by side.

That is ranks, paired changes and decisions.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.core.errors import UsageError
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store
from leaderboard.boards.board import Board
from leaderboard.boards.standings import boards
from leaderboard.comparisons.attacks import Variant, contest
from leaderboard.comparisons.boards import Decisions, side_by_side
from leaderboard.records.rows import read_rows
from tests.support.commands import invoke
from tests.support.factories import model_entry, store_run

OLD = {"weak": 0.2, "first": 0.6, "second": 0.4, "gone": 0.5}
NEW = {"weak": 0.1, "first": 0.3, "second": 0.36}


def version(number: int, **changes: Any) -> dict[str, Any]:
    content = {"name": "cifar10-beside", "version": number, "sha256": sha256_of(b"%d" % number), "rankable": True}
    whole = {"floor": "random-noise", "reference": (), "track": "attribution"}
    return {
        "protocol_spec": content | whole,
        "samples": {"sha256": sha256_of(b"both"), "count": 80, "of": 80},
    } | changes


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("beside") / "results"
    for number, scores in ((1, OLD), (2, NEW)):
        for name, robustness in scores.items():
            store_run(root, model_entry(name), "auto", robustness=robustness, spec_changes=version(number))
            store_run(root, model_entry(name), "random-noise", robustness=0.8, spec_changes=version(number))
    return root


@pytest.fixture(scope="module")
def made(results: Path) -> dict[str, Board]:
    return {board.protocol.key: board for board in boards(Store(results).runs())}


def values_of(board: Board, name: str) -> Any:
    rows = read_rows(board.by_name[name].runs["auto"])
    return rows[rows["correct"]].set_index("sample_id")["kendall"]


def test_moves_are_paired_changes_between_shared_models(made: dict[str, Board]) -> None:
    older, newer = made["cifar10-beside-v1"], made["cifar10-beside-v2"]
    moves, pairs = side_by_side(older, newer, read_rows)
    assert [(move.model, move.ranks) for move in moves] == [("second", (2, 1)), ("first", (1, 2)), ("weak", (3, 3))]
    sides = [[values_of(board, name) for name in NEW] for board in (older, newer)]
    images = set.intersection(*(set(side.dropna().index) for both in sides for side in both))
    table = np.array([[side.loc[sorted(images)] for side in both] for both in sides])
    for move in moves:
        before, after = table[:, list(NEW).index(move.model)]
        found = stats.ttest_rel(after, before)
        assert move.images == len(images)
        assert move.means == pytest.approx((before.mean(), after.mean()))
        assert move.change == pytest.approx((after - before).mean())
        assert move.interval == pytest.approx(tuple(found.confidence_interval()))
    assert pairs == Decisions(older=3, newer=3, both=2, reversed=1, total=3)
    for before, after in combinations(range(3), 2):  # the three differences are far from chance on both boards
        assert all(stats.ttest_rel(side[before], side[after]).pvalue < 1e-3 for side in table)


def test_boards_of_different_questions_are_refused(made: dict[str, Board], tmp_path: Path) -> None:
    wide = version(3, threat={"norm": "linf", "epsilon": "16/255"})
    for name in ("first", "second"):
        store_run(tmp_path, model_entry(name), "auto", spec_changes=wide)
    (other,) = boards(Store(tmp_path).runs())
    with pytest.raises(UsageError, match="differ in their attacks only"):
        side_by_side(made["cifar10-beside-v1"], other, read_rows)


def test_one_shared_model_is_too_few(made: dict[str, Board], tmp_path: Path) -> None:
    for attack in ("auto", "random-noise"):
        store_run(tmp_path, model_entry("first"), attack, spec_changes=version(2))
    (alone,) = boards(Store(tmp_path).runs())
    with pytest.raises(UsageError, match="expected two models"):
        side_by_side(made["cifar10-beside-v1"], alone, read_rows)


def test_an_attack_is_compared_with_its_older_protocol(results: Path) -> None:
    runs, auto = list(Store(results).runs()), Variant("auto")
    found = contest(runs, "cifar10-beside-v2", auto, auto, ["kendall"], against="cifar10-beside-v1")
    assert {each.model: each.verdict for each in found} == {
        "first": "stronger",
        "second": "stronger",
        "weak": "stronger",
    }
    same = contest(runs, "cifar10-beside-v2", auto, auto, ["kendall"])
    assert {each.gain for each in same} == {0.0}


def test_the_commands_print_both(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    names = ("--protocol", "cifar10-beside-v2")
    code, out, _ = invoke(capsys, "leaderboard", "table", str(results), *names, "--beside", "cifar10-beside-v1")
    assert code == 0
    assert "| `second` | 2 | 1 |" in out
    assert "decides 3 of 3 pairs of models after Holm, `cifar10-beside-v2` 3: 2 in the same way, 1 in opposite" in out
    compare = ("compare", "--attacks", "auto", "auto", "--results", str(results), "--markdown", *names)
    code, out, _ = invoke(capsys, *compare, "--against", "cifar10-beside-v1")
    assert code == 0
    assert "| auto of cifar10-beside-v2 | auto of cifar10-beside-v1 | gain |" in out


@pytest.mark.parametrize(
    "words",
    [
        ("leaderboard", "table", "--beside", "cifar10-beside-v1"),
        ("leaderboard", "table", "--protocol", "cifar10-beside-v2", "--brief", "--beside", "cifar10-beside-v1"),
        ("compare", "first", "second", "--against", "cifar10-beside-v1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, _, err = invoke(capsys, *words)
    assert code == 2
    assert "expected --" in err
