"""Figures of a metric against the radius, from made-up runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.storage.stored_run import StoredRun
from leaderboard.pages.site import Staging
from leaderboard.pages.tracks import add_track_pages
from leaderboard.records.index import Book, Measure
from leaderboard.records.rows import RowReader
from leaderboard.tracks.radii import radius_figures
from tests.support.tracked import COUNT, stored

KEY = "cifar10-predictions-v1"


def at(root: Path, model: str, epsilon: str, kept: float, *, norm: str = "linf", **params: Any) -> StoredRun:
    """File a run at a radius, which is the protocol's if 8/255."""
    threat = {"norm": norm, "epsilon": epsilon, "knowledge": "white-box", "keep_prediction": False}
    lengths = params.get("lengths", [40])
    levels = {f"robust-accuracy@{length}": kept for length in lengths}
    columns = {"robust-accuracy": kept, **levels, "accuracy": 0.9}
    whole = {"step_size": "2/255", **params, "lengths": lengths}
    return stored(
        root, model, "cifar10-predictions", "prediction", "pgd-lengths", columns,
        params=whole, threat=threat, on_protocol=epsilon == "8/255",
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> list[StoredRun]:
    """Two networks at three radii, and one at the protocol's alone.

    At the protocol's radius the search has a second length.
    """
    found = [
        at(tmp_path, model, epsilon, kept, lengths=[40, 100] if epsilon == "8/255" else [40])
        for model, drop in (("natural-wrn28", 0.2), ("pgd-wrn28", 0.1))
        for epsilon, kept in (("16/255", 0.4 - drop), ("4/255", 0.8 - drop), ("8/255", 0.6 - drop))
    ]
    return [*found, at(tmp_path, "art-wrn28", "8/255", 0.5)]


def test_a_figure_joins_the_radii_of_each_network_from_the_clean_accuracy_on(runs: list[StoredRun]) -> None:
    (figure,) = radius_figures(runs, "robust-accuracy")
    assert figure.figure.title == "robust-accuracy against the radius, under pgd-lengths at 40"
    assert figure.figure.x == "L∞ radius in grey levels"
    (panel,) = figure.panels
    heights = {series.name: {x: group.mean for x, group in series.by_x.items()} for series in panel.series}
    assert heights == {
        "natural-wrn28": pytest.approx({0.0: 0.9, 4.0: 0.6, 8.0: 0.4, 16.0: 0.2}),
        "pgd-wrn28": pytest.approx({0.0: 0.9, 4.0: 0.7, 8.0: 0.5, 16.0: 0.3}),
    }
    middle = panel.series[0].by_x[8.0]
    assert middle.low < 0.4 < middle.high, "the interval of the record, not of the single point"
    assert middle.count == COUNT


def test_runs_of_other_steps_or_norms_are_no_part_of_a_curve(tmp_path: Path) -> None:
    runs = [
        at(tmp_path, "pgd-wrn28", "8/255", 0.5),
        at(tmp_path, "pgd-wrn28", "4/255", 0.6, step_size="1/255"),
        at(tmp_path, "pgd-wrn28", "1/2", 0.6, norm="l2"),
    ]
    assert radius_figures(runs, "robust-accuracy") == []
    assert radius_figures([*runs, at(tmp_path, "pgd-wrn28", "1/4", 0.7, norm="l2")], "kendall") == []


def test_the_protocols_own_run_wins_over_another_at_its_radius(tmp_path: Path) -> None:
    own, other = at(tmp_path, "pgd-wrn28", "8/255", 0.5, lengths=[40, 100]), at(tmp_path, "pgd-wrn28", "4/255", 0.7)
    record = other.record.model_copy(
        update={"spec": own.record.spec.model_copy(update={"on_protocol": False}), "summaries": other.record.summaries}
    )
    (figure,) = radius_figures([own, other, StoredRun(record, other.path)], "robust-accuracy")
    assert figure.panels[0].series[0].by_x[8.0].mean == 0.5


def test_the_page_of_a_track_draws_the_radii_and_its_tables_do_not_change(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    site, book = Staging(tmp_path / "site"), Book(runs)
    add_track_pages(book, runs, RowReader(), site, set())
    page = (tmp_path / "site/tracks/prediction.html").read_text()
    assert f'id="{KEY}-radius"' in page
    assert "L∞ radius in grey levels" in page
    kept = Measure(protocol=KEY, attack="pgd-lengths", metric="robust-accuracy@40")
    for name, mean in (("natural-wrn28", 0.4), ("pgd-wrn28", 0.5)):
        found = book.value(kept, name)
        assert found is not None
        assert found.mean == mean
    add_track_pages(own := Book([run for run in runs if run.record.spec.on_protocol]), [], RowReader(), site, set())
    assert {m: own.value(kept, m) for m in own.models(KEY)} == {m: book.value(kept, m) for m in book.models(KEY)}
