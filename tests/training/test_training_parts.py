"""The parts of the training loop against slow oracles.

The parts are rates, splits, crops and the PGD that measures.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.schemas.recipe import Augmentation, Schedule
from model_zoo.training.adversary import linf_pgd
from model_zoo.training.data import augment, fingerprint, hold_out
from model_zoo.training.learning_rate import learning_rate
from model_zoo.training.measure import accuracy, correct, robust_correct
from tests.support.trainings import CPU, random_split


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero(kind: str, warmup: float) -> None:
    schedule = Schedule.model_validate({"kind": kind, "peak": 0.4, "warmup": warmup})
    rates = [learning_rate(schedule, i / 100) for i in range(101)]
    top = round(100 * warmup)
    assert rates[top] == pytest.approx(0.4) == max(rates)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert learning_rate(schedule, (1 + warmup) / 2) == pytest.approx(0.2), "both fall through half the peak midway"
    early = learning_rate(schedule, warmup + (1 - warmup) / 4)
    assert early == pytest.approx(0.3 if kind == "linear" else 0.2 * (1 + math.sqrt(0.5)))


def test_steps_of_the_learning_rate() -> None:
    schedule = Schedule(kind="steps", peak=1.0, milestones=(0.5, 0.75))
    rates = [learning_rate(schedule, done) for done in (0, 0.49, 0.5, 0.74, 0.75, 0.99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("count", [10, 12, 31])
def test_held_out_images_are_stratified_disjoint_and_complete(count: int) -> None:
    split = random_split(120, classes=5)
    parts = hold_out(split, count, Rng(1))
    sizes = Counter(parts.held_out.labels.tolist())
    assert sizes == {c: count // 5 + (c < count % 5) for c in range(5)}
    keys = [[fingerprint(Split(i[None], y[None])) for i, y in zip(*part, strict=True)] for part in parts]
    assert not set(keys[0]) & set(keys[1])
    assert set(keys[0]) | set(keys[1]) == {fingerprint(Split(i[None], y[None])) for i, y in zip(*split, strict=True)}
    assert fingerprint(hold_out(split, count, Rng(1)).held_out) == fingerprint(parts.held_out)
    assert fingerprint(hold_out(split, count, Rng(2)).held_out) != fingerprint(parts.held_out)


def candidates(image: Tensor, pad: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Return every crop of a padded image and its mirror image."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad)
    padded[:, pad : pad + height, pad : pad + width] = image
    found = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + height, left : left + width]
            found[crop.numpy().tobytes()] = (top, left, False)
            if flip:
                found[torch.flip(crop, (2,)).numpy().tobytes()] = (top, left, True)
    return found


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pad", [0, 1, 2])
def test_every_augmented_image_is_a_crop_and_every_crop_occurs(pad: int, flip: bool) -> None:
    images = torch.rand((600, 3, 6, 5), generator=Rng(2).generator())
    wanted = Augmentation(crop_padding=pad, flip=flip)
    out = augment(images, wanted, Rng(3))
    assert torch.equal(out, augment(images, wanted, Rng(3)))
    drawn = Counter(
        candidates(i, pad, flip)[o.contiguous().numpy().tobytes()] for i, o in zip(images, out, strict=True)
    )
    kinds = (2 * pad + 1) ** 2 * (2 if flip else 1)
    assert len(drawn) == kinds
    assert max(drawn.values()) < 3 * 600 / kinds
    if kinds > 1:
        assert not torch.equal(out, augment(images, wanted, Rng(4)))


@pytest.fixture
def trained() -> nn.Module:
    """A linear classifier that separates the three classes of `random_split` somewhat."""
    images, labels = random_split(60)
    flat = images.flatten(1).float() / 255
    layer = nn.Linear(flat.shape[1], 3)
    means = torch.stack([flat[labels == c].mean(0) for c in range(3)])
    with torch.no_grad():
        layer.weight.copy_(means)
        layer.bias.copy_(-(means**2).sum(1) / 2)
    return nn.Sequential(nn.Flatten(), layer).requires_grad_(False)


@pytest.fixture
def floats() -> tuple[Tensor, Tensor]:
    images, labels = random_split(60)
    return images.float() / 255, labels


def test_pgd_stays_in_the_ball_and_raises_the_loss(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    start = torch.rand(images.shape, generator=Rng(1).generator()) * 0.2 - 0.1
    found = linf_pgd(trained, images, labels, start=start, epsilon=0.1, step_size=0.03, steps=10)
    assert (found - images).abs().max() <= 0.1 + 1e-6
    assert (found - images).abs().max() > 0.09
    assert found.min() >= 0
    assert found.max() <= 1
    clean, attacked = (F.cross_entropy(trained(x), labels, reduction="none") for x in (images, found))
    assert (attacked > clean).all()
    still = linf_pgd(trained, images, labels, start=start, epsilon=0.0, step_size=0.03, steps=3)
    assert torch.equal(still, images)


def test_pgd_finds_the_optimum_of_a_linear_two_class_model() -> None:
    weight = torch.randn((1, 12), generator=Rng(2).generator())
    layer = nn.Linear(12, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.cat([weight, -weight]))
    model, images = nn.Sequential(nn.Flatten(), layer), torch.rand((5, 3, 2, 2), generator=Rng(3).generator())
    labels, start = torch.tensor([0, 1, 0, 1, 0]), torch.zeros(5, 3, 2, 2)
    found = linf_pgd(model, images, labels, start=start, epsilon=0.1, step_size=0.05, steps=4)
    away = weight.view(1, 3, 2, 2).sign() * (2 * labels - 1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, (images + 0.1 * away).clamp(0, 1))


def test_robust_correct_is_never_above_correct(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    clean = correct(trained, images, labels, device=CPU)
    assert accuracy(trained, images, labels, device=CPU) == pytest.approx(float(clean.float().mean()))
    counts = []
    for epsilon in (0.0, 0.005, 0.02, 1.0):
        robust = robust_correct(
            trained, images, labels, epsilon=epsilon, step_size=epsilon / 4, steps=10, rng=Rng(0), device=CPU
        )
        assert not (robust & ~clean).any()
        counts.append(int(robust.sum()))
    assert counts[0] == int(clean.sum())
    assert counts == sorted(counts, reverse=True)
    assert counts[1] > counts[-1] == 0


def test_robust_correct_when_nothing_is_correct(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, _ = floats
    wrong = trained(images).argmin(1)
    found = robust_correct(trained, images, wrong, epsilon=0.1, step_size=0.1, steps=2, rng=Rng(0), device=CPU)
    assert not found.any()


def test_robust_correct_reports_progress_to_the_end(trained: nn.Module, floats: tuple[Tensor, Tensor]) -> None:
    images, labels = floats
    seen: list[tuple[int, int]] = []
    robust_correct(
        trained,
        images,
        labels,
        epsilon=0.01,
        step_size=0.01,
        steps=3,
        rng=Rng(0),
        device=CPU,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1]
