"""What a page says in words about a model's runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.schemas.records import Flag
from bench.core.storage.stored_run import StoredRun
from leaderboard.drawing.tiles import Layout, marks
from leaderboard.pages.run import write_run_page
from leaderboard.pages.verdict import in_words
from tests.support.factories import model_entry, store_run


@pytest.fixture
def floor(tmp_path: Path) -> StoredRun:
    return store_run(tmp_path, model_entry("mine"), "random-noise", robustness=0.9)


def test_an_attack_below_the_noise_steers_the_explanation(tmp_path: Path, floor: StoredRun) -> None:
    run = store_run(tmp_path, model_entry("mine"), robustness=0.2)
    words = in_words([floor, run])
    summary, noise = (each.record.headline[each.record.spec.primary_metric] for each in (run, floor))
    assert f"{summary.mean:.2f} [{summary.low:.2f}, {summary.high:.2f}] on average" in words.found
    assert f"noise of the same size leaves {noise.mean:.2f}" in words.found
    assert "can steer the explanation" in words.found
    assert any("Do not take a single heatmap" in each for each in words.todo)
    assert not words.doubts
    assert not words.names


def test_an_attack_like_the_noise_steers_nothing(tmp_path: Path, floor: StoredRun) -> None:
    run = store_run(tmp_path, model_entry("mine"), robustness=0.9, flags=(Flag(name="few", detail="x"),))
    words = in_words([floor, run])
    assert words.found.endswith("no attack here did clearly more damage than random noise.")
    assert any("Try stronger searches" in each for each in words.todo)
    assert any("Read the flags" in each for each in words.todo)


def test_damage_by_another_metric_is_named(tmp_path: Path, floor: StoredRun) -> None:
    run = store_run(tmp_path, model_entry("mine"), robustness=0.9, columns={"topk-intersection": 0.1})
    found = in_words([floor, run]).found
    assert found.endswith(
        "So by kendall no attack here did clearly more damage than random noise, but ifia-topk did by "
        "topk-intersection."
    )


@pytest.mark.parametrize(("correct", "said"), [(2, "only 2 images counted, so"), (1, "only 1 image of 2 counted, bec")])
def test_few_images_are_wrong_ones_only_if_some_are_wrong(
    floor: StoredRun, correct: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.pages.verdict.read_rows", lambda _: floor.rows())
    record = floor.record.model_copy(update={"correct": correct, "samples": 2})
    assert said in " ".join(in_words([StoredRun(record, floor.path)]).todo)


def test_commands_on_a_page_are_code(tmp_path: Path, floor: StoredRun) -> None:
    run = store_run(tmp_path, model_entry("mine"), robustness=0.9, flags=(Flag(name="hidden-curvature", detail="`x`"),))
    page = write_run_page([floor, run], tmp_path / "pages").page.read_text()
    assert "or <code>bench audit</code>." in page
    assert "(<code>bench audit</code>)." in page
    assert "<bdi>`x`</bdi>" in page, "the text of a record stays as it is"


def test_one_image_claims_nothing(tmp_path: Path, floor: StoredRun) -> None:
    def of_one(run: StoredRun) -> StoredRun:
        name, found = run.record.spec.primary_metric, run.record.summaries["correct"]
        alone = found[name].model_copy(update={"n": 1, "low": found[name].mean, "high": found[name].mean})
        summaries = run.record.summaries | {"correct": found | {name: alone}}
        return StoredRun(run.record.model_copy(update={"summaries": summaries}), run.path)

    found = in_words([of_one(floor), of_one(store_run(tmp_path, model_entry("mine"), robustness=0.2))]).found
    assert "One image is too few to say more" in found
    assert "[" not in found
    assert "steer" not in found


def test_the_floor_alone_is_no_attack(floor: StoredRun) -> None:
    assert in_words([floor]).found.startswith("No attack was measured here")


def test_without_a_correct_image_nothing_is_claimed(floor: StoredRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboard.pages.verdict.read_rows", lambda _: floor.rows())
    record = floor.record.model_copy(update={"correct": 0})
    assert in_words([StoredRun(record, floor.path)]).found.startswith("No image is classified correctly")


def test_a_page_repeats_the_command_that_made_it(tmp_path: Path, floor: StoredRun) -> None:
    again = "bench run --model file:mine.toml --images 'My photos'"
    page = write_run_page([floor], tmp_path / "pages", again).page.read_text()
    assert "Make these runs again" in page
    assert "My photos" in page
    assert "Make this run again" not in page


@pytest.mark.parametrize(("side", "cell"), [(28, 9), (32, 8), (64, 6), (128, 6), (224, 1)])
def test_marks_of_large_images_are_single_pixels(side: int, cell: int) -> None:
    assert Layout(1, side, side).cell == cell
    codes = np.zeros((1, side, side, 3), np.uint8)
    codes[:, 0, 0] = 85
    drawn = marks(codes, np.zeros((1, side, side, 3), np.uint8))
    assert drawn.shape == (1, side * cell, side * cell, 3)
    assert tuple(drawn[0, 0, 0]) == (255, 255, 255)
