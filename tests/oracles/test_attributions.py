"""Attributions against captum, closed forms, and each other."""

from __future__ import annotations

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegratedGradients
from captum.attr import Saliency
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients, Rule, quadrature
from bench.core.compute.rng import Rng, SampleRng
from model_zoo.build import classifier, freeze
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b", "c"))
LABELS = torch.tensor([1, 7, 4])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 32, 32), 0.0, 1.0).double()


@pytest.mark.parametrize(
    ("rule", "captum_name"),
    [("midpoint", "riemann_middle"), ("right-riemann", "riemann_right"), ("gauss-legendre", "gausslegendre")],
)
def test_integrated_gradients_are_captums(model: nn.Module, images: Tensor, rule: Rule, captum_name: str) -> None:
    ours = IntegratedGradients(nodes=7, rule=rule).attribute(model, images, LABELS, rng=RNG)
    captums = CaptumIntegratedGradients(model).attribute(images, target=LABELS, n_steps=7, method=captum_name)
    torch.testing.assert_close(ours, captums, rtol=1e-6, atol=1e-8)


def test_the_gradient_is_captums_signed_saliency(model: nn.Module, images: Tensor) -> None:
    ours = Gradient().attribute(model, images, LABELS, rng=RNG)
    captums = Saliency(model).attribute(images.clone().requires_grad_(), target=LABELS, abs=False)
    torch.testing.assert_close(ours, captums, rtol=1e-6, atol=1e-8)


def test_integrated_gradients_are_complete_in_the_limit(model: nn.Module, images: Tensor) -> None:
    gaps = []
    for nodes in (3, 20, 150):
        method = IntegratedGradients(nodes=nodes)
        attribution = method.attribute(model, images, LABELS, rng=RNG)
        gaps.append(method.completeness_gap(model, images, LABELS, attribution).max())
    assert gaps[0] > gaps[1] > gaps[2]
    with torch.no_grad():
        rise = (model(images) - model(torch.zeros_like(images))).gather(1, LABELS.unsqueeze(1))
    assert gaps[2] < 1e-2 * rise.abs().max()


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("rule", ["midpoint", "right-riemann", "gauss-legendre"])
def test_of_a_linear_model_they_are_image_times_weight(images: Tensor, nodes: int, rule: Rule) -> None:
    linear = freeze(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))).double()
    weight = linear.get_parameter("1.weight")[LABELS].view_as(images)
    ours = IntegratedGradients(nodes=nodes, rule=rule).attribute(linear, images, LABELS, rng=RNG)
    torch.testing.assert_close(ours, images * weight)
    torch.testing.assert_close(Gradient().attribute(linear, images, LABELS, rng=RNG), weight)
    cotangent = torch.randn(images.shape, generator=Rng(1).generator(), dtype=torch.float64)
    pulled = IntegratedGradients(nodes=nodes, rule=rule).pullback(linear, images, LABELS, cotangent, rng=RNG)
    torch.testing.assert_close(pulled, cotangent * weight)
    assert (Gradient().pullback(linear, images, LABELS, cotangent, rng=RNG) == 0).all()


@pytest.mark.parametrize("rule", ["midpoint", "gauss-legendre"])
def test_quadratures_integrate_polynomials(rule: Rule) -> None:
    positions, weights = quadrature(6, rule)
    degrees = range(12) if rule == "gauss-legendre" else range(2)
    for degree in degrees:
        assert (weights * positions**degree).sum() == pytest.approx(1 / (degree + 1))
