"""The page of one command's runs: one file that needs nothing else."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.schemas.records import Flag
from leaderboard.drawing.strips import showcase_tiles
from leaderboard.pages.run import write_run_page
from tests.support.factories import model_entry, store_run

IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(2)]


def test_a_page_shows_both_runs_and_loads_nothing(tmp_path: Path) -> None:
    entry = model_entry("mine", title="<script>alert(1)</script>")
    floor = store_run(tmp_path / "results", entry, "random-noise", robustness=0.9, showcase=IMAGES)
    flag = Flag(name="vanishing-gradient", detail="3 of 40 gradients are zero")
    run = store_run(tmp_path / "results", entry, robustness=0.2, showcase=IMAGES, flags=(flag,))
    written = write_run_page([floor, run], tmp_path / "pages")
    page = written.page.read_text()
    mean = run.record.headline[run.record.spec.primary_metric].mean
    assert f"{mean:.3f}" in page
    assert "vanishing-gradient" in page
    assert "What to do:" in page
    assert "<script" not in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    embedded = [link for link in links if link.startswith("data:image/webp;base64,")]
    assert len(embedded) == 2, "each run's pictures are in the page once"
    assert all(f'id="{link[1:]}"' in page for link in links if link not in embedded)
    assert page.count('class="strip"') == 2 * len(IMAGES)
    assert written.strip is not None
    picture = np.asarray(Image.open(io.BytesIO(written.strip.read_bytes())))
    tiles = showcase_tiles(run)
    assert tiles is not None
    corner = {tuple(tile[0, 0]) for tile in tiles["before"]}
    assert tuple(picture[0, 0]) in corner
    assert picture.shape == (4 * 32, 4 * (4 * 32) + 3 * 8, 3)


def test_one_image_has_no_interval_and_a_page_says_why_nothing_is_averaged(tmp_path: Path) -> None:
    whole = store_run(tmp_path / "whole", model_entry("mine"))
    for correct, said in ((1, "one image has no interval"), (0, "nothing to take a mean over")):
        right = [number < correct for number in range(whole.record.samples)]
        run = store_run(tmp_path / str(correct), model_entry("mine"), columns={"correct": right})
        page = write_run_page([run], tmp_path / "pages").page.read_text()
        others = {"one image has no interval", "nothing to take a mean over"} - {said}
        assert run.record.correct == correct
        assert said in page
        assert not [other for other in others if other in page]


def test_a_run_without_pictures_has_a_page_all_the_same(tmp_path: Path) -> None:
    run = store_run(tmp_path / "results", model_entry("mine"))
    written = write_run_page([run], tmp_path / "pages")
    assert written.strip is None
    assert "This run kept no pictures" in written.page.read_text()
