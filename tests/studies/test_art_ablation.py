"""ART's ablation: its pieces, and a linear network whose maps cannot move."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
import torch

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.contracts.study import Workplace
from bench.core.errors import ModelOutputError, UsageError
from bench.core.schemas.study import Key
from bench.data.cifar10 import Cifar10
from bench.studies import art_ablation
from bench.studies._ablation import ART, OBJECTIVES, places_of
from bench.studies._registered import network_of
from bench.studies.art_ablation import ArtAblation
from model_zoo.training.objectives.art import Art


class Few(Cifar10):
    """CIFAR-10 with random images in place of its own."""

    def load(self, split: Literal["train", "test"]) -> Split:
        stream = Rng(0).fork(split).generator()
        count = 1040 if split == "train" else 12
        images = torch.randint(256, (count, 3, 32, 32), generator=stream, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 10)


def test_each_setting_comes_once_and_changes_one_thing() -> None:
    pieces = ArtAblation().pieces()
    own = {"objective": ART, "weight": 0.5, "beta": 50.0, "steps": 3, "seed": 0}
    assert pieces[0] == own
    assert len(pieces) == len({tuple(piece.values()) for piece in pieces}) == 5 + 3 + 3 + 2
    assert [sum(piece[key] != own[key] for key in own) for piece in pieces[1:]] == [1] * (len(pieces) - 1)


def test_art_itself_is_in_every_figure_and_others_in_one() -> None:
    places = [places_of(piece) for piece in ArtAblation().pieces()]
    assert places[0] == {"weight": 0.5, "beta": 50.0, "steps": 3.0, "objective": ART}
    assert [len(shown) for shown in places[1:]] == [1] * (len(places) - 1)
    assert {name for shown in places for name in shown} == {"weight", "beta", "steps", "objective"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_takes_art_s_settings(name: str) -> None:
    piece: Key = {"objective": name, "weight": 0.1, "beta": 10.0, "steps": 1, "seed": 0}
    made: Art = registry.instantiate("objectives", ArtAblation()._recipe(piece).objective)
    assert (made.weight, made.beta, made.steps) == (0.1, 10.0, 1)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtAblation:
    """Return an ablation of a linear network on a few random images."""
    monkeypatch.setattr(art_ablation, "dataset_of", lambda _: Few())
    monkeypatch.setattr(art_ablation, "PROTOCOL", "cifar10-smoke-v1")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return ArtAblation(
        parent="natural-linear", train_images=8, batch_size=4, images=4, test_images=12, pgd_images=4, peak=1e-3
    )


def test_maps_of_a_linear_network_stay(tmp_path: Path, study: ArtAblation) -> None:
    beats: list[None] = []
    piece = study.pieces()[0]
    workplace = Workplace("cpu", tmp_path, Rng(0, ("test",)), lambda: beats.append(None))
    trained = study._trained(piece, workplace).state_dict()
    parent = network_of("natural-linear", "cifar10").on(torch.device("cpu")).state_dict()
    assert not all(torch.equal(trained[name], parent[name]) for name in parent), "nothing was trained"
    found = study.measure(piece, workplace)
    assert found.numbers["kendall"] > 0.95, "its map is constant but for rounding"
    assert found.numbers["topk-intersection"] > 0.95
    assert 0 <= found.numbers["accuracy-pgd"] <= 1
    assert {point.figure for point in found.points} == {figure.name for figure in study.card.figures}
    assert len(beats) >= 4
    assert not any("minus" in name for name in found.numbers)
    accuracies = dict.fromkeys(("accuracy-clean", "accuracy-pgd"))
    assert {(point.figure, point.x) for point in found.points if point.figure in accuracies} == {
        (name, float(f"{found.numbers[name]:.6g}")) for name in accuracies
    }


def test_other_settings_are_compared_with_art_image_by_image(tmp_path: Path, study: ArtAblation) -> None:
    workplace = Workplace("cpu", tmp_path, Rng(0, ("test",)), lambda: None)
    art, other = study.pieces()[0], study.pieces()[1]
    found = study.measure(other, workplace).numbers
    trained = len(list(tmp_path.glob("measured-*.safetensors")))
    assert trained == 2, "ART and the other one"
    own, changed = study._measured(art, workplace), study._measured(other, workplace)
    gains = (changed["kendall"] - own["kendall"]).dropna()
    assert len(gains) > 0
    assert found["kendall-minus-art"] == pytest.approx(gains.mean())
    assert found["kendall-minus-art-low"] <= found["kendall-minus-art"] <= found["kendall-minus-art-high"]
    difference = study.measure(other, workplace).numbers["accuracy-clean"] - own["accuracy-clean"].mean()
    assert found["accuracy-clean-minus-art"] == pytest.approx(difference)


@pytest.mark.parametrize(("correct", "kendall"), [(False, 0.5), (True, float("nan"))])
def test_a_network_that_knows_no_image_or_has_constant_maps_is_refused(correct: bool, kendall: float) -> None:
    with pytest.raises(ModelOutputError, match="got none of 3"):
        art_ablation._correct(pd.DataFrame({"correct": [correct] * 3, "kendall": [kendall] * 3}))


def test_differences_of_one_common_image_are_left_out() -> None:
    found = {"kendall": pd.Series([0.2, 0.4], [0, 1]), "accuracy-clean": pd.Series([1.0, 0.0, 1.0])}
    art = {"kendall": pd.Series([0.1], [1]), "accuracy-clean": pd.Series([1.0, 1.0, 1.0])}
    numbers = art_ablation._minus_art(found, art)
    assert numbers.keys() == {f"accuracy-clean-minus-art{end}" for end in ("", "-low", "-high")}


def test_unknown_objectives_are_named() -> None:
    with pytest.raises(UsageError, match=r"expected objectives of ART, .*, got Eq\. 9"):
        ArtAblation(objectives=("ART", "Eq. 9")).pieces()
