"""Removing and retraining on made images whose informative pixels are known."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import sobel
from torch import Tensor

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset, Split
from bench.core.contracts.study import Finding, Workplace
from bench.core.errors import UsageError
from bench.studies._removal import area, edges, removal_order, without
from bench.studies.retrain import Retrain

SIDE, CLASSES = 10, 5
INFORMATIVE = torch.randperm(SIDE**2, generator=Rng(0).generator())[: SIDE**2 // 10]
"""Ten of the hundred pixels, two per class: those of an image's class are bright."""


class Coded(Dataset):
    """Noise, except for a tenth of the pixels."""

    classes: ClassVar[tuple[str, ...]] = tuple("abcde")
    shape: ClassVar[tuple[int, int, int] | None] = (1, SIDE, SIDE)
    mean: ClassVar[tuple[float, ...]] = (0.5,)
    std: ClassVar[tuple[float, ...]] = (0.3,)
    epsilon: ClassVar[Fraction] = Fraction(1, 10)

    def load(self, split: Literal["train", "test"]) -> Split:
        generator, count = Rng(1).fork(split).generator(), 400
        images = torch.randint(256, (count, SIDE**2), generator=generator)
        labels = torch.arange(count) % CLASSES
        images[:, INFORMATIVE] = 255 * (torch.arange(10)[None] // 2 == labels[:, None]).long()
        return Split(images.to(torch.uint8).view(count, 1, SIDE, SIDE), labels)

    def is_stored(self) -> bool:
        return True


@pytest.fixture
def coded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def known(self: Retrain, network: str, attribution: str, workplace: Workplace) -> dict[str, Tensor]:
        heatmap = torch.zeros(SIDE**2).index_fill(0, INFORMATIVE, 1.0).view(SIDE, SIDE)
        return {"0": heatmap.expand(400, -1, -1), "1": heatmap.expand(400, -1, -1)}

    monkeypatch.setattr(Retrain, "_heatmaps", known)
    with registry.offering("datasets", "coded", Coded):
        yield


STUDY = Retrain(
    dataset="coded", networks=("natural-linear",), attributions=("gradient", "random", "edges"), seeds=1,
    shares=(0.1, 0.5, 0.9), train_images=400, test_images=400, architecture="linear", epochs=5, peak=0.05,
)  # fmt: skip


def found(study: Retrain, folder: Path, attribution: str = "gradient") -> Finding:
    network = "none" if attribution in {"random", "edges"} else "natural-linear"
    place = Workplace("cpu", folder, Rng(0).fork("piece"), lambda: None)
    return study.measure({"network": network, "attribution": attribution, "seed": 0}, place)


def test_an_attribution_that_knows_the_informative_pixels_is_told_from_chance(coded: None, tmp_path: Path) -> None:
    known, chance = found(STUDY, tmp_path).numbers, found(STUDY, tmp_path, "random").numbers
    assert known["clean"] > 0.95
    assert known["roar-0.1"] < 0.35  # all that is informative is gone at once; guessing is right in 1 of 5
    assert known["kar-0.9"] > 0.95  # all that is informative is left to the end
    assert chance["roar-0.1"] > 0.9
    assert chance["roar-0.5"] > 0.6
    assert known["roar-area"] > 0.25
    assert known["kar-area"] > 0.05
    assert (chance["roar-area"], chance["kar-area"]) == (0.0, 0.0)


def test_curves_have_their_panel_and_the_trade_off_names_the_network(coded: None, tmp_path: Path) -> None:
    own, control = found(STUDY, tmp_path), found(STUDY, tmp_path, "edges")
    roar = [point for point in own.points if point.figure == "roar"]
    assert [point.x for point in roar] == [0.0, 0.1, 0.5, 0.9]
    assert {point.panel for point in roar} == {"natural-linear"}
    assert {point.panel for point in control.points} == {""}
    (spot,) = [point for point in own.points if point.figure == "roar-trade-off"]
    assert spot.label == "natural-linear"
    assert spot.y == pytest.approx(own.numbers["roar-area"], rel=1e-5)
    assert spot.x == registry.load("models", "natural-linear").accuracy.clean
    sheet = Image.open(io.BytesIO(own.pictures["gradient"]))
    assert sheet.size == (8 * (SIDE + 2) - 2, 6 * (SIDE + 2) - 2)


def test_the_same_piece_gives_the_same_numbers_with_and_without_the_cache(coded: None, tmp_path: Path) -> None:
    first, cached, fresh = found(STUDY, tmp_path / "a"), found(STUDY, tmp_path / "a"), found(STUDY, tmp_path / "b")
    assert first == cached == fresh


def test_shares_must_rise_between_0_and_1(coded: None, tmp_path: Path) -> None:
    for shares in ((0.5, 0.1), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(UsageError, match="rising shares between 0 and 1"):
            found(Retrain(dataset="coded", shares=shares), tmp_path)


def test_pieces_name_each_control_once() -> None:
    pieces = Retrain(seeds=2).pieces()
    assert len(pieces) == 2 * (4 * 3 + 2)
    assert [p["attribution"] for p in pieces if p["network"] == "none"] == ["random", "random", "edges", "edges"]
    assert Retrain().models(pieces[0]) == ("natural-small-cnn",)
    assert Retrain().models({"network": "none", "attribution": "edges", "seed": 0}) == ()


def test_orders_are_numpys_and_break_ties_at_random() -> None:
    maps = torch.rand(3, 4, 5, generator=Rng(0).generator())
    ranks = removal_order(maps, Rng(1))
    expected = np.argsort(np.argsort(-maps.flatten(1).numpy(), axis=1), axis=1)
    assert (ranks.flatten(1).numpy() == expected).all()
    tied = removal_order(torch.zeros(2000, 2, 2), Rng(2)).flatten(1)
    assert (tied.sort(1).values == torch.arange(4)).all()
    assert ((tied.float().mean(0) - 1.5).abs() < 0.1).all()


def test_removal_replaces_exactly_the_share_by_the_colour() -> None:
    images = torch.randint(1, 256, (2, 3, 10, 10), generator=Rng(0).generator()).to(torch.uint8)
    ranks = removal_order(torch.rand(2, 10, 10, generator=Rng(1).generator()), Rng(2))
    for most in (True, False):
        changed = without(images, ranks, 0.3, most=most, fill=(0.0, 0.5, 1.0))
        gone = ranks < 30 if most else ranks >= 70
        assert int(gone.sum()) == 60
        assert (changed.permute(0, 2, 3, 1)[gone] == torch.tensor([0, 128, 255])).all()
        assert (changed.permute(0, 2, 3, 1)[~gone] == images.permute(0, 2, 3, 1)[~gone]).all()
    assert (without(images, ranks, 0.0, most=False, fill=(0, 0, 0)) == images).all()


def test_edges_are_scipys() -> None:
    images = torch.randint(256, (2, 3, 6, 7), generator=Rng(0).generator()).to(torch.uint8)
    for image, found_edges in zip(images, edges(images), strict=True):
        grey = image.double().mean(0).numpy() / 255
        expected = np.hypot(sobel(grey, 0, mode="nearest"), sobel(grey, 1, mode="nearest"))
        np.testing.assert_allclose(found_edges.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_areas_are_those_of_polygons() -> None:
    assert area((0, 0.5, 1), (1, 1, 0)) == 0.75
    assert area((0, 0.1, 1), (0, 0, 0)) == 0
