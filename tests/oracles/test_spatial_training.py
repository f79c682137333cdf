"""Flow fields of spatially transformed adversarial training."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Student
from model_zoo.build import classifier
from model_zoo.derivatives.surrogate import second_order_copy, smooth_copy
from model_zoo.training.folded import folded
from model_zoo.training.objectives.st_at import StAt, displaced, roughness
from tests.oracles.differences import finite_difference
from tests.support.tiny import tiny_network

LABELS = torch.tensor([1, 7, 4])


@pytest.fixture
def images() -> Tensor:
    return torch.rand((3, 3, 12, 10), generator=Rng(0).generator(), dtype=torch.float64)


@pytest.fixture
def flow() -> Tensor:
    """Places between pixels, where bilinear reading has a derivative."""
    generator = Rng(1).generator()
    return 0.1 + 0.8 * torch.rand((3, 2, 12, 10), generator=generator, dtype=torch.float64)


def student() -> Student:
    model = classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).double().eval()
    return Student(model, second_order_copy(model), lambda beta: smooth_copy(model, beta), folded(model), nullcontext)


def constant(images: Tensor, right: float, down: float) -> Tensor:
    return torch.tensor([right, down]).to(images).view(1, 2, 1, 1).expand(len(images), -1, *images.shape[2:])


def test_the_zero_flow_is_the_identity(images: Tensor) -> None:
    torch.testing.assert_close(displaced(images, constant(images, 0, 0)), images)


def test_a_constant_flow_of_whole_pixels_is_a_translation(images: Tensor) -> None:
    padded = F.pad(images, (0, 3, 2, 0), mode="replicate")
    torch.testing.assert_close(displaced(images, constant(images, 3, -2)), padded[:, :, :12, 3:])


def test_half_a_pixel_is_the_mean_of_two(images: Tensor) -> None:
    moved = displaced(images, constant(images, 0.5, 0))
    torch.testing.assert_close(moved[..., :-1], (images[..., 1:] + images[..., :-1]) / 2)


def test_its_flow_gradient_is_the_finite_difference(images: Tensor, flow: Tensor) -> None:
    network = smooth_copy(student().model, 3.0)
    leaf = flow.requires_grad_()

    def value() -> Tensor:
        return F.cross_entropy(network(displaced(images, leaf)), LABELS) - 0.3 * roughness(leaf).sum()

    (gradient,) = torch.autograd.grad(value(), leaf)
    direction = torch.randn(flow.shape, generator=Rng(2).generator(), dtype=torch.float64)
    slope = (gradient * direction).sum()
    assert slope.abs() > 1e-4
    torch.testing.assert_close(slope, finite_difference(value, leaf, direction, 1e-7), rtol=1e-4, atol=1e-7)


def test_roughness_is_the_sum_over_neighbours_pixel_by_pixel(flow: Tensor) -> None:
    height, width = flow.shape[2:]
    slow = torch.zeros(len(flow), dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                if 0 <= k < height and 0 <= m < width:
                    slow += (flow[:, :, i, j] - flow[:, :, k, m]).norm(dim=1)
    torch.testing.assert_close(roughness(flow), slow / (height * width))


def test_the_search_raises_the_cross_entropy_within_its_reach(images: Tensor) -> None:
    learner, objective = student(), StAt(steps=4, step_size=0.3, reach=0.7)
    flow = objective.search(learner, images, LABELS)
    assert 0.3 < flow.abs().max() <= 0.7
    before, after = (F.cross_entropy(learner.model(each), LABELS) for each in (images, displaced(images, flow)))
    assert after > before


def test_a_first_step_has_the_length_that_it_says(images: Tensor) -> None:
    flow = StAt(steps=1, step_size=0.2, reach=50.0).search(student(), images, LABELS)
    torch.testing.assert_close(flow.square().sum(1).mean((1, 2)).sqrt(), torch.full((3,), 0.2).double())


def test_smoothness_makes_the_flow_smoother(images: Tensor) -> None:
    rough, smooth = (StAt(steps=4, smoothness=weight).search(student(), images, LABELS) for weight in (0.0, 1.0))
    assert (roughness(smooth) < roughness(rough)).all()


def test_the_loss_is_that_of_the_moved_images(images: Tensor) -> None:
    learner, objective = student(), StAt()
    moved = displaced(images, objective.search(learner, images, LABELS))
    loss = objective.loss(learner, images, LABELS, rng=Rng(0))
    torch.testing.assert_close(loss.double(), F.cross_entropy(learner.model(moved), LABELS))


def test_no_gradient_moves_nothing(images: Tensor) -> None:
    def silence(part: nn.Module) -> None:
        if isinstance(part, nn.Linear):
            part.weight.data.zero_()

    learner = student()
    learner.model.apply(silence)
    assert not StAt().search(learner, images, LABELS).any()
