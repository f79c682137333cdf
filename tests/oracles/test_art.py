"""The ART objective against a slow per-image form and finite differences."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.objectives.art import Art, class_gradients, paired_triplet
from tests.oracles.art import LABELS, student_of, tiny_classifier, tiny_images


@pytest.fixture
def model() -> nn.Module:
    return tiny_classifier()


@pytest.fixture
def images() -> Tensor:
    return tiny_images()


def slow_triplet(smooth: nn.Module, clean: Tensor, perturbed: Tensor, label: int) -> list[Tensor]:
    """The two losses of one image and its perturbed partner, written out."""
    normalize, network = smooth.children()
    anchors, own, other = [], [], []
    for image in (clean, perturbed):
        point = normalize(image.unsqueeze(0)).detach().requires_grad_()
        logits = network(point)[0]
        scores = logits.tolist()
        rival = max((j for j in range(len(scores)) if j != label), key=lambda j: scores[j])
        own.append(torch.autograd.grad(logits[label], point, retain_graph=True)[0].flatten())
        other.append(torch.autograd.grad(logits[rival], point)[0].flatten())
        anchors.append(point.detach().flatten())
    losses = []
    for anchor in anchors:
        farthest = max(1 - F.cosine_similarity(anchor, g, dim=0) for g in own)
        nearest = min(1 - F.cosine_similarity(anchor, g, dim=0) for g in other)
        losses.append(torch.log1p(torch.exp(farthest - nearest)))
    return losses


def test_the_triplet_pairs_each_image_with_its_partner(model: nn.Module, images: Tensor) -> None:
    smooth, perturbed = smooth_copy(model, 3.0), (images + 0.05).clamp(max=1)
    ours = paired_triplet(smooth, torch.cat([images, perturbed]), LABELS.repeat(2)).detach()
    for i, label in enumerate(LABELS.tolist()):
        clean_loss, perturbed_loss = slow_triplet(smooth, images[i], perturbed[i], label)
        torch.testing.assert_close(ours[i], clean_loss)
        torch.testing.assert_close(ours[i + len(images)], perturbed_loss)


def test_its_parameter_gradient_is_the_finite_difference(model: nn.Module, images: Tensor) -> None:
    smooth = smooth_copy(model, 3.0)
    both, labels = torch.cat([images, (images + 0.05).clamp(max=1)]), LABELS.repeat(2)
    weight = next(p for name, p in smooth.named_parameters() if name.endswith("conv2.weight"))
    (gradient,) = torch.autograd.grad(paired_triplet(smooth, both, labels).mean(), weight)
    direction = torch.randn(weight.shape, generator=Rng(1).generator(), dtype=torch.float64)
    h, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(sign * h * direction)
        values.append(paired_triplet(smooth, both, labels).mean().detach())
        with torch.no_grad():
            weight.sub_(sign * h * direction)
    assert gradient.abs().max() > 0
    torch.testing.assert_close((gradient * direction).sum(), (values[0] - values[1]) / (2 * h), rtol=1e-4, atol=1e-8)


def test_the_runner_up_is_the_largest_other_logit(model: nn.Module, images: Tensor) -> None:
    leaf = images.requires_grad_()
    predicted = model(leaf).argmax(1)
    gradients = class_gradients(model, leaf, LABELS, create_graph=False)
    (top,) = torch.autograd.grad(model(leaf).max(1).values.sum(), leaf)
    for i in range(len(images)):
        chosen = gradients.own if predicted[i] == LABELS[i] else gradients.other
        torch.testing.assert_close(chosen[i], top[i])


def test_the_search_stays_in_the_ball_and_violates_the_triplet_more(model: nn.Module, images: Tensor) -> None:
    objective = Art(steps=5, step_size=Fraction("2/255"), top_k=10**6, beta=3.0)
    student = student_of(model)
    rng = Rng(0).fork("search")
    found = objective.search(student, images, LABELS, rng)
    start = Art(steps=1, step_size=Fraction("0/255"), top_k=10**6, beta=3.0).search(student, images, LABELS, rng)
    assert (found - images).abs().max() <= 8 / 255 + 1e-9
    assert found.min() >= 0
    assert found.max() <= 1
    smooth = smooth_copy(model, 3.0)

    def violation(at: Tensor) -> Tensor:
        return paired_triplet(smooth, torch.cat([at, at]), LABELS.repeat(2)).mean().detach()

    assert violation(found) > violation(start)


def test_without_weight_it_is_cross_entropy_of_the_found_images(model: nn.Module, images: Tensor) -> None:
    objective, student, rng = Art(steps=1, weight=0.0, beta=3.0), student_of(model), Rng(3)
    found = objective.search(student, images, LABELS, rng)
    expected = F.cross_entropy(model(found), LABELS)
    torch.testing.assert_close(objective.loss(student, images, LABELS, rng=rng), expected, check_dtype=False)


def test_modes_come_back_after_the_search(model: nn.Module, images: Tensor) -> None:
    model.train()
    student = student_of(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "running_mean" in name}
    Art(steps=1, beta=3.0).search(student, images, LABELS, Rng(0))
    Art(steps=1, beta=3.0).loss(student, images, LABELS, rng=Rng(0))
    assert model.training
    moved = {name for name, buffer in model.named_buffers() if name in before and not torch.equal(buffer, before[name])}
    assert moved == set(before), "the cross-entropy pass alone moves the batch statistics"
