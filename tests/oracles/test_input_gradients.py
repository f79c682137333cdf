"""Losses of input gradients against forward-mode differentiation and finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.autograd.forward_ad as forward_mode
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.build import classifier
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.input_gradients import (
    Score,
    cross_entropy,
    input_gradients,
    loss_of_input_gradients,
    true_logit,
)
from tests.oracles.differences import finite_difference
from tests.support.tiny import tiny_network

LABELS = torch.tensor([1, 7, 4, 0, 4])
SCORES = (true_logit, cross_entropy)


def relu() -> nn.Module:
    return classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).double().eval()


def smooth() -> nn.Module:
    return smooth_copy(relu(), 3.0)


@pytest.fixture
def points() -> Tensor:
    return torch.rand((5, 3, 16, 16), generator=Rng(0).generator(), dtype=torch.float64)


def curved(gradients: Tensor) -> Tensor:
    """A loss that is no function of each gradient alone."""
    return (gradients.abs() * gradients.roll(1, 0)).sum() + gradients.square().sum(0).sqrt().sum()


def derivatives(model: nn.Module, scalar: Tensor) -> list[Tensor]:
    parameters = list(model.parameters())
    found = torch.autograd.grad(scalar, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def along(model: nn.Module, points: Tensor, score: Score, directions: Tensor) -> Tensor:
    """sum_t <grad_x s(x_t), c_t> by one forward pass with tangents."""
    with forward_mode.dual_level():
        logits, tangents = forward_mode.unpack_dual(model(forward_mode.make_dual(points, directions)))
    (slopes,) = torch.autograd.grad(score(logits, LABELS).sum(), logits, create_graph=True)
    return (slopes * tangents).sum()


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("make", [relu, smooth])
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_its_parameter_gradient_is_that_of_forward_mode(
    make: Callable[[], nn.Module], score: Score, chunk: int, points: Tensor
) -> None:
    model = make()
    ours = loss_of_input_gradients(model, points, LABELS, score, curved, chunk=chunk)
    gradients = input_gradients(model, points, LABELS, score).requires_grad_()
    value = curved(gradients)
    (cotangent,) = torch.autograd.grad(value, gradients)
    torch.testing.assert_close(ours, value)
    expected = derivatives(model, along(model, points, score, cotangent))
    assert max(float(g.abs().max()) for g in expected) > 1e-3
    for mine, theirs in zip(derivatives(model, ours), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("chunk", [2, 5])
def test_its_parameter_gradient_is_the_finite_difference(score: Score, chunk: int, points: Tensor) -> None:
    model = smooth()
    weight = next(p for name, p in model.named_parameters() if name.endswith("conv2.weight"))

    def value() -> Tensor:
        return loss_of_input_gradients(model, points, LABELS, score, curved, chunk=chunk)

    (gradient,) = torch.autograd.grad(value(), weight)
    assert gradient.abs().max() > 0
    direction = torch.randn(weight.shape, generator=Rng(1).generator(), dtype=torch.float64)
    slope = (gradient * direction).sum()
    torch.testing.assert_close(slope, finite_difference(value, weight, direction), rtol=1e-4, atol=1e-8)


def test_the_gradient_of_each_point_is_its_own(points: Tensor) -> None:
    model = relu()
    together = input_gradients(model, points, LABELS, cross_entropy)
    for i in range(len(points)):
        alone = input_gradients(model, points[i : i + 1], LABELS[i : i + 1], cross_entropy)
        torch.testing.assert_close(together[i], alone[0])
