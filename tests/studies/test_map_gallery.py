"""The gallery of maps, with small networks whose maps are known."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import nn

from bench.core.compute.rng import Rng
from bench.core.contracts.study import Finding, Workplace
from bench.core.errors import EnvironmentFault, UsageError
from bench.studies import _registered
from bench.studies._gallery import GAP
from bench.studies._removal import edges
from bench.studies.map_gallery import CONTROL, GREYS, PICTURED, MapGallery
from bench.sweeps.study import plan

CHANGES = {"saturation": (2.0, 1024.0), "patch-shuffle": (2.0,)}


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer a linear and a curved network in place of registered ones."""

    def resolved(reference: str) -> Any:
        name = reference.removeprefix("hub:")
        entry = SimpleNamespace(dataset="cifar10", name=name, architecture=SimpleNamespace(name="linear"))
        return entry, reference, Path(name)

    def built(entry: Any, architecture: Any, path: Path, *, device: torch.device) -> nn.Module:
        with Rng(0).ambient():
            first, second = nn.Linear(3072, 16), nn.Linear(16, 10)
        rest = () if entry.name == "linear" else (nn.Tanh(), second)
        return nn.Sequential(nn.Flatten(), first, *rest).requires_grad_(False)

    monkeypatch.setattr(_registered, "resolve", resolved)
    monkeypatch.setattr(_registered, "build", built)


def measured(network: str, tmp_path: Path, **params: Any) -> Finding:
    study = MapGallery(**{"images": 4, "changes": CHANGES, "nodes": 2, **params})
    return study.measure({"network": network}, Workplace("cpu", tmp_path, Rng(0), lambda: None))


def heights(found: Finding) -> dict[tuple[str, float | str], float]:
    return {(point.series, point.x): point.y for point in found.points}


def tiles(found: Finding) -> np.ndarray:
    """Return the (rows, columns, 32, 32, 3) tiles of the picture."""
    with Image.open(io.BytesIO(found.pictures["maps"])) as image:
        pixels = np.asarray(image)
    rows, columns = ((side + GAP) // (32 + GAP) for side in pixels.shape[:2])
    whole = np.pad(pixels, ((0, GAP), (0, GAP), (0, 0))).reshape(rows, 32 + GAP, columns, 32 + GAP, 3)
    return whole.transpose(0, 2, 1, 3, 4)[:, :, :32, :32]


def test_maps_of_a_linear_network_stay_the_same_under_every_change(tmp_path: Path) -> None:
    found = measured("linear", tmp_path)
    assert set(heights(found)) == {
        (method, change)
        for method in ("gradient", "smoothgrad")
        for change in ("saturation 2", "saturation 1024", "patch-shuffle 2")
    }
    assert {point.y for point in found.points if point.series == "gradient"} == {1.0}
    assert {point.over for point in found.points} == {4}
    assert {point.panel for point in found.points} == {"linear"}


def test_only_a_change_that_does_something_moves_the_maps_of_a_curved_network(tmp_path: Path) -> None:
    found = measured("curved", tmp_path)
    assert heights(found)["gradient", "saturation 2"] > 0.999, "level 2 is the identity, up to rounding"
    assert heights(found)["gradient", "saturation 1024"] < 0.9
    for point in found.points:
        assert point.low is not None
        assert point.high is not None
        assert point.low <= point.y <= point.high


def test_the_control_compares_the_edges_of_the_changed_images_as_scipy_does(tmp_path: Path) -> None:
    study, found = MapGallery(images=4, changes=CHANGES), measured(CONTROL, tmp_path)
    images = study._images()
    changed = dict(study._changed(images))
    before, after = (edges((each * 255).round().byte()) for each in (images, changed["saturation 1024"]))
    taus = [
        scipy.stats.kendalltau(a.flatten().numpy(), b.flatten().numpy()).statistic
        for a, b in zip(before, after, strict=True)
    ]
    assert heights(found)["edges", "saturation 1024"] == pytest.approx(np.mean(taus), abs=1e-5)
    assert {point.panel for point in found.points} == {""}, "the control is part of every panel"


def test_the_picture_of_the_control_shows_the_images_row_by_row(tmp_path: Path) -> None:
    found, study = measured(CONTROL, tmp_path), MapGallery(images=4, changes=CHANGES)
    assert list(found.rows) == ["unchanged", "saturation 2", "saturation 1024", "patch-shuffle 2"]
    shown, images = tiles(found), study._images()
    assert shown.shape[:2] == (4, 2 * PICTURED)
    for place in range(PICTURED):
        wanted = (images[place] * 255).round().byte().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown[0, 2 * place], wanted)
    assert set(np.unique(shown[2, 0])) <= {0, 1, 254, 255}, "black or white, up to one grey level"


def test_the_picture_of_a_network_has_its_largest_values_white(tmp_path: Path) -> None:
    shown = tiles(measured("curved", tmp_path))
    assert shown.shape[:2] == (4, 2 * PICTURED)
    assert (shown.max(axis=(2, 3, 4)) == 255).all()
    assert len(np.unique(shown)) <= GREYS
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])


def test_stylised_copies_are_a_row_where_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="prepared image"):
        measured(CONTROL, tmp_path, stylized="0" * 64)


def test_an_attack_that_an_adversary_chooses_is_no_change(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no adversary chose, got pgd-lengths"):
        measured(CONTROL, tmp_path, changes={"pgd-lengths": ()})


def test_more_networks_later_join_the_pieces_that_are_there() -> None:
    few, more = (plan("map-gallery", {"networks": names}) for names in (("art-wrn28",), ("art-wrn28", "pgd-wrn28")))
    assert [piece.id for piece in more.pieces[:2]] == [piece.id for piece in few.pieces]
    assert [piece.spec.piece["network"] for piece in more.pieces] == [CONTROL, "art-wrn28", "pgd-wrn28"]
