"""A ranking in Markdown agrees with the page of the same records.

This includes the caveats.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.core.schemas.records import Flag
from leaderboard.build import build
from leaderboard.data.markdown import tables, trainings_table
from tests.support.factories import model_entry, store_run
from tests.support.pages import Page

FLAGS = {
    ("a-wrn28", "ifia-topk"): ("surrogate-differs", "weaker-than-random"),
    ("a-wrn28", "random-noise"): ("surrogate-differs",),
    ("b-wrn28", "ifia-topk"): ("partial",),  # the remarks tell it
    ("b-wrn28", "random-noise"): (),
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for (model, attack), names in FLAGS.items():
        flags = tuple(Flag(name=name, detail="because") for name in names)
        store_run(tmp_path / "results", model_entry(model), attack, flags=flags)
    return tmp_path / "results"


def flags_of(text: str) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0][-1] == "flags"
    assert len({len(row) for row in rows}) == 1
    return {row[0].strip("`"): row[-1] for row in rows[2:]}


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("attacks", [(), ("random-noise",)])
def test_flags_stand_beside_the_numbers_whichever_attacks_are_shown(
    results: Path, brief: bool, attacks: tuple[str, ...]
) -> None:
    found = flags_of(tables(results, attacks=attacks, brief=brief))
    assert {name: set(filter(None, cell.split(", "))) for name, cell in found.items()} == {
        "a-wrn28": {"surrogate-differs", "weaker-than-random"},
        "b-wrn28": set(),
    }


def test_they_are_those_of_the_page(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    chips = Page(tmp_path / "site/index.html").values("data-flag", "a")
    shown = [name for cell in flags_of(tables(results)).values() for name in cell.split(", ") if name]
    assert shown == chips
    assert shown


def test_a_training_shows_its_cost_beside_the_recipe_of_today() -> None:
    facts = {"method": "pgd", "recipe": "pgd-wrn28-1", "epochs": 1.5, "seconds": 5400.0, "hardware": "A | core (R)"}
    measured = {"images": 100, "clean": 0.5, "pgd40": 0.25, "epsilon": "4/255"}
    entries = [
        model_entry("a-wrn28", training=facts, accuracy=measured),
        model_entry("b-wrn28", training=facts, accuracy=None),
    ]
    recipe = registry.load("recipes", "pgd-wrn28-1")
    lines = trainings_table(entries, {"pgd-wrn28-1": recipe}).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == [
        "`a-wrn28`", "cifar10", "pgd", "1.5", "12", "1.5h", "A core R", "50.00 %", "25.00 %", "4/255", "76 % / 41 %",
    ]  # fmt: skip
    assert lines[3].split("|")[8:-2] == ["  ", "  ", "  "], "not measured"
