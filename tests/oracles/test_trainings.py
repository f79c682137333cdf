"""Training objectives against slow per-image forms, closed forms and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from model_zoo.build import classifier
from model_zoo.derivatives.surrogate import second_order_copy, smooth_copy
from model_zoo.training.adversary import l2_ascent, l2_start, linf_pgd, linf_start, prediction_gain
from model_zoo.training.folded import folded
from model_zoo.training.objectives._integrated_gradients import IgObjective, norm_for_search, norm_for_weights
from model_zoo.training.objectives.art import Art
from model_zoo.training.objectives.art_adv import ArtAdv
from model_zoo.training.objectives.fgsm import Fgsm
from model_zoo.training.objectives.gaussian import Gaussian
from model_zoo.training.objectives.gradient_consistency import GradientConsistency
from model_zoo.training.objectives.ig_norm import IgNorm
from model_zoo.training.objectives.ig_sum_norm import IgSumNorm
from model_zoo.training.objectives.l2_pgd import L2Pgd
from model_zoo.training.objectives.natural import Natural
from tests.oracles.differences import finite_difference
from tests.support.tiny import tiny_network

LABELS = torch.tensor([1, 7, 4])
RNG = Rng(3).fork("objective")


@pytest.fixture
def model() -> nn.Module:
    return classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).double().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand((3, 3, 12, 12), generator=Rng(0).generator(), dtype=torch.float64)


@pytest.fixture
def perturbed(images: Tensor) -> Tensor:
    noise = torch.rand(images.shape, generator=Rng(1).generator(), dtype=torch.float64) - 0.5
    return (images + 0.1 * noise).clamp(0, 1)


def student_of(model: nn.Module) -> Student:
    return Student(model, second_order_copy(model), lambda beta: smooth_copy(model, beta), folded(model), nullcontext)


def loss_of(objective: Objective, model: nn.Module, images: Tensor) -> Tensor:
    return objective.loss(student_of(model), images, LABELS, rng=RNG).double()


def inner_weight(model: nn.Module) -> Tensor:
    return next(p for name, p in model.named_parameters() if name.endswith("conv2.weight"))


# Integrated gradients of the loss


def slow_norm(model: nn.Module, image: Tensor, perturbed: Tensor, label: int, nodes: int) -> Tensor:
    """The L1 norm of one image's integrated gradients, point by point."""
    total = torch.zeros_like(image)
    for i in range(1, nodes + 1):
        point = (image + i / nodes * (perturbed - image)).detach().requires_grad_()
        loss = -torch.log_softmax(model(point.unsqueeze(0))[0], 0)[label]
        total += torch.autograd.grad(loss, point)[0]
    return ((perturbed - image) * total / nodes).abs().sum()


def slow_norms(model: nn.Module, images: Tensor, perturbed: Tensor, nodes: int) -> Tensor:
    parts = zip(images, perturbed, LABELS.tolist(), strict=True)
    return torch.stack([slow_norm(model, *part, nodes) for part in parts]).sum()


@pytest.mark.parametrize("norm", [norm_for_search, norm_for_weights])
@pytest.mark.parametrize("nodes", [1, 4])
def test_the_norm_is_the_sum_of_each_images_own(
    norm: Callable[..., Tensor], nodes: int, model: nn.Module, images: Tensor, perturbed: Tensor
) -> None:
    ours = norm(model, images, perturbed.requires_grad_(), LABELS, nodes).detach()
    torch.testing.assert_close(ours, slow_norms(model, images, perturbed.detach(), nodes))


def test_it_bounds_the_change_of_the_loss(model: nn.Module, images: Tensor, perturbed: Tensor) -> None:
    """Completeness: integrated gradients add up to the difference of the losses."""
    before, after = (F.cross_entropy(model(x), LABELS, reduction="none") for x in (images, perturbed))
    norm = norm_for_weights(model, images, perturbed, LABELS, 100)
    assert norm > 0.99 * (after - before).abs().sum()


def test_its_image_gradient_is_the_finite_difference(model: nn.Module, images: Tensor, perturbed: Tensor) -> None:
    smooth = smooth_copy(model, 3.0)
    leaf = perturbed.requires_grad_()

    def value() -> Tensor:
        return norm_for_search(smooth, images, leaf, LABELS, 3)

    (gradient,) = torch.autograd.grad(value(), leaf)
    direction = torch.randn(images.shape, generator=Rng(2).generator(), dtype=torch.float64)
    slope = (gradient * direction).sum()
    torch.testing.assert_close(slope, finite_difference(value, leaf, direction, 1e-7), rtol=1e-4, atol=1e-7)


