"""The pages of the tracks, made from records or without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

import bench
from bench.core.errors import UnknownNameError
from bench.run.plan import plan
from bench.run.request import Request
from leaderboard.boards.profiles import profile
from leaderboard.build import build
from leaderboard.records.index import Book, Measure
from leaderboard.records.rows import RowReader, read_rows, read_runs
from leaderboard.tracks.claims import RULE, Claim, verdicts
from leaderboard.tracks.reproduction import of_kind, published, reproduced
from leaderboard.tracks.spreads import spreads
from leaderboard.tracks.tracks import corruption_errors, questions, sections
from leaderboard.tracks.transfers import agreements, transfer_matrix
from tests.support.factories import model_entry, store_run
from tests.support.tracked import IMAGES, store_tracks


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records") / "results"
    store_run(root, model_entry("pgd-wrn28"), showcase=IMAGES)
    store_tracks(root)
    return root


@pytest.fixture(scope="module")
def book(results: Path) -> Book:
    return Book(read_runs(results))


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "site"
    build(results, out)
    return out


def test_levels_stand_in_the_order_of_the_attack_not_of_their_names(book: Book) -> None:
    (part,) = sections(book, "shape-texture")
    (table,) = part.tables
    assert [(c.attack, c.level) for c in table.columns] == [
        ("patch-shuffle", "2"), ("patch-shuffle", "4"), ("saturation", "0.25"), ("saturation", "1024"),
    ]  # fmt: skip
    assert table.groups == [("patch-shuffle", 2), ("saturation", 2)]
    means = {line.model: [None if v is None else v.mean for v in line.values] for line in table.lines}
    assert means == {"natural-wrn28": [0.8, 0.1, 0.2, 0.3], "pgd-wrn28": [0.5, 0.1, 0.2, 0.6]}
    assert [chart.attack for chart in part.charts] == ["patch-shuffle", "saturation"]


def test_corruptions_are_means_over_severities_and_errors_relative_to_the_baseline(book: Book) -> None:
    (part,) = sections(book, "corruption")
    (table,) = part.tables
    assert [column.level for column in table.columns] == ["contrast", "snow", "mean"]
    natural = next(line for line in table.lines if line.model == "natural-wrn28")
    assert [value.mean for value in natural.values if value is not None] == pytest.approx([0.3, 0.4, 0.5])
    errors = dict(corruption_errors(book, "cifar10-corruptions-v1", "natural-wrn28"))
    assert errors["natural-wrn28"] == pytest.approx(1)
    assert errors["pgd-wrn28"] == pytest.approx((1 + 0.3 / 0.6) / 2)
    claim = next(claim for claim in published().claims if claim.kinds is not None)
    assert claim.kinds is not None
    assert of_kind(book, claim.kinds, "absent", "pgd-wrn28") is None


def test_the_matrix_names_who_crafted(book: Book) -> None:
    matrix = transfer_matrix(book, "cifar10-predictions-v1")
    assert matrix is not None
    assert matrix.sources == ("natural-wrn28", "pgd-wrn28")
    assert dict(matrix.lines) == {"natural-wrn28": (None, 0.3), "pgd-wrn28": (0.6, None)}
    assert transfer_matrix(book, "cifar10-alignment-v1") is None


def test_agreement_compares_the_classes_of_both_networks(book: Book) -> None:
    found = agreements(book, "cifar10-predictions-v1", "pgd-lengths", RowReader())
    assert {(a.model, a.judge) for a in found} == {("pgd-wrn28", "natural-wrn28"), ("natural-wrn28", "pgd-wrn28")}
    one, two = (book.run("cifar10-predictions-v1", "natural-wrn28", *place) for place in
                (("transfer", "pgd-wrn28"), ("pgd-lengths",)))  # fmt: skip
    assert one is not None
    assert two is not None
    own = book.run("cifar10-predictions-v1", "pgd-wrn28", "pgd-lengths")
    assert own is not None
    share = (one.rows()["predicted_after"] == own.rows()["predicted_after"]).mean()
    assert next(a.share for a in found if a.judge == "natural-wrn28") == pytest.approx(share)


def test_a_track_that_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    text = (Path(bench.__file__).parent / "protocols/cifar10-corruptions-v1.toml").read_text()
    path = tmp_path / "cifar10-corruptions-v1.toml"
    path.write_text(text.replace('track = "corruption"', 'track = "corruptions"'))
    with pytest.raises(UnknownNameError, match=r"one of the tracks, got 'corruptions'; did you mean 'corruption'"):
        plan(Request(model="hub:natural-linear", attack="corruption", protocol=str(path)))


def test_spreads_are_quantiles_of_the_rows(book: Book) -> None:
    first = spreads(book, "cifar10-alignment-v1", ["input-gradient-alignment"], RowReader())[0]
    assert first.quantiles == (0.0, 0.0, 0.5, 1.0, 1.0)


def test_a_profile_places_a_model_between_the_worst_and_the_best(book: Book) -> None:
    bars = {bar.side.title: bar for bar in profile(book, "pgd-wrn28")}
    shapes = bars["Shapes: accuracy in black and white"]
    assert (shapes.value.mean, shapes.low, shapes.high, shapes.place, shapes.of) == (0.6, 0.3, 0.6, 1, 2)
    assert "Accuracy on USPS" not in bars


@pytest.mark.parametrize(
    ("relation", "models", "counts", "word"),
    [
        ("above", ("natural-wrn28", "pgd-wrn28"), {"held": 1}, "confirmed"),
        ("below", ("natural-wrn28", "pgd-wrn28"), {"contradicted": 1}, "contradicted"),
        ("rising", ("natural-wrn28", "pgd-wrn28", "art-wrn28"), {"held": 1}, "confirmed"),
        ("within", ("natural-wrn28", "pgd-wrn28"), {"contradicted": 1}, "contradicted"),
        ("above", ("art-wrn28", "ig-norm-wrn28"), {}, "not measured"),
        ("above", ("natural-wrn28", "natural-wrn28"), {"undecided": 1}, "undecided"),
        ("above", ("natural-wrn28", "natural-wrn28", "pgd-wrn28"), {"held": 1, "undecided": 1}, "confirmed in part"),
        (
            "below",
            ("natural-wrn28", "natural-wrn28", "pgd-wrn28"),
            {"contradicted": 1, "undecided": 1},
            "contradicted in part",
        ),
        ("rising", ("natural-wrn28", "pgd-wrn28", "natural-wrn28"), {"held": 1, "contradicted": 1}, "mixed"),
    ],
)
def test_a_claim_is_judged_by_the_records(
    book: Book, relation: Any, models: tuple[str, ...], counts: dict[str, int], word: str
) -> None:
    saturated = Measure(protocol="cifar10-shape-texture-v1", attack="saturation", metric="accuracy-on-correct@1024")
    claim = Claim(paper="ATC", text="so it is", relation=relation, models=models, measures=(saturated,))
    (verdict,) = verdicts(book, (claim,), read_rows)
    assert (verdict.counts, verdict.word) == (counts, word)
    assert set(verdict.lacking) == set(models) - {"natural-wrn28", "pgd-wrn28"}


def test_a_comparison_s_interval_is_of_the_differences_image_by_image(book: Book) -> None:
    """Compare networks with 12 and 24 of 40 images right.

    They are right in black and white; the first 12 images are common to both.
    """
    saturated = Measure(protocol="cifar10-shape-texture-v1", attack="saturation", metric="accuracy-on-correct@1024")
    models = ("natural-wrn28", "pgd-wrn28")
    claim = Claim(paper="ATC", text="so it is", relation="above", models=models, measures=(saturated,))
    (verdict,) = verdicts(book, (claim,), read_rows)
    (found,) = verdict.comparisons
    gains = np.repeat([0.0, 1.0, 0.0], [12, 12, 16])
    assert (found.values, found.images) == ((0.3, 0.6), 40)
    assert found.mean == pytest.approx(gains.mean())
    assert found.interval == pytest.approx(tuple(stats.ttest_1samp(gains, 0).confidence_interval()))


def test_a_difference_no_larger_than_its_interval_decides_nothing(book: Book) -> None:
    claim = Claim.model_validate(
        {"paper": "PAG", "text": "so", "relation": "rising", "models": ("a", "b"), "measures": ({"entry": "clean"},)}
    )
    assert [claim.outcome(*ends) for ends in ((-0.01, 0.01), (0.0, 0.0), (0.001, 0.01), (-0.02, -0.001))] == [
        "undecided", "undecided", "held", "contradicted",
    ]  # fmt: skip
    within = claim.model_copy(update={"relation": "within", "tolerance": 0.01})
    assert [within.outcome(*ends) for ends in ((-0.01, 0.01), (-0.02, 0.005), (0.011, 0.02))] == [
        "held", "undecided", "contradicted",
    ]  # fmt: skip
    entry = claim.model_copy(update={"models": ("natural-wrn28", "pgd-wrn28")})
    (verdict,) = verdicts(book, (entry,), read_rows)
    assert verdict.comparisons[0].images is None
    assert verdict.word == "undecided", "two equal accuracies are no contradiction"


def test_published_numbers_stand_beside_ours_and_missing_ones_are_said_to_be(book: Book) -> None:
    printed = published()
    found = {table.table.title: table for table in reproduced(book, printed.tables)}
    saturation = found["Saturation, CIFAR-10: accuracy on correctly classified images"]
    row, cells = saturation.rows[0]
    assert row.model == "natural-wrn28"
    assert cells[-1].published == 31.06
    assert cells[-1].ours is not None
    assert cells[-1].ours.mean == 0.3
    for table in found.values():
        assert table.table.missing or table.table.differences, "a table says how it differs"
        assert not (table.table.missing and table.compared)
    assert {each.paper for each in (*printed.tables, *printed.figures)} == set(printed.papers)


def test_every_model_that_the_papers_are_compared_with_has_an_entry_or_a_recipe() -> None:
    from bench import registry

    printed, known = published(), set(registry.names("models"))
    known |= {registry.load("recipes", name).model for name in registry.names("recipes")}
    named = {row.model for table in printed.tables for row in table.rows if row.model}
    assert (
        named
        | {name for claim in printed.claims for name in (*claim.models, *filter(None, (claim.source, claim.judge)))}
        <= known
    )
    protocols = set(registry.names("protocols"))
    places = [claim.kinds for claim in printed.claims] + [t.kinds or t.levels or t.transfer for t in printed.tables]
    assert {place.protocol for place in places if place is not None} <= protocols
    measures = [m for c in printed.claims for m in (*c.measures, c.against) if m is not None]
    measures += [c.measure for table in printed.tables for c in table.columns if c.measure is not None]
    for measure in measures:
        if measure.protocol:
            protocol = registry.load("protocols", measure.protocol)
            assert measure.attack in {"transfer", *(attack.name for attack in protocol.attacks)}
            assert measure.metric.partition("@")[0] in {m.name for m in protocol.metrics}


def test_a_measure_is_of_a_run_or_of_an_entry() -> None:
    for wrong in ({}, {"entry": "clean", "metric": "kendall"}, {"protocol": "p-v1", "attack": "a"}):
        with pytest.raises(ValidationError, match="expected either an entry's accuracy or protocol"):
            Measure.model_validate(wrong)


def test_the_site_has_a_page_per_track_and_ranks_none_of_them(site: Path) -> None:
    pages = {path.stem for path in (site / "tracks").iterdir()}
    assert pages == set(questions())
    index = (site / "index.html").read_text()
    for page in pages:
        assert f'href="tracks/{page}.html"' in index
        assert f'href="tracks/{page}.html"' in (site / "tracks.html").read_text()
    assert 'id="cifar10-corruptions-v1"' not in index
    assert not (site / "plots" / "cifar10-corruptions-v1.html").exists()
    alignment = (site / "tracks" / "alignment.html").read_text()
    assert alignment.count("<image") == 3 * 3, "three images: the original and two networks' gradients"
    reproduction = (site / "reproduction.html").read_text()
    assert "Do the orderings hold?" in reproduction
    assert "All tables and figures" in reproduction
    assert RULE in reproduction
    assert "rowspan" not in alignment[: alignment.index("</thead>")].replace('rowspan="1"', ""), "no level, one line"
    shapes = (site / "tracks" / "shape-texture.html").read_text()
    assert 'rowspan="2" class="pinned">Model' in shapes
    assert '<th scope="col">1024</th>' in shapes
    assert "Profile" in (site / "models" / "pgd-wrn28.html").read_text()
    assert "robust-accuracy@snow-1" in (site / "data" / "leaderboard.csv").read_text()
