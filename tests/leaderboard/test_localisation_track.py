"""The track of localisation shows the best of a metric's levels."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard.build import build
from leaderboard.pages.filters import shortened
from leaderboard.records.index import Book
from leaderboard.records.rows import read_runs
from leaderboard.tracks.maps import map_tables
from leaderboard.tracks.tracks import Column, questions, sections
from tests.support.tracked import metric, stored

LEVELS = ("0.25", "0.5", "0.75")
SCORES = {"natural-wrn28": (0.2, 0.7, 0.4), "pgd-wrn28": (0.5, 0.3, 0.1)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for model, scores in SCORES.items():
        boxes = {f"max-box-acc@{level}": score for level, score in zip(LEVELS, scores, strict=True)}
        columns = {"max-box-acc": 0.9, **boxes, "top1-loc": 0.4, "top1-loc-after": 0.3, "kendall": 0.2}
        neutral = [metric(name) | {"higher_is": "neutral"} for name in ("max-box-acc", "top1-loc", "top1-loc-after")]
        stored(
            root,
            model,
            "cifar10-localisation",
            "localisation",
            "ifia-topk",
            columns,
            metrics=[*neutral, metric("kendall")],
            primary_metric="kendall",
        )
    return root


def test_a_metric_with_thresholds_shows_the_best_one_and_a_chart_of_all(results: Path) -> None:
    (part,) = sections(Book(read_runs(results)), "localisation")
    tables = {table.caption: table for table in part.tables}
    over_all = tables["Mean top1-loc before and after the attack over all images"]
    assert over_all.columns == (Column("before", ""), Column("ifia-topk", ""))
    assert [[value.mean for value in line.values if value] for line in over_all.lines] == [[0.4, 0.3]] * 2
    assert not [caption for caption in tables if "top1-loc-after" in caption]
    best = tables["Mean max-box-acc over the images that each model classifies correctly"]
    assert best.columns == (Column("ifia-topk", "best"),)
    correct = {run.record.spec.model.name: run.record.summaries["correct"] for run in read_runs(results)}
    for line in best.lines:
        means = [correct[line.model][f"max-box-acc@{level}"].mean for level in LEVELS]
        assert line.values[0] is not None
        assert line.values[0].mean == max(mean for mean in means if mean is not None)
    (chart,) = part.charts
    assert chart.words == "max-box-acc under ifia-topk"
    assert [tick for _, tick in chart.ticks] == list(LEVELS)
    assert [path.count("L") for _, path in chart.lines] == [2, 2]


def test_attribution_methods_of_the_same_images_share_a_table(tmp_path: Path) -> None:
    means = {"gradient": (0.7, 0.5), "grad-cam": (0.8, 0.4)}
    for model in SCORES:
        for attribution, (before, after) in means.items():
            columns = {"gt-known-loc": before, "gt-known-loc-after": after, "kendall": before / 2}
            names = [metric(name) for name in columns]
            stored(
                tmp_path,
                model,
                f"cifar10-{attribution}",
                "localisation",
                "ifia-topk",
                columns,
                metrics=names,
                primary_metric="kendall",
                attribution={"name": attribution, "version": 1, "params": {}},
            )
    book = Book(read_runs(tmp_path))
    located, moved = map_tables(book, sections(book, "localisation"), questions()["localisation"].metrics)
    assert located.columns == (Column("before", ""), Column("ifia-topk", ""))
    assert [(line.model, line.attribution) for line in located.lines] == [
        (model, attribution) for model in sorted(SCORES) for attribution in sorted(means)
    ]
    found = {
        (run.record.spec.model.name, run.record.spec.attribution.name): run.record.summaries["correct"]
        for run in read_runs(tmp_path)
    }
    for table, metrics in ((located, ("gt-known-loc", "gt-known-loc-after")), (moved, ("kendall",))):
        for line in table.lines:
            assert line.values == tuple(found[line.model, line.attribution][name] for name in metrics)
    build(tmp_path, tmp_path / "site")
    assert "side by side" in (tmp_path / "site" / "tracks" / "localisation.html").read_text()


@pytest.mark.parametrize(("text", "shown"), [("lite0", "lite0"), ("a-long-name-0", "a-l…e-0"), ("1234567", "1234567")])
def test_a_long_name_keeps_both_ends(text: str, shown: str) -> None:
    assert shortened(text, 7) == shown


def test_the_page_shows_it(results: Path, tmp_path: Path) -> None:
    build(results, tmp_path / "site")
    (page,) = (tmp_path / "site").rglob("localisation*.html")
    text = page.read_text()
    assert "Does the map still find the object after an attack?" in text
    assert "max-box-acc" in text