def test_its_weight_gradient_is_the_finite_difference(model: nn.Module, images: Tensor, perturbed: Tensor) -> None:
    smooth = smooth_copy(model, 3.0)
    weight = inner_weight(smooth)

    def value() -> Tensor:
        return norm_for_weights(smooth, images, perturbed, LABELS, 3)

    (gradient,) = torch.autograd.grad(value(), weight)
    direction = torch.randn(weight.shape, generator=Rng(2).generator(), dtype=torch.float64)
    slope = (gradient * direction).sum()
    assert slope.abs() > 1e-6
    torch.testing.assert_close(slope, finite_difference(value, weight, direction), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("objective", [IgNorm(steps=2, nodes=4, weight=0.7), IgSumNorm(steps=2, nodes=4, weight=0.7)])
def test_the_ig_losses_are_what_their_formulas_say(objective: IgObjective, model: nn.Module, images: Tensor) -> None:
    found = objective.search(student_of(model), images, LABELS, RNG)
    classified = images if isinstance(objective, IgNorm) else found
    expected = F.cross_entropy(model(classified), LABELS) + 0.7 * slow_norms(model, images, found, 4) / len(images)
    torch.testing.assert_close(loss_of(objective, model, images), expected)


@pytest.mark.parametrize("kind", [IgNorm, IgSumNorm])
def test_their_search_stays_in_the_ball_and_raises_what_they_maximise(
    kind: type[IgObjective], model: nn.Module, images: Tensor
) -> None:
    objective = kind(steps=5, step_size=Fraction("2/255"), weight=0.5)
    found = objective.search(student_of(model), images, LABELS, RNG)
    start = (images + linf_start(images, 8 / 255, RNG)).clamp(0, 1)
    assert (found - images).abs().max() <= 8 / 255 + 1e-9
    assert found.min() >= 0
    assert found.max() <= 1

    def maximised(at: Tensor) -> Tensor:
        norm = slow_norms(model, images, at, objective.search_nodes)
        return norm if kind is IgNorm else F.cross_entropy(model(at), LABELS, reduction="sum") + 0.5 * norm

    assert maximised(found) > 1.1 * maximised(start)


# Gradient consistency


def slow_mismatch(objective: GradientConsistency, smooth: nn.Module, clean: Tensor, moved: Tensor) -> Tensor:
    """The penalty for given gradients of the clean images, image by image."""
    normalize, network = smooth.children()
    terms = []
    for i, label in enumerate(LABELS.tolist()):
        point = normalize(moved[i : i + 1]).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(network(point)[0, label], point, create_graph=True)
        a, b = gradient.flatten(), clean[i].flatten()
        angle = 1 - (a @ b) / (a.norm() * b.norm())
        terms.append(objective.l2_weight * (a - b) @ (a - b) + objective.cosine_weight * angle / 2)
    return torch.stack(terms).mean()


def normalized_gradients(smooth: nn.Module, images: Tensor) -> Tensor:
    normalize, network = smooth.children()
    point = normalize(images).detach().requires_grad_()
    return torch.autograd.grad(network(point)[range(3), LABELS].sum(), point)[0]


@pytest.mark.parametrize(("l2_weight", "cosine_weight"), [(0.01, 0.0), (0.0, 0.1), (0.2, 0.3)])
def test_gradient_consistency_is_its_slow_form_with_the_clean_gradient_held_constant(
    l2_weight: float, cosine_weight: float, model: nn.Module, images: Tensor, perturbed: Tensor
) -> None:
    objective = GradientConsistency(l2_weight=l2_weight, cosine_weight=cosine_weight)
    smooth = smooth_copy(model, 3.0)
    clean, weight = normalized_gradients(smooth, images), inner_weight(smooth)
    ours = objective.mismatch(smooth, images, perturbed, LABELS)
    torch.testing.assert_close(ours, slow_mismatch(objective, smooth, clean, perturbed))
    (gradient,) = torch.autograd.grad(ours, weight)
    direction = torch.randn(weight.shape, generator=Rng(2).generator(), dtype=torch.float64)
    expected = finite_difference(lambda: slow_mismatch(objective, smooth, clean, perturbed), weight, direction)
    assert expected.abs() > 1e-7
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-9)


def test_gradient_consistency_adds_its_penalty_to_cross_entropy(model: nn.Module, images: Tensor) -> None:
    objective = GradientConsistency(beta=3.0)
    moved = (images + linf_start(images, 4 / 255, RNG)).clamp(0, 1)
    penalty = objective.mismatch(smooth_copy(model, 3.0), images, moved, LABELS)
    assert penalty > 0
    torch.testing.assert_close(loss_of(objective, model, images), F.cross_entropy(model(images), LABELS) + penalty)


def test_nothing_moved_is_consistent(model: nn.Module, images: Tensor) -> None:
    still = GradientConsistency(epsilon=Fraction("0"), beta=3.0)
    torch.testing.assert_close(loss_of(still, model, images), loss_of(Natural(), model, images))


# Adversaries on the prediction


