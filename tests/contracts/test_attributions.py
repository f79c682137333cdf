"""The contract of every attribution method.

It gives a deterministic value per image and its exact pullback to the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.chunks import forward
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.errors import BenchError, UsageError
from model_zoo.build import freeze
from model_zoo.derivatives.surrogate import Followed
from tests.contracts.conftest import CLASSES, SIDE, instance, tiny_classifier
from tests.support.transformers import tiny_transformer

Explain = Callable[..., Tensor]


NAMES = registry.names("attributions")
DIFFERENTIABLE = [name for name in NAMES if registry.load("attributions", name).differentiable]
OPAQUE = sorted({*NAMES} - {*DIFFERENTIABLE})
EXACT = [name for name in DIFFERENTIABLE if registry.load("attributions", name).exact_pullback]
differentiable = pytest.mark.parametrize("method", DIFFERENTIABLE, indirect=True)


@pytest.fixture(params=NAMES)
def method(request: pytest.FixtureRequest) -> AttributionMethod:
    made = instance("attributions", request.param)
    assert isinstance(made, AttributionMethod)
    many = {key: 20 for key, value in vars(made).items() if type(value) is int and value > 200}
    return replace(made, **many) if many else made  # type: ignore[type-var]


@pytest.fixture
def network(method: AttributionMethod, network: nn.Module) -> nn.Module:
    """The contract's network, or a transformer for methods that read tokens."""
    return tiny_transformer(SIDE, classes=CLASSES) if method.needs_attention else network


@pytest.fixture
def smooth64(method: AttributionMethod, smooth64: nn.Module) -> nn.Module:
    """Its smooth surrogate in float64."""
    return Followed(tiny_transformer(SIDE, classes=CLASSES), 3.0).double() if method.needs_attention else smooth64


@pytest.fixture
def images64(images: Tensor) -> Tensor:
    return images.double()


@pytest.fixture
def cotangent(rng: SampleRng, images64: Tensor) -> Tensor:
    return rng.fork("cotangent").normal(tuple(images64.shape[1:])).double()


