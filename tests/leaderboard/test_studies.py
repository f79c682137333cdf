"""Pages of studies are made of their records alone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import IntegrityError
from bench.core.schemas.study import Point
from leaderboard.drawing.studies import drawn
from leaderboard.pages.site import Staging
from leaderboard.pages.studies import add_study_pages
from leaderboard.records.statistics import shared_bootstrap_interval
from leaderboard.records.studies import read_studies
from tests.support.study_pieces import figure, file_piece


def pages(tmp_path: Path, *roots: Path) -> dict[str, str]:
    site = Staging(tmp_path / "site")
    add_study_pages(read_studies(roots), site)
    return {n: "" if n.endswith("webp") else (tmp_path / "site" / n).read_text() for n in site.checksums}


def test_the_page_shows_figures_numbers_pictures_and_the_command(tmp_path: Path) -> None:
    for seed in range(3):
        file_piece(tmp_path / "results", seed)
    made = pages(tmp_path, tmp_path / "results")
    page = made["studies/made-up-v1.html"]
    assert "Made &lt;up&gt;" in page
    assert page.count('class="panel"') == 3
    assert "bench study made-up --set dataset=mnist --set scale=1.0" in page
    assert "3.0 hours" in page
    assert len(re.findall(r"<img ", page)) == 3
    assert "3 pieces" in made["studies.html"]
    points = pd.read_csv(io.StringIO(made["data/studies/made-up-v1-points.csv"]))
    assert len(points) == 3 * 7
    assert set(points["piece.seed"]) == {0, 1, 2}
    assert list(pd.read_csv(io.StringIO(made["data/studies/made-up-v1-pieces.csv"]))["area"]) == [0.0, 0.25, 0.5]


def test_settings_stand_apart_and_are_named_by_what_differs(tmp_path: Path) -> None:
    file_piece(tmp_path / "a", 0)
    file_piece(tmp_path / "b", 0)  # the same piece twice counts once
    file_piece(tmp_path / "b", 1, scale=2.0)
    (study,) = read_studies([tmp_path / "a", tmp_path / "b"])
    assert [setting.title for setting in study.settings] == ["scale 1.0", "scale 2.0"]
    assert [len(setting.pieces) for setting in study.settings] == [1, 1]


def test_without_records_the_index_says_how_to_make_some(tmp_path: Path) -> None:
    assert list(made := pages(tmp_path, tmp_path / "none")) == ["studies.html"]
    assert "bench study NAME" in made["studies.html"]


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    path = file_piece(tmp_path / "results", 0)
    path.with_name(f"{path.stem}-grey.webp").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="sha256"):
        pages(tmp_path, tmp_path / "results")


def test_a_curve_has_means_with_bootstrap_intervals_and_controls_in_every_panel() -> None:
    heights = {0.2: (0.1, 0.2, 0.6), 0.4: (0.5,)}
    points = [
        Point(figure="figure", series="own", x=x, y=y, panel=panel)
        for panel in ("b", "a")
        for x, ys in heights.items()
        for y in ys
    ]
    points.append(Point(figure="figure", series="control", x=0.3, y=0.9))
    found = drawn(figure("curve"), points)
    assert found is not None
    assert [panel.title for panel in found.panels] == ["a", "b"]
    assert [[series.name for series in panel.series] for panel in found.panels] == [["own", "control"]] * 2
    own = found.panels[0].series[0]
    assert own.by_x[0.2].mean == pytest.approx(0.3)
    assert (own.by_x[0.2].low, own.by_x[0.2].high) == shared_bootstrap_interval(np.array([0.1, 0.2, 0.6]))
    assert (own.by_x[0.4].low, own.by_x[0.4].high) == (0.5, 0.5)
    assert found.columns == (0.2, 0.3, 0.4)
    assert found.panels[0].y.at(0.9) < found.panels[0].y.at(0.1)


def test_boxes_hold_numpys_quantiles_at_places_of_equal_distance() -> None:
    rng = np.random.default_rng(0)
    ys = {word: rng.normal(size=40) for word in ("x", "y", "z")}
    points = [Point(figure="figure", series="own", x=word, y=float(y)) for word in ys for y in ys[word]]
    found = drawn(figure("boxes"), points)
    assert found is not None
    groups = found.panels[0].series[0].groups
    assert [group.x for group in groups] == sorted(ys, key=lambda word: -ys[word].mean()) != list(ys)
    for group in groups:
        values = ys[str(group.x)]
        np.testing.assert_allclose(group.quantiles, np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]), rtol=1e-5)
    first, second, third = (group.column for group in groups)
    assert second - first == pytest.approx(third - second, abs=0.2)


@pytest.mark.parametrize(("count", "written"), [(8, 8), (9, 0)])
def test_many_labels_are_left_to_the_table(count: int, written: int) -> None:
    points = [Point(figure="figure", series="own", x=0.1 * k, y=0.5 + k, label=f"net {k}") for k in range(count)]
    found = drawn(figure("scatter"), points)
    assert found is not None
    assert len(found.panels[0].labels) == written
    assert len(found.panels[0].series[0].groups) == count


def test_dots_of_a_scatter_are_summed_up_by_label() -> None:
    points = [Point(figure="figure", series="own", x=0.5, y=y, label="net") for y in (0.1, 0.3)]
    found = drawn(figure("scatter"), points)
    assert found is not None
    (series,) = found.panels[0].series
    assert len(series.dots) == 2
    assert series.dots[0].words == "own, net, 0.5: 0.1"
    assert found.columns == ("net",)
    assert [text for _, _, text in found.panels[0].labels] == ["net"]
    assert series.by_x["net"].mean == pytest.approx(0.2)
    assert drawn(figure("scatter", "another"), points) is None


def test_a_single_point_shows_the_interval_that_it_brings() -> None:
    points = [
        Point(figure="figure", series="own", x="first", y=0.5, low=0.2, high=0.7, over=10),
        Point(figure="figure", series="own", x="second", y=0.4),
    ]
    found = drawn(figure("curve"), points)
    assert found is not None
    (series,) = found.panels[0].series
    first, second = series.groups
    assert (first.low, first.high, first.count) == (0.2, 0.7, 10)
    assert (second.low, second.high, second.count) == (0.4, 0.4, 1)
    assert found.panels[0].y.low <= 0.2
    assert found.panels[0].y.high >= 0.7


def test_a_picture_stands_beside_the_names_of_its_rows(tmp_path: Path) -> None:
    file_piece(tmp_path / "results", 0, rows=("unchanged", "turned <grey>"))
    page = pages(tmp_path, tmp_path / "results")["studies/made-up-v1.html"]
    assert "<li>unchanged</li><li>turned &lt;grey&gt;</li>" in page
    assert 'alt="seed 0, from the top: unchanged, turned &lt;grey&gt;"' in page


def test_pictures_of_pieces_without_a_network_come_first(tmp_path: Path) -> None:
    first = file_piece(tmp_path / "results", 1, models={"net": "0" * 64})
    second = file_piece(tmp_path / "results", 2)
    page = pages(tmp_path, tmp_path / "results")["studies/made-up-v1.html"]
    assert 0 < page.index(f"{second.stem}-grey.webp") < page.index(f"{first.stem}-grey.webp")
