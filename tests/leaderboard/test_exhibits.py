"""The list of the papers' tables and figures.

Also tests claims that compare two runs of one network.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from leaderboard.records.index import Book, Measure
from leaderboard.records.rows import read_rows, read_runs
from leaderboard.tracks.claims import Claim, verdicts
from leaderboard.tracks.exhibits import exhibits, orderings
from leaderboard.tracks.reproduction import Figure, Published, PublishedTable, published, reproduced
from tests.support.factories import model_entry, run_spec
from tests.support.tracked import stored

NAME, PROTOCOL = "cifar10-predictions", "cifar10-predictions-v1"
CLEAN = Measure(protocol=PROTOCOL, attack="pgd", metric="robust-accuracy")
SHARES = {"natural-wrn28": (0.1, 0.2), "pgd-wrn28": (0.6, 0.3), "art-wrn28": (0.6, 0.9)}
"""Of 40 images: right under PGD, and right under SPSA."""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    root: Path = tmp_path_factory.mktemp("records")
    for model, shares in SHARES.items():
        for attack, share in zip(("pgd", "spsa"), shares, strict=True):
            stored(root, model, NAME, "prediction", attack, {"robust-accuracy": share})
    for source, share in (("natural-wrn28", 0.9), ("pgd-wrn28", 0.4)):
        crafted = run_spec(model_entry(source), "pgd")
        stored(
            root,
            "art-wrn28",
            NAME,
            "prediction",
            "transfer",
            {"robust-accuracy": share},
            crafted_on={part: getattr(crafted, part) for part in ("model", "attack", "search_attribution")},
            on_protocol=False,
        )
    return Book(read_runs(root))


def table(*values: float, **changes: object) -> PublishedTable:
    rows = [{"name": name, "model": name, "values": [value]} for name, value in zip(SHARES, values, strict=False)]
    columns = [{"name": "PGD", "measure": CLEAN.model_dump()}]
    content = {"paper": "ART", "title": "T", "columns": columns, "rows": rows, **changes}
    return PublishedTable.model_validate(content)


@pytest.mark.parametrize(
    ("values", "outcomes"),
    [
        ((0, 40, 50), ("held", "held")),
        ((50, 40, 60), ("contradicted", "held")),
        ((50, 50, 40), ("contradicted",)),
        ((float("nan"), 40, 50), ()),
        ((1,), ()),
    ],
)
def test_rows_are_compared_with_the_first_as_printed(
    book: Book, values: tuple[float, ...], outcomes: tuple[str, ...]
) -> None:
    assert orderings(book, table(*values), read_rows) == outcomes


def test_two_equal_networks_decide_nothing(book: Book) -> None:
    rows = [{"name": name, "model": name, "values": [value]} for name, value in (("pgd-wrn28", 1), ("art-wrn28", 2))]
    assert orderings(book, table(rows=rows), read_rows) == ("undecided",)


def test_two_measures_of_one_network_are_compared(book: Book) -> None:
    spsa = CLEAN.model_copy(update={"attack": "spsa"})
    claim = Claim(
        paper="ART", text="SPSA finds less", relation="above", models=tuple(SHARES), measures=(CLEAN,), against=spsa
    )
    (verdict,) = verdicts(book, (claim,), read_rows)
    assert [c.outcome for c in verdict.comparisons] == ["held", "contradicted", "held"]
    assert verdict.comparisons[0].values == (0.1, 0.2)
    assert (verdict.comparisons[0].first, verdict.comparisons[0].second) == (
        "natural-wrn28, pgd",
        "natural-wrn28, spsa",
    )


def test_a_judge_sees_the_images_of_other_networks(book: Book) -> None:
    seen = CLEAN.model_copy(update={"attack": "transfer"})
    claim = Claim(
        paper="PAG", text="so", relation="below", models=("natural-wrn28", "pgd-wrn28"), measures=(seen,),
        judge="art-wrn28",
    )  # fmt: skip
    (verdict,) = verdicts(book, (claim,), read_rows)
    assert [(c.values, c.outcome) for c in verdict.comparisons] == [((0.9, 0.4), "held")]
    same = claim.model_copy(update={"judge": "", "source": "natural-wrn28", "models": ("art-wrn28", "art-wrn28")})
    (verdict,) = verdicts(book, (same,), read_rows)
    assert verdict.comparisons[0].values == (0.9, 0.9)


def test_a_line_has_the_outcomes_of_its_table_and_of_the_claims_about_it(book: Book) -> None:
    claim = Claim(
        paper="ART", text="so", relation="below", models=("natural-wrn28", "pgd-wrn28"), measures=(CLEAN,), exhibit="F"
    )
    figure = Figure(paper="ART", title="F", shows="curves", page="tracks/prediction.html")
    absent = table(1, title="M", missing="no images", command="bench train some-recipe")
    printed = Published(papers={"ART": "so"}, tables=(table(0, 40, 50), absent), figures=(figure,), claims=(claim,))
    tables = reproduced(book, printed.tables)
    lines = {
        line.title: line
        for line in exhibits(printed, tables, verdicts(book, printed.claims, read_rows), book, read_rows)
    }
    assert (lines["T"].published, lines["T"].ours, lines["T"].counts) == ("3 numbers", "3 numbers", {"held": 2})
    assert (lines["M"].missing, lines["M"].command, lines["M"].counts) == ("no images", "bench train some-recipe", {})
    assert (lines["F"].published, lines["F"].counts) == ("curves", {"contradicted": 1})


def test_a_claim_about_no_table_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected the title of a table or figure"):
        Published.model_validate(
            {
                "papers": {"ART": "so"}, "tables": [], "figures": [],
                "claims": [{"paper": "ART", "text": "a", "relation": "above", "models": ["a", "b"], "exhibit": "X"}],
            }
        )  # fmt: skip


def test_the_papers_have_few_missing_tables_and_many_claims() -> None:
    printed = published()
    everything = [*printed.tables, *printed.figures]
    assert sum(bool(each.missing) for each in everything) <= 3
    assert all(each.command for each in everything if each.missing), "what is missing names the command that makes it"
    assert len(printed.claims) >= 25
    assert list(printed.papers) == ["ART", "RAR", "PAG", "ATC", "KIM"]
