"""Comparisons of all attacks, counted from rows for every metric.

The sign of the metric decides which value is better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.storage.store import Store
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.comparisons.rivalry import rivalry
from leaderboard.records.rows import RowReader
from tests.support.factories import model_entry, store_run

STRONG = {"kendall": np.repeat([0.1, 0.5], 20), "mass-center-shift": np.full(40, 3.0)}
WEAK = {"kendall": np.repeat([0.2, 0.4], 20), "mass-center-shift": np.full(40, 1.0)}
ALL = {"correct": np.full(40, True), "label": np.arange(40) % 10, "predicted_before": np.arange(40) % 10}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        store_run(tmp_path / "results", model_entry(name), "strong", columns=ALL | STRONG)
        store_run(tmp_path / "results", model_entry(name), "weak", columns=ALL | WEAK)
    store_run(tmp_path / "results", model_entry("one"), "same", columns=ALL | STRONG)
    store_run(tmp_path / "results", model_entry("flat", control=True), "strong", columns=ALL | WEAK)
    return tmp_path / "results"


def test_shares_are_counts_of_images(results: Path) -> None:
    (board,) = boards(Store(results).runs())
    found = rivalry(board, RowReader().table)
    place = {metric.name: index for index, metric in enumerate(found.metrics)}
    against = {rival.attack: rival for rival in found.rivals("strong")}
    assert {name: rival.images for name, rival in against.items()} == {"same": 40, "weak": 80}
    assert against["weak"].shares[place["kendall"]] == 0.5
    assert against["weak"].shares[place["mass-center-shift"]] == 1, "farther is less robust"
    assert [against["same"].shares[place[name]] for name in STRONG] == [0.0, 0.0], "ties are nobody's"
    for attack, share in (("strong", 0.5), ("same", 0.5), ("weak", 0.5)):
        assert found.minimum(attack).shares[place["kendall"]] == share
    assert found.minimum("strong").shares[place["mass-center-shift"]] == 1


def test_undefined_values_and_images_that_only_one_attack_saw_do_not_count(results: Path) -> None:
    undefined = {"kendall": np.where(np.arange(40) < 10, np.nan, 0.0)}
    fewer = {"samples": {"sha256": "0" * 64, "count": 40, "of": 40}}
    order = {"sample_id": [f"cifar10/test/{index}" for index in range(39, -1, -1)]}
    reversed_rows = {name: np.asarray(values)[::-1] for name, values in (ALL | STRONG | undefined).items()}
    store_run(results, model_entry("one"), "partly", columns=reversed_rows | order, spec_changes=fewer)
    (board,) = boards(Store(results).runs())
    found = rivalry(board, RowReader().table)
    kendall = [metric.name for metric in found.metrics].index("kendall")
    against = {rival.attack: rival for rival in found.rivals("partly")}
    assert against["strong"].shares[kendall] == 1.0
    assert found.minimum("partly").shares[kendall] == 1.0
    assert found.defined[found.attacks.index("partly"), found.attacks.index("strong"), kendall] == 30


def test_an_attack_s_page_shows_its_rivals(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    page = (tmp_path / "site/attacks/strong.html").read_text()
    table = page[page.index("Against the other attacks") :]
    assert '<a href="weak.html#cifar10-linf8-v1">weak</a></th><td>80</td>' in table
    assert "found the minimum" in table
    assert "50.0 %" in table