def test_the_value_has_the_images_shape_is_finite_and_has_no_graph(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    before = images.clone()
    attribution = method.attribute(network, images, labels, rng=rng)
    assert attribution.shape == images.shape
    assert attribution.dtype == images.dtype
    assert torch.isfinite(attribution).all()
    assert not attribution.requires_grad
    assert attribution.abs().flatten(1).amax(1).gt(0).all()
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_value_is_deterministic_and_no_image_depends_on_its_neighbours(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    together = method.attribute(network, images, labels, rng=rng)
    assert torch.equal(method.attribute(network, images, labels, rng=rng), together)
    for i in range(len(images)):
        alone = method.attribute(network, images[i : i + 1], labels[i : i + 1], rng=rng.select([i]))
        assert torch.equal(alone[0], together[i])


def test_only_a_method_that_says_so_draws_random_numbers(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    own, other = (method.attribute(network, images, labels, rng=streams) for streams in (rng, rng.fork("other")))
    assert torch.equal(own, other) != method.random


def test_the_explained_class_matters(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    own, next_class = (method.attribute(network, images, y, rng=rng) for y in (labels, (labels + 1) % 4))
    assert (own - next_class).flatten(1).abs().amax(1).gt(0).all() == method.class_specific


def test_a_method_that_reads_tokens_refuses_other_networks(
    method: AttributionMethod, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    plain = freeze(tiny_classifier("network"))
    if method.needs_attention:
        with pytest.raises(UsageError, match=r"expected a (transformer|network of patch tokens)"):
            method.attribute(plain, images, labels, rng=rng)
    else:
        assert method.attribute(plain, images, labels, rng=rng).shape == images.shape


@pytest.mark.parametrize("method", OPAQUE, indirect=True)
def test_a_method_without_a_way_back_says_so(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    with pytest.raises(BenchError, match="expected a differentiable attribution"):
        method.linearize(network, images, labels, rng=rng)
    with pytest.raises(BenchError, match="attack it by transfer"):
        method.attribute(network, images, labels, rng=rng, create_graph=True)


@pytest.mark.parametrize("name", NAMES)
def test_attacks_with_gradients_have_a_method_to_search_through(name: str) -> None:
    assert registry.load("attributions", name).substitute in DIFFERENTIABLE


@differentiable
def test_linearize_with_a_graph_and_without_agree_on_the_value(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    attribution = method.attribute(network, images, labels, rng=rng)
    linearized = method.linearize(network, images, labels, rng=rng).attribution
    leaf = images.clone().requires_grad_()
    graph = method.attribute(network, leaf, labels, rng=rng, create_graph=True)
    assert not linearized.requires_grad
    torch.testing.assert_close(linearized, attribution)
    torch.testing.assert_close(graph.detach(), attribution)


@differentiable
def test_the_pullback_is_double_backward(
    method: AttributionMethod, smooth64: nn.Module, images64: Tensor, labels: Tensor, rng: SampleRng, cotangent: Tensor
) -> None:
    leaf = images64.clone().requires_grad_()
    attribution = method.attribute(smooth64, leaf, labels, rng=rng, create_graph=True)
    (truth,) = torch.autograd.grad((attribution * cotangent).sum(), leaf)
    pulled = method.pullback(smooth64, images64, labels, cotangent, rng=rng)
    assert truth.abs().max() > 0
    assert not pulled.requires_grad
    torch.testing.assert_close(pulled, truth, rtol=1e-9, atol=1e-12 * float(truth.abs().max()))


@pytest.mark.parametrize("method", EXACT, indirect=True)
def test_the_pullback_is_the_finite_difference_of_the_value(
    method: AttributionMethod, smooth64: nn.Module, images64: Tensor, labels: Tensor, rng: SampleRng, cotangent: Tensor
) -> None:
    def product(at: Tensor) -> Tensor:
        return (method.attribute(smooth64, at, labels, rng=rng) * cotangent).sum((1, 2, 3))

    direction = rng.fork("direction").normal(tuple(images64.shape[1:])).double()
    h = 1e-5
    difference = (product(images64 + h * direction) - product(images64 - h * direction)) / (2 * h)
    pulled = method.pullback(smooth64, images64, labels, cotangent, rng=rng)
    torch.testing.assert_close((pulled * direction).sum((1, 2, 3)), difference, rtol=1e-6, atol=1e-8)


@differentiable
def test_the_pullback_is_linear_per_image_and_can_be_asked_twice(
    method: AttributionMethod, smooth64: nn.Module, images64: Tensor, labels: Tensor, rng: SampleRng, cotangent: Tensor
) -> None:
    first = method.linearize(smooth64, images64, labels, rng=rng)
    once = first.pullback(cotangent)
    again: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}
    fresh = method.linearize(smooth64, images64, labels, rng=rng)
    scales = torch.tensor([2.0, 0.0, -3.0], dtype=torch.float64).view(-1, 1, 1, 1)
    torch.testing.assert_close(fresh.pullback(cotangent * scales), once * scales, **again)
    assert torch.equal(method.pullback(smooth64, images64, labels, cotangent, rng=rng), once)


def test_a_completeness_gap_is_a_finite_size_per_image_or_none(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    attribution = method.attribute(network, images, labels, rng=rng)
    gap = method.completeness_gap(network, images, labels, attribution)
    if gap is not None:
        assert gap.shape == (len(images),)
        assert torch.isfinite(gap).all()
        assert gap.ge(0).all()
        moved = method.completeness_gap(network, images, labels, attribution + 1)
        assert moved is not None
        assert not torch.equal(moved, gap)


def test_an_explanation_is_the_attribution_and_the_logits_to_the_bit(
    method: AttributionMethod, network: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng
) -> None:
    attribution, logits = method.attribute_with_logits(network, images, labels, rng=rng)
    assert torch.equal(attribution, method.attribute(network, images, labels, rng=rng))
    assert torch.equal(logits, forward(network, images))
    assert not logits.requires_grad
    assert not attribution.requires_grad
