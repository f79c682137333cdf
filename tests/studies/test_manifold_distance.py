"""Distances to a manifold against closed forms, with a small generator."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import Tensor, nn

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset, Split
from bench.core.contracts.study import Workplace
from bench.core.errors import UsageError
from bench.studies import _registered, _vae_gan, manifold_distance
from bench.studies._manifold import SCALE, project, sheet
from bench.studies._vae_gan import Recipe, VaeGan, generator
from bench.studies.manifold_distance import ManifoldDistance

SMALL = Recipe(side=8, channels=1, latent=2, depth=1, width=4, images_seen=320, reconstruction=1.0)


def workplace(folder: Path) -> Workplace:
    return Workplace("cpu", folder, Rng(0), lambda: None)


def blobs(count: int, purpose: str) -> Split:
    """Images of one bright square, whose class is its half."""
    places = torch.randint(7, (count, 2), generator=Rng(3).fork(purpose).generator())
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    for image, (row, column) in zip(images, places.tolist(), strict=True):
        image[0, row : row + 2, column : column + 2] = 255
    return Split(images, (places[:, 0] > 3).long())


class Blobs(Dataset):
    """Small images in memory."""

    classes: ClassVar[tuple[str, ...]] = ("upper", "lower")
    shape: ClassVar[tuple[int, int, int] | None] = (1, 8, 8)
    mean: ClassVar[tuple[float, ...]] = (0.0,)
    std: ClassVar[tuple[float, ...]] = (1.0,)
    epsilon: ClassVar[Fraction] = Fraction(1, 10)

    def load(self, split: Literal["train", "test"]) -> Split:
        return blobs(128 if split == "train" else 20, split)

    def is_stored(self) -> bool:
        return True


def linear_manifold() -> tuple[Tensor, Tensor, Tensor]:
    """A plane in 12 dimensions, and points beside it."""
    rng = Rng(1)
    basis = torch.randn(12, 2, generator=rng.fork("basis").generator())
    offset = torch.rand(12, generator=rng.fork("offset").generator())
    return basis, offset, torch.rand(5, 12, generator=rng.fork("points").generator())


def test_projection_on_a_plane_is_that_of_least_squares() -> None:
    basis, offset, points = linear_manifold()

    def decode(latents: Tensor) -> Tensor:
        return (latents @ basis.T + offset).view(-1, 3, 2, 2)

    starts = torch.randn((5, 3, 2), generator=Rng(2).generator())
    found = project(decode, points.view(-1, 3, 2, 2), starts, steps=300, step_size=0.1)
    solved, *_ = np.linalg.lstsq(basis.numpy(), (points - offset).T.numpy(), rcond=None)
    nearest = solved.T @ basis.T.numpy() + offset.numpy()
    assert np.allclose(found.images.flatten(1).numpy(), nearest, atol=1e-3)
    assert np.allclose(found.distances.numpy(), np.linalg.norm(points.numpy() - nearest, axis=1), atol=1e-4)


def test_several_starts_find_the_nearer_of_two_valleys() -> None:
    def decode(latents: Tensor) -> Tensor:
        return torch.stack([latents[:, 0] ** 2, 0.3 * latents[:, 0]], dim=1).view(-1, 2, 1, 1)

    image, starts = torch.tensor([1.0, 0.3]).view(1, 2, 1, 1), torch.tensor([[[-1.0], [1.2]]])
    alone = project(decode, image, starts[:, :1], steps=200, step_size=0.05)
    both = project(decode, image, starts, steps=200, step_size=0.05)
    assert alone.distances > 0.4
    assert both.distances < 1e-3
    assert torch.allclose(both.images, image, atol=1e-3)


def test_an_image_is_projected_alike_alone_and_among_others() -> None:
    model = VaeGan(SMALL).eval().requires_grad_(False)
    images, starts = torch.rand(3, 1, 8, 8, generator=Rng(4).generator()), torch.zeros(3, 2, 2)
    starts[:, 1] = 1
    together = project(model.decoder, images, starts, steps=20, step_size=0.1)
    alone = project(model.decoder, images[1:2], starts[1:2], steps=20, step_size=0.1)
    assert torch.allclose(together.distances[1:2], alone.distances, atol=1e-4)


def test_training_a_generator_lowers_its_error(tmp_path: Path) -> None:
    split = blobs(128, "train")
    images = split.images / 255

    def error(seen: int) -> float:
        model = generator(Recipe(**{**vars(SMALL), "images_seen": seen}), split, workplace(tmp_path))
        return float((model.decoder(model.encode(images)[0]) - images).square().mean())

    assert error(64 * 250) < 0.4 * error(64)


def test_a_killed_training_continues_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, whole = blobs(128, "train"), generator(SMALL, blobs(128, "train"), workplace(tmp_path / "whole"))
    monkeypatch.setattr(_vae_gan, "KEPT_EVERY", 2)
    beats = iter(range(3))

    def beat() -> None:
        next(beats)

    with pytest.raises(StopIteration):
        generator(SMALL, split, Workplace("cpu", tmp_path / "killed", Rng(0), beat))
    continued = generator(SMALL, split, workplace(tmp_path / "killed"))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), continued.state_dict().values(), strict=True)
    )


def test_the_parts_of_a_generator_learn_from_their_own_losses(tmp_path: Path) -> None:
    images = blobs(8, "train").images / 255
    found = []
    for weight in (0.0, 1.0):
        with Rng(5).ambient():
            model = VaeGan(SMALL)
        optimizers = [torch.optim.SGD(part.parameters(), lr=1.0) for part in model.children()]
        recipe = Recipe(**{**vars(SMALL), "reconstruction": weight})
        _vae_gan._step(model, optimizers, images, Rng(6), recipe)  # type: ignore[arg-type]
        found.append({name: p.grad for name, p in model.named_parameters()})
    without, with_error = found
    for name, gradient in without.items():
        assert torch.equal(gradient, with_error[name]) == (not name.startswith("decoder")), name  # type: ignore[arg-type]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManifoldDistance]:
    """A study of two networks, one without gradient."""

    def resolved(reference: str) -> Any:
        name = reference.removeprefix("hub:")
        entry = {"dataset": "mnist", "name": name, "architecture": SimpleNamespace(name="linear")}
        return SimpleNamespace(**entry, weights=SimpleNamespace(sha256=name)), reference, Path(name)

    def built(entry: Any, architecture: Any, path: Path, *, device: torch.device) -> nn.Module:
        with Rng(0).ambient():
            layer = nn.Linear(64, 2)
        network = nn.Sequential(nn.Flatten(), layer).requires_grad_(False)
        return network if entry.name == "weak" else network.apply(zero)

    monkeypatch.setattr(_registered, "resolve", resolved)
    monkeypatch.setattr(_registered, "build", built)
    monkeypatch.setitem(manifold_distance.PRESETS, "mnist", manifold_distance.Preset((), 2, 1))
    with registry.offering("datasets", "mnist", Blobs):
        yield ManifoldDistance(
            networks=("weak", "constant"), images=12, epsilon=1.0, attack_steps=4, starts=2, search_steps=15,
            images_seen=640, width=4,
        )  # fmt: skip


def zero(part: nn.Module) -> None:
    if isinstance(part, nn.Linear):
        part.weight.zero_()


def test_a_network_without_gradient_adds_no_distance(study: ManifoldDistance, tmp_path: Path) -> None:
    weak, constant = (study.measure(piece, workplace(tmp_path)) for piece in study.pieces())
    assert constant.numbers["excess"] == 0
    assert 0 < abs(weak.numbers["excess"]) <= study.epsilon
    assert weak.numbers["clean-distance"] == constant.numbers["clean-distance"]
    assert "minus-natural" not in weak.numbers
    assert constant.numbers["minus-natural"] == pytest.approx(-weak.numbers["excess"], abs=1e-6)


def test_intervals_are_students_of_the_paired_differences(study: ManifoldDistance, tmp_path: Path) -> None:
    weak, constant = (study.measure(piece, workplace(tmp_path)) for piece in study.pieces())
    first, second = (
        np.array([p.y for p in found.points if (p.figure, p.series) == ("distance", "adversarial")])
        for found in (weak, constant)
    )
    wanted = scipy.stats.ttest_rel(second, first).confidence_interval(0.95)
    numbers = constant.numbers
    assert (numbers["minus-weaker-low"], numbers["minus-weaker-high"]) == pytest.approx(tuple(wanted), rel=1e-5)


def test_points_and_gallery_of_a_piece(study: ManifoldDistance, tmp_path: Path) -> None:
    found = study.measure(study.pieces()[0], workplace(tmp_path))
    assert {point.figure for point in found.points} == {figure.name for figure in study.card.figures}
    assert len(found.points) == 3 * study.images
    (picture,) = found.pictures.values()
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (5 * 8 * SCALE, manifold_distance.PICTURED * 8 * SCALE)


def test_models_of_a_piece_are_those_that_it_compares() -> None:
    study = ManifoldDistance(dataset="cifar10")
    assert study.models({"network": "natural-wrn28"}) == ("natural-wrn28",)
    assert study.models({"network": "at1-wrn28"}) == ("at1-wrn28", "natural-wrn28")
    assert study.models({"network": "pgd-wrn28"}) == ("pgd-wrn28", "natural-wrn28", "at4-wrn28")


def test_a_network_of_other_images_is_refused(tmp_path: Path) -> None:
    study = ManifoldDistance(networks=("natural-wrn28",))
    with pytest.raises(UsageError, match="expected a network of mnist, got natural-wrn28 of cifar10"):
        study._attacked("natural-wrn28", VaeGan(SMALL), workplace(tmp_path))


def test_a_sheet_shows_one_row_per_image() -> None:
    left, right = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    with Image.open(io.BytesIO(sheet([left, right]))) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (4 * SCALE, 4 * SCALE, 3)
    assert (pixels[:, : 2 * SCALE] == 0).all()
    assert (pixels[:, 2 * SCALE :] == 255).all()
