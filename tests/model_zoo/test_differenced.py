"""Differences of gradients stand in for second derivatives.

On smooth networks they agree with double backward.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.rng import Rng, SampleRng
from model_zoo.build import freeze
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.surrogate import sharpened
from tests.support import broken

LABELS = torch.tensor([0, 2, 3])


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, broken.SIDE, broken.SIDE, generator=Rng(1).generator(), dtype=torch.float64)


@pytest.fixture(scope="module")
def smooth() -> nn.Module:
    layers = [nn.Softplus(beta=4.0) if isinstance(layer, nn.ReLU) else layer for layer in broken.sound()]
    return freeze(nn.Sequential(*layers)).double()


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(nodes=3)], ids=["gradient", "integrated"])
def test_the_pullback_tends_to_that_of_double_backward(
    method: Gradient | IntegratedGradients, smooth: nn.Module, images: Tensor
) -> None:
    rng = SampleRng(Rng(0), ("a", "b", "c"))
    cotangent = torch.randn(images.shape, generator=Rng(2).generator(), dtype=images.dtype)
    expected = method.linearize(smooth, images, LABELS, rng=rng).pullback(cotangent)
    gaps = []
    for factor in (1.0, 8.0, 64.0):
        differenced = Differenced(smooth)
        with sharpened(differenced, factor):
            found = method.linearize(differenced, images, LABELS, rng=rng)
            gaps.append(float((found.pullback(cotangent) - expected).norm() / expected.norm()))
    torch.testing.assert_close(found.attribution, method.attribute(smooth, images, LABELS, rng=rng))
    assert gaps[2] < 1e-6
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2], "central differences: the error falls with the square of the step"


def test_neighbours_do_not_change_an_image(smooth: nn.Module, images: Tensor) -> None:
    def curved(part: Tensor, labels: Tensor) -> Tensor:
        rng = SampleRng(Rng(0), tuple("abc"[: len(part)]))
        return Gradient().linearize(Differenced(smooth), part, labels, rng=rng).pullback(part)

    torch.testing.assert_close(curved(images, LABELS)[:1], curved(images[:1], LABELS[:1]))


def test_a_vector_of_zeros_has_no_curvature(smooth: nn.Module, images: Tensor) -> None:
    rng = SampleRng(Rng(0), ("a", "b", "c"))
    linear = Gradient().linearize(Differenced(smooth), images, LABELS, rng=rng)
    assert linear.pullback(torch.zeros_like(images)).count_nonzero() == 0


def test_the_derivative_by_the_upstream_gradient_is_the_rise_of_logits(smooth: nn.Module, images: Tensor) -> None:
    leaf, weights = images.clone().requires_grad_(), torch.ones(3, broken.CLASSES, dtype=images.dtype).requires_grad_()
    differenced = Differenced(smooth)
    with sharpened(differenced, 64.0):
        logits = differenced(leaf)
        (slope,) = torch.autograd.grad(logits, leaf, weights, create_graph=True)
        (found,) = torch.autograd.grad(slope, weights, images)
    expected = torch.func.jvp(smooth, (images,), (images,))[1]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
