"""The objectives of ART's ablation against slow per-image forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.objectives.alignment import Alignment
from model_zoo.training.objectives.art import Art
from model_zoo.training.objectives.art_perturbed import ArtPerturbed
from model_zoo.training.objectives.map_change import MapChange
from tests.oracles.art import LABELS, student_of, tiny_classifier, tiny_images

Slow = Callable[[nn.Module, Tensor, Tensor, int], Tensor]
"""Network, normalised clean and found image (1, C, H, W) and label to the loss of one image."""


def gradient(network: nn.Module, image: Tensor, index: int) -> Tensor:
    point = image.detach().requires_grad_()
    (found,) = torch.autograd.grad(network(point)[0, index], point)
    return found.flatten()


def rival(network: nn.Module, image: Tensor, label: int) -> int:
    scores = network(image)[0].tolist()
    return max((k for k in range(len(scores)) if k != label), key=lambda k: scores[k])


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    return 1 - a.flatten() @ b.flatten() / (a.norm() * b.norm())


def slow_cosine(network: nn.Module, clean: Tensor, found: Tensor, label: int) -> Tensor:
    return cosine_distance(found, gradient(network, found, label))


def slow_l2(network: nn.Module, clean: Tensor, found: Tensor, label: int) -> Tensor:
    return (found.flatten() - gradient(network, found, label)).square().sum().sqrt()


def slow_triplet(network: nn.Module, clean: Tensor, found: Tensor, label: int) -> Tensor:
    own, other = (gradient(network, found, k) for k in (label, rival(network, found, label)))
    return torch.log1p(torch.exp(cosine_distance(found, own) - cosine_distance(found, other)))


def slow_change(network: nn.Module, clean: Tensor, found: Tensor, label: int) -> Tensor:
    before, after = gradient(network, clean, label), gradient(network, found, label)
    return (after - before).square().sum().sqrt() / before.square().sum().sqrt()


CASES: list[tuple[Art, Slow]] = [
    (Alignment(measure="cosine", beta=3.0), slow_cosine),
    (Alignment(measure="l2", beta=3.0), slow_l2),
    (ArtPerturbed(beta=3.0), slow_triplet),
    (MapChange(beta=3.0), slow_change),
]
cases = pytest.mark.parametrize(("objective", "slow"), CASES, ids=["cosine", "l2", "triplet", "change"])


def losses(objective: Art, smooth: nn.Module, images: Tensor, found: Tensor) -> Tensor:
    return objective.attribution_loss(smooth, torch.cat([images, found]), LABELS.repeat(2))


@cases
def test_the_loss_is_that_of_one_image_at_a_time(objective: Art, slow: Slow) -> None:
    smooth, images = smooth_copy(tiny_classifier(), 3.0), tiny_images()
    found = (images + 0.05).clamp(max=1)
    normalize, network = smooth.children()
    expected = [
        slow(network, normalize(images[[i]]), normalize(found[[i]]), label).detach()
        for i, label in enumerate(LABELS.tolist())
    ]
    torch.testing.assert_close(losses(objective, smooth, images, found).detach(), torch.stack(expected))


@cases
def test_its_parameter_gradient_is_the_finite_difference(objective: Art, slow: Slow) -> None:
    smooth, images = smooth_copy(tiny_classifier(), 3.0), tiny_images()
    found = (images + 0.05).clamp(max=1)
    weight = next(p for name, p in smooth.named_parameters() if name.endswith("conv2.weight"))
    (ours,) = torch.autograd.grad(losses(objective, smooth, images, found).mean(), weight)
    direction = torch.randn(weight.shape, generator=Rng(1).generator(), dtype=torch.float64)
    step, values = 1e-6, []
    begun = weight.detach().clone()
    for sign in (1, -1):
        with torch.no_grad():
            weight.copy_(begun + sign * step * direction)
        values.append(losses(objective, smooth, images, found).mean().detach())
    assert ours.abs().max() > 0
    torch.testing.assert_close((ours * direction).sum(), (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=1e-8)


@cases
def test_the_search_raises_the_loss_within_the_ball(objective: Art, slow: Slow) -> None:
    images, student = tiny_images(), student_of(tiny_classifier())
    searching = replace(objective, steps=5, step_size=Fraction("2/255"), top_k=10**6)
    still = replace(searching, steps=1, step_size=Fraction(0))
    rng = Rng(0).fork("search")
    start, found = (each.search(student, images, LABELS, rng) for each in (still, searching))
    assert (found - images).abs().max() <= 8 / 255 + 1e-9
    assert 0 <= found.min() <= found.max() <= 1
    smooth = student.smooth(3.0)
    assert losses(objective, smooth, images, found).mean() > losses(objective, smooth, images, start).mean()


def test_the_published_loss_is_never_below_that_of_the_perturbed_images() -> None:
    smooth, images = smooth_copy(tiny_classifier(), 3.0), tiny_images()
    found = (images + 0.05).clamp(max=1)
    whole, alone = (losses(each(beta=3.0), smooth, images, found) for each in (Art, ArtPerturbed))
    assert (whole[len(images) :] >= alone - 1e-12).all()