def test_fgsm_is_one_long_signed_step_from_noise(model: nn.Module, images: Tensor) -> None:
    epsilon = 8 / 255
    start = (images + linf_start(images, epsilon, RNG)).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(start), LABELS), start)
    moved = start.detach() + 1.25 * epsilon * gradient.sign()
    moved = torch.minimum(torch.maximum(moved, images - epsilon), images + epsilon).clamp(0, 1)
    expected = F.cross_entropy(model(moved), LABELS)
    torch.testing.assert_close(loss_of(Fgsm(epsilon=Fraction("8/255")), model, images), expected)


def test_art_with_an_adversarial_loss_lies_between_its_parts(model: nn.Module, images: Tensor) -> None:
    shared: dict[str, Any] = {"steps": 1, "beta": 3.0}
    art = loss_of(Art(**shared), model, images)
    triplet = art - loss_of(Art(weight=0.0, **shared), model, images)
    noise = linf_start(images, 8 / 255, RNG.fork("prediction"))
    found = linf_pgd(model, images, LABELS, start=noise, epsilon=8 / 255, step_size=2 / 255, steps=4)
    adversarial = F.cross_entropy(model(found), LABELS) + triplet
    for share in (0.0, 0.25, 1.0):
        ours = loss_of(ArtAdv(share=share, pgd_steps=4, **shared), model, images)
        torch.testing.assert_close(ours, (1 - share) * art + share * adversarial)


def test_l2_ascent_finds_the_optimum_of_a_linear_two_class_model() -> None:
    weight = torch.randn((1, 12), generator=Rng(2).generator())
    layer = nn.Linear(12, 2, bias=False).requires_grad_(False)
    layer.weight.copy_(torch.cat([weight, -weight]))
    model, labels = nn.Sequential(nn.Flatten(), layer), torch.tensor([0, 1, 0])
    images = 0.4 + 0.2 * torch.rand((3, 3, 2, 2), generator=Rng(3).generator())
    start = l2_start(images, 0.3, Rng(4))
    gain = prediction_gain(model, labels)
    found = l2_ascent(gain, images, start=start, epsilon=0.3, step_size=0.1, steps=40)
    away = (weight / weight.norm()).view(1, 3, 2, 2) * (2 * labels - 1).view(-1, 1, 1, 1)
    torch.testing.assert_close(found, images + 0.3 * away, atol=1e-4, rtol=0)
    bright = torch.ones_like(images)
    clipped = l2_ascent(gain, bright, start=start, epsilon=0.3, step_size=0.1, steps=3)
    assert clipped.max() <= 1
    assert (clipped - bright).flatten(1).norm(dim=1).max() <= 0.3 + 1e-6


def test_l2_pgd_is_cross_entropy_of_what_the_ascent_finds(model: nn.Module, images: Tensor) -> None:
    start = l2_start(images, 0.5, RNG)
    gain = prediction_gain(model, LABELS)
    found = l2_ascent(gain, images, start=start, epsilon=0.5, step_size=0.2, steps=3)
    objective = L2Pgd(epsilon=Fraction("1/2"), step_size=Fraction("1/5"), steps=3)
    loss = loss_of(objective, model, images)
    torch.testing.assert_close(loss, F.cross_entropy(model(found), LABELS))
    assert loss > loss_of(Natural(), model, images)


def test_starts_are_uniform_in_their_balls() -> None:
    images = torch.zeros(4000, 1, 1, 2)
    square, disc = linf_start(images, 0.5, Rng(0)), l2_start(images, 0.5, Rng(0))
    assert square.abs().max() <= 0.5
    assert disc.flatten(1).norm(dim=1).max() <= 0.5 + 1e-6
    for ball, variance in ((square, 0.5**2 / 3), (disc, 0.5**2 / 4)):
        torch.testing.assert_close(ball.flatten(1).var(0), torch.full((2,), variance), rtol=0.05, atol=0)
        assert ball.mean().abs() < 0.02


def test_gaussian_noise_has_its_size_and_none_is_natural(model: nn.Module, images: Tensor) -> None:
    seen = []

    class Watcher(nn.Module):
        def forward(self, noisy: Tensor) -> Tensor:
            seen.append(noisy)
            return model(noisy)

    grey = torch.full((3, 3, 60, 60), 0.5, dtype=torch.float64)
    loss_of(Gaussian(sigma=Fraction("16/255")), Watcher(), grey)
    assert float((seen[-1] - 0.5).std()) == pytest.approx(16 / 255, rel=0.02)
    loss_of(Gaussian(sigma=Fraction("1")), Watcher(), grey)
    assert seen[-1].min() == 0
    assert seen[-1].max() == 1
    torch.testing.assert_close(loss_of(Gaussian(sigma=Fraction("0")), model, images), loss_of(Natural(), model, images))
