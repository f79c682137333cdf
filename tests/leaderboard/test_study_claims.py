"""Claims of the papers that studies decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.schemas.study import Card, Figure, Point, StudyRecord, StudySpec
from bench.core.storage.studies import StudyStore
from leaderboard.records.index import Book
from leaderboard.records.studies import StudyResults, read_studies
from leaderboard.tracks.reproduction import PublishedTable, published, reproduced
from leaderboard.tracks.study_claims import StudyClaim, study_verdicts

CARD = Card(
    study="made-up",
    version=1,
    title="Made up",
    asks="What is so?",
    source="nobody",
    figures=(Figure(name="curve", kind="curve", title="t", words="w", x="x", y="y"),),
)
AREAS = {"natural": (0.10, 0.12, 0.11), "weak": (0.20, 0.23, 0.21), "strong": (0.15, 0.31, 0.20)}
"""Areas of three seeds: those of weak are all larger than those of natural, those of strong are not."""


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[StudyResults]:
    root: Path = tmp_path_factory.mktemp("results")
    store = StudyStore(root)
    store.prepare(CARD)
    before = 0.0
    for network, areas in AREAS.items():
        for seed, area in enumerate(areas):
            piece: dict[str, Any] = {"network": network, "attribution": "gradient", "seed": seed}
            numbers = {"area": area, "far": 5 - 10 * area, "minus-weaker": before - area}
            numbers |= {"minus-weaker-low": before - area - 0.06, "minus-weaker-high": before - area + 0.06}
            spec = StudySpec(study="made-up", version=1, params={"dataset": "mnist"}, piece=piece)
            point = Point(figure="curve", series="own", x=seed, y=area)
            record = StudyRecord(spec=spec, points=(point,), numbers=numbers, environment={}, seconds=1, id=spec.id)
            store.write(record, {})
        before = areas[0]
    return read_studies([root])


def claim(**changes: Any) -> StudyClaim:
    measure = {"study": "made-up-v1", "number": "area", "over": "network", "fixed": {"attribution": "gradient"}}
    content = {"paper": "KIM", "text": "so", "relation": "rising", "sides": list(AREAS), "measure": measure}
    return StudyClaim.model_validate(content | changes | {"measure": measure | changes.get("measure", {})})


def test_seeds_are_pairs(studies: list[StudyResults]) -> None:
    (verdict,) = study_verdicts(studies, [claim()])
    assert [c.outcome for c in verdict.comparisons] == ["held", "undecided"]
    assert verdict.comparisons[0].images == 3
    assert verdict.comparisons[0].mean == pytest.approx((0.10 + 0.11 + 0.10) / 3)
    assert verdict.lacking == ()


def test_without_rising_all_sides_are_compared_with_the_first(studies: list[StudyResults]) -> None:
    (verdict,) = study_verdicts(studies, [claim(relation="above", sides=["weak", "natural", "strong"])])
    assert [(c.first, c.second) for c in verdict.comparisons] == [("weak", "natural"), ("weak", "strong")]
    assert [c.outcome for c in verdict.comparisons] == ["contradicted", "undecided"]


def test_a_difference_that_pieces_state_comes_with_its_interval(studies: list[StudyResults]) -> None:
    stated = {"number": "minus-weaker", "minus": "before", "value": "far"}
    (verdict,) = study_verdicts(studies, [claim(relation="below", measure=stated)])
    assert [c.outcome for c in verdict.comparisons] == ["held", "undecided"]
    assert verdict.comparisons[0].values == pytest.approx((4.0, 3.0))
    assert verdict.comparisons[0].interval == pytest.approx((-0.16, -0.04))


def test_a_difference_from_the_first_side_may_be_over_a_number(studies: list[StudyResults]) -> None:
    stated = {"number": "minus-weaker", "minus": "first", "value": "far", "over": "seed", "fixed": {"network": "weak"}}
    (verdict,) = study_verdicts(studies, [claim(relation="below", measure=stated, sides=["0", "1", "2"])])
    assert [(c.first, c.second) for c in verdict.comparisons] == [("0", "1"), ("0", "2")]
    assert verdict.comparisons[1].values == pytest.approx((3.0, 2.9))
    assert verdict.comparisons[1].mean == pytest.approx(0.10 - 0.21)


def test_a_table_takes_its_numbers_from_a_study(studies: list[StudyResults]) -> None:
    content = {
        "paper": "KIM",
        "title": "Areas",
        "study": {"study": "made-up-v1", "over": "network"},
        "columns": [{"name": "area", "number": "area"}, {"name": "other", "number": "other"}],
        "rows": [{"name": name, "piece": name, "values": [1, 2]} for name in ("weak", "unknown")],
    }
    (table,) = reproduced(Book([]), (PublishedTable.model_validate(content),), studies)
    ours = [[cell.ours for cell in cells] for _, cells in table.rows]
    assert ours[0][0] is not None
    assert ours[0][0].mean == pytest.approx(0.64 / 3)
    assert ours[0][0].n == 3
    assert [ours[0][1], *ours[1]] == [None] * 3
    assert table.compared == 1


@pytest.mark.parametrize(
    "changes", [{"study": "other-v1"}, {"params": {"dataset": "cifar10"}}, {"fixed": {"attribution": "random"}}]
)
def test_what_has_no_record_is_not_measured(studies: list[StudyResults], changes: dict[str, Any]) -> None:
    (verdict,) = study_verdicts(studies, [claim(measure=changes)])
    assert (verdict.word, verdict.lacking) == ("not measured", tuple(AREAS))


def test_the_papers_claims_name_studies_that_exist() -> None:
    from bench import registry

    for stated in published().study_claims:
        name, _, version = stated.measure.study.rpartition("-v")
        assert registry.load("studies", name).version == int(version)
