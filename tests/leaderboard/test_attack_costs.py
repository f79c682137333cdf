"""Attacks ranked by how often each is lowest within a budget.

Checked against a plain loop over the rows.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.storage.store import Store
from leaderboard.build import build, exported
from leaderboard.comparisons.attack_costs import SHARE_COLUMNS, Race, races
from leaderboard.drawing.costs import cost_plot
from leaderboard.records.ledger import accounts
from leaderboard.records.rows import RowReader
from tests.support.factories import model_entry, store_run

N = 40
MODELS = ("one", "two", "three")
COSTS = {"random-noise": 20, "ifia-topk": 61, "auto": 186}
LONGER = {"attack": {"name": "auto", "version": 1, "params": {"steps": 900}}, "on_protocol": False}


def columns(seed: int, mean: float, cost: int, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    values = {"kendall": rng.normal(mean, 0.2, N).clip(-1, 1), "feasible": rng.random(N) < 0.9}
    return values | {"correct": np.full(N, True), "gradient_evaluations": cost} | changes


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for number, name in enumerate(MODELS):
        for place, (attack, cost) in enumerate(COSTS.items()):
            store_run(root, model_entry(name), attack, columns=columns(10 * number + place, 0.6 - 0.1 * place, cost))
        longer = columns(10 * number + 9, 0.3, 900)
        store_run(root, model_entry(name), "auto", columns=longer, spec_changes=LONGER)
    return root


def race_of(root: Path) -> Race:
    runs, rows = list(Store(root).runs()), RowReader()
    (race,) = races(accounts(runs, rows.table), rows.table)
    return race


def test_shares_are_those_of_a_plain_loop(results: Path) -> None:
    race = race_of(results)
    assert race.budgets == (20, 50, 100, 200, 500, 1000, None)
    rows = [(run, row) for run in Store(results).runs() for row in run.rows().to_dict("records")]
    for column, budget in enumerate(race.budgets):
        best: dict[tuple[str, str], dict[str, float]] = {}
        for run, row in rows:
            if not np.isnan(row["kendall"]) and (budget is None or row["gradient_evaluations"] <= budget):
                pair = best.setdefault((run.record.entry.name, row["sample_id"]), {})
                title = f"{run.record.spec.attack.name} 1"
                pair[title] = min(pair.get(title, np.inf), row["kendall"] if row["feasible"] else np.inf)
        contested = [pair for pair in best.values() if len(pair) > 1 and min(pair.values()) < np.inf]
        for entrant in race.entrants:
            own = [pair for pair in contested if entrant.title in pair]
            won = sum(pair[entrant.title] <= min(pair.values()) + 1e-6 for pair in own)
            assert (entrant.shares[column].images, entrant.shares[column].lowest) == (len(own), won), (budget, entrant)
    assert [entrant.shares[-1].place for entrant in race.entrants] == [1, 2, 3]
    assert race.entrants[0].title == "auto 1"
    assert race.entrants[0].shares[0].share is None, "too dear for 20 evaluations"


def test_a_curve_falls_with_the_cost_over_the_images_that_all_share(results: Path) -> None:
    race = race_of(results)
    assert race.shared == 3 * N
    curves = {entrant.title: entrant.points for entrant in race.entrants}
    values = {
        (run.record.entry.name, run.record.spec.attack.params["steps"]): run.rows()["kendall"].to_numpy()
        for run in Store(results).runs()
        if run.record.spec.attack.name == "auto"
    }
    short, long = (np.concatenate([values[name, steps] for name in MODELS]) for steps in (50, 900))
    assert [point.evaluations for point in curves["auto 1"]] == [186, 900]
    assert [point.mean for point in curves["auto 1"]] == pytest.approx([short.mean(), np.minimum(short, long).mean()])
    everything = [np.concatenate([run.rows()["kendall"] for run in _of(results, *key)]) for key in _settings()]
    assert race.best_known == pytest.approx(np.min(everything, axis=0).mean())
    plot = cost_plot(race)
    assert plot is not None
    (line,) = [line for line in plot.lines if line.entrant.title == "auto 1"]
    assert line.dots[0][0] < line.dots[1][0]
    assert line.dots[0][1] < line.dots[1][1], "lower values are drawn lower"
    assert {text for _, text in plot.ticks} >= {"20", "100", "500"}


def _settings() -> list[tuple[str, int]]:
    return [("random-noise", 50), ("ifia-topk", 50), ("auto", 50), ("auto", 900)]


def _of(root: Path, attack: str, steps: int) -> list[Any]:
    runs = {run.record.entry.name: run for run in Store(root).runs() if _is(run, attack, steps)}
    return [runs[name] for name in MODELS]


def _is(run: Any, attack: str, steps: int) -> bool:
    spec = run.record.spec.attack
    return bool(spec.name == attack and spec.params["steps"] == steps)


def test_an_attack_with_few_images_is_in_the_table_but_not_in_the_plot(results: Path) -> None:
    store_run(results, model_entry("one"), "nes", columns=columns(77, 0.5, 101))
    race = race_of(results)
    points = {entrant.title: entrant.points for entrant in race.entrants}
    assert race.shared == 3 * N
    assert points.pop("nes 1") == ()
    assert all(points.values())


def test_controls_and_other_radii_do_not_take_part(results: Path) -> None:
    before = race_of(results)
    wider = {"threat": {"norm": "linf", "epsilon": "16/255"}, "on_protocol": False}
    for attack in COSTS:
        low = columns(5, -0.9, 10)
        store_run(results, model_entry("flat", control=True), attack, columns=low)
        store_run(results, model_entry("one"), attack, columns=low, spec_changes=wider)
    assert race_of(results) == before


def test_submitted_images_have_no_cost(results: Path) -> None:
    mine = {"attack": {"name": "external:mine", "version": 1, "params": {"images": N}}, "on_protocol": False}
    low = columns(5, -0.9, 0, feasible=np.full(N, True), kendall=np.full(N, -1.0))
    store_run(results, model_entry("one"), columns=low, spec_changes=mine)
    race = race_of(results)
    (entrant,) = [each for each in race.entrants if each.name == "external:mine"]
    assert (entrant.title, entrant.version, entrant.evaluations, entrant.points) == ("external:mine", None, None, ())
    assert [share.share for share in entrant.shares] == [None] * 6 + [1.0]


def test_the_page_and_the_table_show_every_attack(results: Path, tmp_path: Path) -> None:
    mine = {"attack": {"name": "external:mine", "version": 1, "params": {"images": N}}, "on_protocol": False}
    store_run(results, model_entry("one"), columns=columns(5, 0.5, 0), spec_changes=mine)
    build(results, tmp_path / "site")
    page = (tmp_path / "site/attacks.html").read_text()
    assert '<a href="attacks/auto.html">auto 1</a>' in page
    assert "<bdi>external:mine</bdi>" in page
    assert "Mean lowest kendall against gradient evaluations per image" in page
    assert '<a href="attacks.html">Attacks</a>' in (tmp_path / "site/index.html").read_text()
    lines = list(csv.DictReader(io.StringIO(exported(results, "attacks.csv").decode())))
    assert list(lines[0]) == list(SHARE_COLUMNS)
    assert (tmp_path / "site/data/attacks.csv").read_bytes() == exported(results, "attacks.csv")
    race = race_of(results)
    assert len(lines) == len(race.entrants) * len(race.budgets)
    dear = [line for line in lines if line["attack"] == "auto" and line["budget"] == "200"]
    assert float(dear[0]["shared_mean"]) == race.entrants[0].points[0].mean
