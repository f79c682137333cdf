"""Strips show the images and maps of a run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.schemas.records import TOP_K_CODES
from bench.core.storage.store import Store
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.drawing import tiles
from leaderboard.drawing.colormap import INFERNO
from leaderboard.drawing.exhibit import MODELS, find_exhibit, gallery
from leaderboard.drawing.strips import SAID_IN_WORDS, strips
from leaderboard.records.rows import read_rows
from tests.support.factories import METRICS, K, model_entry, store_run
from tests.support.pages import IMAGES, Page


def test_a_run_without_showcase_says_so(tmp_path: Path) -> None:
    store_run(tmp_path / "results")
    build(tmp_path / "results", tmp_path / "site")
    assert "kept no showcase" in Page(tmp_path / "site/models/art-wrn28.html").text
    assert not (tmp_path / "site/images").exists()


def test_strips_count_order_and_describe(results: Path) -> None:
    run = next(run for run in Store(results).runs() if run.record.showcase)
    rows = read_rows(run)
    made = strips(run, read_rows)
    kendall = rows.set_index("sample_id")["kendall"][[strip.sample_id for strip in made]]
    assert kendall.is_monotonic_increasing or (kendall[:-1].is_monotonic_increasing and np.isnan(kendall.iloc[-1]))
    for strip in made:
        counts = [int(n) for n in re.findall(r"(\d+) (?:kept|lost|gained)", strip.tiles[-1].caption)]
        assert counts[0] + counts[1] == K == counts[0] + counts[2]
        assert strip.label in strip.tiles[0].alt
    infeasible = next(strip for strip in made if strip.sample_id == "cifar10/test/1")
    assert any("infeasible" in remark for remark in infeasible.remarks)


def test_a_strip_of_a_suite_keeps_the_numbers_of_other_images_apart(tmp_path: Path) -> None:
    suite = store_run(tmp_path / "results", attack="auto", showcase=IMAGES, columns={"winner": "kendall"})
    single = store_run(tmp_path / "results", showcase=IMAGES)
    assert not any(strip.elsewhere for strip in strips(single, read_rows))
    (strip, *_) = strips(suite, read_rows)
    assert set(strip.numbers) == {"kendall"}
    assert set(strip.elsewhere) == set(METRICS) - SAID_IN_WORDS - {"kendall"}
    assert "topk" not in "".join(tile.alt for tile in strip.tiles)
    build(tmp_path / "results", tmp_path / "site")
    page = (tmp_path / "site/models/art-wrn28.html").read_text()
    assert page.count("It may come from another image than the one shown") == len(IMAGES)


def test_a_strip_of_a_series_has_the_numbers_of_its_last_level(tmp_path: Path) -> None:
    levels = {"kendall@0.25": 0.75, "kendall@1024": 0.125}
    run = store_run(tmp_path, attack="saturation", showcase=IMAGES, columns=levels)
    assert {strip.numbers["kendall"] for strip in strips(run, read_rows)} == {0.125}


def test_the_exhibit_shows_one_image_under_the_first_models_of_the_board(tmp_path: Path) -> None:
    for number in range(MODELS + 1):
        store_run(tmp_path, model_entry(f"model-{number}"), robustness=number / 10, showcase=IMAGES)
    (board,) = boards(Store(tmp_path).runs())
    exhibit = find_exhibit([board], read_rows)
    assert exhibit is not None
    assert [piece.model for piece in exhibit.pieces] == [s.entry.name for s in board.standings][:MODELS]
    assert {piece.strip.sample_id for piece in exhibit.pieces} == {exhibit.sample_id}
    assert exhibit.sample_id != "cifar10/test/1", "an attack had to spare it"
    shown = gallery(board, read_rows)
    assert {image.sample_id for image in shown} == {f"cifar10/test/{index}" for index in range(len(IMAGES))}
    means = [np.mean([piece.strip.numbers["kendall"] for piece in image.pieces]) for image in shown[:-1]]
    assert means == sorted(means)
    assert shown[-1].sample_id == "cifar10/test/0", "its metric is undefined"


def test_marks_differ_in_shape_and_the_perturbation_is_magnified() -> None:
    codes = np.array(list(TOP_K_CODES.values()), dtype=np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    (drawn,) = tiles.marks(codes, np.zeros((1, 2, 2, 3), np.uint8))
    half = drawn.shape[0] // 2
    shapes = {
        mark: (drawn[y : y + half, x : x + half] == tiles.MARK_COLORS[mark]).all(-1)
        for mark, (y, x) in {"kept": (0, half), "lost": (half, 0), "gained": (half, half)}.items()
    }
    assert len({shape.tobytes() for shape in shapes.values()}) == 3
    assert all(shape.any() for shape in shapes.values())
    assert not (drawn[:half, :half] > 120).any()
    before = np.full((2, 2, 3), 100, np.uint8)
    assert (tiles.magnified_perturbation(before, before + 8) == 208).all()
    assert (tiles.magnified_perturbation(before, before - 20) == 0).all()


def test_every_box_of_the_sprite_holds_its_picture(results: Path, site: Path) -> None:
    run = next(run for run in Store(results).runs() if run.record.showcase)
    made = strips(run, read_rows)
    sheet = np.asarray(Image.open(site / "images" / made[0].tiles[0].file))
    assert sheet.shape[:2] == made[0].tiles[0].size[::-1]
    for strip in made:
        index = int(strip.sample_id.rsplit("/", 1)[1])
        shown = {tile.picture: sheet[y : y + h, x : x + w] for tile in strip.tiles for x, y, w, h in [tile.box]}
        assert (shown["original"] == IMAGES[index]).all()
        assert (shown["perturbation"] == tiles.magnified_perturbation(shown["original"], shown["perturbed"])).all()
        kept = (shown["marks"] == tiles.MARK_COLORS["kept"]).all(-1).sum()
        assert kept / 49 == int(strip.tiles[-1].caption.split(" ")[0])


def test_the_colour_map_grows_in_lightness() -> None:
    lightness = INFERNO.astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[-1] - lightness[0] > 200
