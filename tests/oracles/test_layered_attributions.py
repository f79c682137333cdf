"""Attributions from inside the network, against oracles.

The oracles are captum, written-out backward passes and conservation.
"""

from __future__ import annotations

import pytest
import torch
from captum.attr import LRP, LayerAttribution, LayerGradCam
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from bench.attributions.deeplift import Deeplift
from bench.attributions.grad_cam import GradCam
from bench.attributions.gradient import Gradient
from bench.attributions.guided_backprop import GuidedBackprop
from bench.attributions.lrp import Lrp
from bench.core.compute.rng import Rng, SampleRng
from bench.core.errors import UsageError
from model_zoo.build import classifier, freeze
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b", "c"))
LABELS = torch.tensor([1, 7, 4])
STD = (0.25, 0.2, 0.3)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), STD)).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 16, 16), 0.0, 1.0).double()


class FlatteningWithoutModule(nn.Module):
    """The chain without `nn.Flatten`, for which captum's LRP has no rule."""

    def __init__(self, chain: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = chain[:4], chain[5]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).flatten(1))
        return logits


@pytest.fixture
def chain() -> nn.Sequential:
    """Convolutions and ReLUs without a shortcut."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 12 * 12, 10)
    )
    for seed, place in enumerate(("0", "2", "5")):
        for name, stream in (("weight", seed), ("bias", 10 + seed)):
            parameter = network.get_parameter(f"{place}.{name}")
            parameter.data = torch.randn(parameter.shape, generator=Rng(stream).generator()) / 5
    freeze(network).double()
    return network


def test_grad_cam_is_captums_on_the_last_activation(model: nn.Module, images: Tensor) -> None:
    ours = GradCam().attribute(model, images, LABELS, rng=RNG)
    coarse = LayerGradCam(model, model.get_submodule("1.act")).attribute(
        images.clone().requires_grad_(), target=LABELS, relu_attributions=True
    )
    fine = LayerAttribution.interpolate(coarse, (16, 16), "bilinear")
    torch.testing.assert_close(ours.sum(1, keepdim=True), fine)
    assert fine.amax() > 0
    assert torch.equal(ours[:, 0], ours[:, 2])


def test_grad_cam_finds_the_features_before_flattening(chain: nn.Sequential, images: Tensor) -> None:
    ours = GradCam().attribute(chain, images, LABELS, rng=RNG).sum(1, keepdim=True)
    coarse = LayerGradCam(chain, chain[3]).attribute(images.clone().requires_grad_(), LABELS, relu_attributions=True)
    torch.testing.assert_close(ours, LayerAttribution.interpolate(coarse, (16, 16), "bilinear"))


def test_grad_cam_without_feature_maps_says_so(images: Tensor) -> None:
    linear = freeze(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))).double()
    with pytest.raises(UsageError, match="feature maps"):
        GradCam().attribute(linear, images, LABELS, rng=RNG)


def test_guided_backprop_is_the_written_out_backward_pass(chain: nn.Sequential, images: Tensor) -> None:
    first, second = chain[0](images), chain[2](chain[0](images).relu())
    back = chain.get_parameter("5.weight")[LABELS].view(3, 5, 12, 12)
    back = back.relu() * (second > 0)
    back = conv2d_input(first.shape, chain.get_parameter("2.weight"), back)
    back = back.relu() * (first > 0)
    back = conv2d_input(images.shape, chain.get_parameter("0.weight"), back)
    torch.testing.assert_close(GuidedBackprop().attribute(chain, images, LABELS, rng=RNG), back)


def test_deeplift_is_complete(model: nn.Module, images: Tensor) -> None:
    method = Deeplift()
    contributions = method.attribute(model, images, LABELS, rng=RNG)
    gap = method.completeness_gap(model, images, LABELS, contributions)
    assert gap.max() < 1e-9
    with torch.no_grad():
        rise = (model(images) - model(torch.zeros_like(images))).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    assert rise.abs().min() > 1e-3
    torch.testing.assert_close(contributions.sum((1, 2, 3)), rise)


def test_deeplift_multiplies_slopes_between_baseline_and_image(chain: nn.Sequential, images: Tensor) -> None:
    black = torch.zeros_like(images)
    inner, inner_black = chain[0](images), chain[0](black)
    outer, outer_black = chain[2](inner.relu()), chain[2](inner_black.relu())
    back = chain.get_parameter("5.weight")[LABELS].view(3, 5, 12, 12)
    back = back * (outer.relu() - outer_black.relu()) / (outer - outer_black)
    back = conv2d_input(inner.shape, chain.get_parameter("2.weight"), back)
    back = back * (inner.relu() - inner_black.relu()) / (inner - inner_black)
    expected = images * conv2d_input(images.shape, chain.get_parameter("0.weight"), back)
    torch.testing.assert_close(Deeplift().attribute(chain, images, LABELS, rng=RNG), expected)


@pytest.mark.parametrize("epsilon", [0.01, 0.5])
def test_lrp_on_a_chain_of_layers_is_captums(chain: nn.Sequential, images: Tensor, epsilon: float) -> None:
    ours = Lrp(epsilon=epsilon).attribute(chain, images, LABELS, rng=RNG)
    for layer in chain:
        if hasattr(layer, "weight"):
            layer.rule = EpsilonRule(epsilon)
    captums = LRP(FlatteningWithoutModule(chain)).attribute(images.clone().requires_grad_(), target=LABELS)
    torch.testing.assert_close(ours, captums)


def test_lrp_without_epsilon_is_the_normalised_image_times_gradient(model: nn.Module, images: Tensor) -> None:
    gradient = Gradient().attribute(model, images, LABELS, rng=RNG)
    mean = torch.tensor((0.5, 0.4, 0.3), dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(
        Lrp(epsilon=0).attribute(model, images, LABELS, rng=RNG), (images - mean) * gradient, rtol=1e-5, atol=1e-9
    )


def test_relevance_is_shared_by_residual_branches_and_damped_by_epsilon(images: Tensor) -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3 * 16 * 16, 10, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(x.flatten(1))
            return y + y

    network = freeze(Doubled()).double()
    logits = network(images).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    relevance = [
        Lrp(epsilon=e).attribute(network, images, LABELS, rng=RNG).sum((1, 2, 3)).abs() for e in (0.0, 0.1, 1.0)
    ]
    torch.testing.assert_close(relevance[0], logits.abs())
    assert (relevance[0] > relevance[1]).all()
    assert (relevance[1] > relevance[2]).all()


@pytest.mark.parametrize("method", [GradCam(), GuidedBackprop(), Deeplift(), Lrp()], ids=lambda m: type(m).__name__)
def test_no_hook_stays_behind(model: nn.Module, images: Tensor, method: GradCam) -> None:
    expected = model(images)
    method.attribute(model, images, LABELS, rng=RNG)
    assert torch.equal(model(images), expected)
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
